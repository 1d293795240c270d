//! The marked request, and where it goes.

use super::leg::Leg;
use crate::fetch;
use crate::terminal::excerpt;
use http::{HeaderMap, StatusCode, Uri};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use weir_api::admin::{PipelineMark, ProbedListener};

/// What the leg is called.
const NAME: &str = "request";

/// A request that the gateway answered as the probe that it is.
pub struct Probed {
    pub leg: Leg,
    pub trace: String,
}

/// Sends the request to `url`, or to the gateway's first port for clients. `admin` is where the gateway was asked.
pub async fn send(mark: &PipelineMark, admin: &str, url: Option<&str>, limit: Duration) -> Result<Probed, Leg> {
    let Some(base) = url.map(str::to_owned).or_else(|| Some(address(mark.listeners.first()?, admin))) else {
        return Err(Leg::failed(NAME, "the gateway has no port for clients: no ApiInstance is configured"));
    };
    let began = Instant::now();
    let fields = [(&*mark.header, &*mark.mark)];
    let answer = match timeout(limit, fetch::get_with(&base, "/", &fields)).await {
        Ok(Ok((_, status, fields, body))) => read(&mark.header, status, &fields, &body),
        Ok(Err(error)) => Err(format!("{error}; --url says where the gateway is reached by clients")),
        Err(_) => Err(format!("no answer from {base} within {limit:?}")),
    };
    match answer {
        Ok(trace) => {
            let leg = Leg::passed(NAME, began.elapsed(), format!("answered at {base}; its trace is {trace}"));
            Ok(Probed { leg, trace })
        }
        Err(why) => Err(Leg::failed(NAME, why)),
    }
}

/// The trace, where the mark was known.
fn read(header: &str, status: StatusCode, fields: &HeaderMap, body: &str) -> Result<String, String> {
    let trace = fields.get(header).and_then(|value| value.to_str().ok());
    match trace.filter(|trace| trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some(trace) if status == StatusCode::NO_CONTENT => Ok(trace.to_owned()),
        _ => Err(format!(
            "the answer is {status} ({}), and not that to a probe: it comes from another process than the one that was \
             asked for the mark, or something between removes `{header}`; --url says where that gateway is reached",
            excerpt(body)
        )),
    }
}

/// A port as it is called from here: one of every address by that of the admin port.
fn address(listener: &ProbedListener, admin: &str) -> String {
    let scheme = if listener.tls { "https" } else { "http" };
    let Ok(address) = listener.address.parse::<SocketAddr>() else {
        return format!("{scheme}://{}", listener.address);
    };
    if !address.ip().is_unspecified() {
        return format!("{scheme}://{address}");
    }
    let host = admin.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let host = host.filter(|_| admin.starts_with("http")).unwrap_or_else(|| match address.ip() {
        IpAddr::V4(_) => "127.0.0.1".to_owned(),
        IpAddr::V6(_) => "[::1]".to_owned(),
    });
    format!("{scheme}://{host}:{}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_every_address_is_called_by_that_of_the_admin_port() {
        let at = |address: &str, tls, admin| address_of(address, tls, admin);
        assert_eq!(at("192.0.2.1:80", false, "http://10.0.0.1:9901"), "http://192.0.2.1:80");
        assert_eq!(at("0.0.0.0:8443", true, "http://edge.example:9901/"), "https://edge.example:8443");
        assert_eq!(at("[::]:8080", false, "http://[2001:db8::1]:9901"), "http://[2001:db8::1]:8080");
        assert_eq!(at("0.0.0.0:8080", false, "unix:/run/weir/admin.sock"), "http://127.0.0.1:8080");
        assert_eq!(at("[::]:8080", false, "unix:/run/weir/admin.sock"), "http://[::1]:8080");
    }

    fn address_of(address: &str, tls: bool, admin: &str) -> String {
        super::address(&ProbedListener { address: address.to_owned(), tls }, admin)
    }

    #[test]
    fn an_answer_without_the_trace_is_somebody_elses() {
        let mut fields = HeaderMap::new();
        assert!(read("weir-probe", StatusCode::NO_CONTENT, &fields, "").is_err());
        fields.insert("weir-probe", "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap());
        assert!(read("weir-probe", StatusCode::OK, &fields, "").is_err());
        let trace = read("weir-probe", StatusCode::NO_CONTENT, &fields, "");
        assert_eq!(trace.as_deref(), Ok("4bf92f3577b34da6a3ce929d0e0e4736"));
    }
}
