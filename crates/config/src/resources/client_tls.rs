//! TLS of the gateway as a client of who takes its telemetry.

use crate::pem::{AnalyticsTls, authorities, key_pair};
use crate::read::Cursor;

/// In the words of the policy `tls-outbound`.
pub(super) fn tls_of_client(at: &Cursor<'_>) -> Option<AnalyticsTls> {
    let mut fields = at.fields()?;
    fields.mean([
        ("trustedCA", "Authorities in PEM, in place of those of the system"),
        ("trustedCAFile", "The same, in a file"),
        ("certificate", "The gateway's own: `crt` or `crtFile`, `key` or `keyFile`"),
    ]);
    let trusted = authorities(&mut fields);
    let certificate = fields.take("certificate").map(|at| key_pair(&at));
    fields.finish();
    let found = |missing: bool| (!missing).then_some(());
    found(matches!(trusted, Some(None)) || matches!(certificate, Some(None)))?;
    Some(AnalyticsTls { authorities: trusted.flatten(), certificate: certificate.flatten() })
}
