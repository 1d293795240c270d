//! The configurations of `loadtests/configs`: `@NAME@` is filled in.

use super::Setup;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use weir_testkit::ports::reserve;

/// The ports that a proxy is asked to use.
pub struct Ports {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
}

impl Ports {
    pub fn free() -> io::Result<Self> {
        // Under valgrind a program takes seconds to listen: nobody who asks for any port may get one of these.
        Ok(Self { http: reserve()?, https: reserve()?, admin: reserve()? })
    }
}

/// Fills in what every template may name, and `more`.
pub fn fill(template: &str, setup: &Setup, ports: &Ports, more: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in more {
        text = text.replace(&format!("@{name}@"), value);
    }
    let known = [
        ("DIR", setup.dir.display().to_string()),
        ("UPSTREAM", setup.upstream.to_string()),
        ("UPSTREAM_PORT", setup.upstream.port().to_string()),
        ("HTTP", ports.http.to_string()),
        ("HTTP_PORT", ports.http.port().to_string()),
        ("HTTPS", ports.https.to_string()),
        ("HTTPS_PORT", ports.https.port().to_string()),
        ("ADMIN", ports.admin.to_string()),
        ("ADMIN_PORT", ports.admin.port().to_string()),
        ("SINK_PORT", setup.sink.address().port().to_string()),
    ];
    known.iter().fold(text, |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// A line for each route, made by `line` of the route's name.
pub fn routes(setup: &Setup, line: impl Fn(&str) -> String) -> String {
    (0..setup.routes).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{}", line(&format!("r{number:04}")));
        text
    })
}
