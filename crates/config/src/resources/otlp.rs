//! Where a signal is sent by OTLP, as `tracing.provider.properties` of Flex has it for spans.

use std::time::Duration;

use http::{HeaderName, Uri};

use super::client_tls::tls_of_client;
use crate::export::{OtlpProtocol, Signal};
use crate::otel::{self, ExportDraft};
use crate::read::{Cursor, Mapping};
use crate::units::{Secret, parse_duration};

/// Where a signal is sent, and how.
pub(super) fn target(at: &Cursor<'_>, signal: Signal) -> Option<ExportDraft> {
    let at = at.clone().with_env();
    let mut fields = at.fields()?;
    let address = fields.required("address", |at| at.parse(address_of, "as in `http://collector:4317`"));
    let draft = target_of(&mut fields, signal, address.clone());
    fields.finish();
    address.and(draft)
}

/// As [`target`], among other keys; without an address it goes where the variables say.
pub(super) fn optional_target(fields: &mut Mapping<'_>, signal: Signal) -> Option<ExportDraft> {
    let address = fields.take("address");
    let is_said = address.is_some();
    let address = address.and_then(|at| at.parse(address_of, "as in `http://collector:4317`"));
    let is_protocol_said = is_said || fields.has("serviceType");
    let draft = target_of(fields, signal, address)?;
    // What nobody has said is not said over what the variables say.
    let protocol = draft.protocol.filter(|_| is_protocol_said);
    (!is_said || draft.endpoint.is_some()).then_some(ExportDraft { protocol, ..draft })
}

/// All but the address.
fn target_of(fields: &mut Mapping<'_>, signal: Signal, address: Option<Uri>) -> Option<ExportDraft> {
    fields.mean([
        ("address", "`http://`, `https://` or Flex's `h2://`, with host and port"),
        ("serviceType", "`grpc` (the default) or `http`"),
        ("serviceName", "`service.name`; by default the gateway's name"),
        ("timeout", "Timeout of one request to the Collector; default 10 s"),
        ("resourceAttributes", "Attributes of the resource"),
        ("headers", "Header fields of each request to the Collector, such as `authorization`"),
        ("compression", "`gzip` or `none`"),
        ("tls", "TLS settings, with the keys of `tls-outbound`"),
    ]);
    let protocol = fields.take("serviceType").map_or(Some(OtlpProtocol::Grpc), |at| at.choice(&OtlpProtocol::NAMES));
    let service_name = fields.optional("serviceName", Cursor::filled);
    let timeout = fields.optional("timeout", |at| at.parse(parse_duration, "as in `10s`"));
    let resource = fields.optional("resourceAttributes", |at| at.entries(|key, at| Some((key.to_owned(), at.text()?))));
    let headers = fields.take_weir("headers").and_then(|at| at.entries(header));
    let gzip = fields.take_weir("compression").and_then(|at| at.choice(&[("gzip", true), ("none", false)]));
    let tls = fields.take_weir("tls").and_then(|at| tls_of_client(&at));
    let protocol = protocol?;
    Some(ExportDraft {
        is_off: false,
        endpoint: address.map(|address| with_path(address, protocol, signal)),
        protocol: Some(protocol),
        headers,
        gzip,
        timeout: timeout.filter(|timeout| *timeout > Duration::ZERO),
        tls,
        service_name,
        resource: resource.unwrap_or_default(),
    })
}

fn address_of(text: &str) -> Result<Uri, &'static str> {
    let text = text.replacen("h2://", "http://", 1).replacen("h2s://", "https://", 1);
    let uri: Uri = text.parse().map_err(|_| "is no URL")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("carries a user name, which is not sent");
    }
    match (uri.scheme_str(), uri.host().filter(|host| !host.is_empty())) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        (_, None) => Err("is no URL with a host"),
        _ => Err("is neither http, https nor h2"),
    }
}

/// Over HTTP without a path of its own, that of the signal (OTLP, "Endpoint URLs for OTLP/HTTP").
fn with_path(uri: Uri, protocol: OtlpProtocol, signal: Signal) -> Uri {
    if protocol == OtlpProtocol::Grpc || uri.path() != "/" {
        return uri;
    }
    otel::with_path(&uri, signal).unwrap_or(uri)
}

fn header(name: &str, at: &Cursor<'_>) -> Option<(HeaderName, Secret)> {
    let value = at.secret();
    match name.parse() {
        Ok(name) => Some((name, value?)),
        Err(_) => at.refuse("is no name of a header field; write one, such as `authorization`"),
    }
}
