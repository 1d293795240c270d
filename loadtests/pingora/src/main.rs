//! The least that does the bench's work on Pingora: one thread, HTTP/1.1 on one port, TLS with HTTP/2 by ALPN on another,
//! kept connections to the upstream, the prefix `/bench` taken away. No log, no metrics.

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use std::error::Error;

const PREFIX: &str = "/bench";

struct Bench {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Bench {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(&self, _: &mut Session, head: &mut RequestHeader, (): &mut ()) -> Result<()> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let rest = target.strip_prefix(PREFIX).unwrap_or(target).to_owned();
        head.set_raw_path(rest.as_bytes())
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [http, https, upstream, folder] = &args[..] else {
        return Err("usage: bench-pingora HTTP HTTPS UPSTREAM CERTIFICATES".into());
    };
    let mut server = Server::new(None)?;
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bench { upstream: upstream.clone() });
    service.add_tcp(http);
    let mut tls = TlsSettings::intermediate(&format!("{folder}/cert.pem"), &format!("{folder}/key.pem"))?;
    tls.enable_h2();
    service.add_tls_with_settings(https, None, tls);
    server.add_service(service);
    server.run_forever()
}
