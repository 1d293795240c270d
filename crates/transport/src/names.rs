//! Whose certificate it is: the names that a verified peer may be known by.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The DNS names, in lower case, and the URIs among the subject alternative names of a certificate (RFC 5280 4.2.1.6); none
/// where it cannot be read. Its subject is no name of a peer (RFC 9525 2).
pub fn names_of_certificate(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(read) = Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some((_, SubjectAltName(names)))) = read.tbs_certificate.get::<SubjectAltName>() else { return Vec::new() };
    let name = |name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    names.into_iter().filter_map(name).collect()
}
