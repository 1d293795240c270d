//! Certificates by OpenSSL, in files that are replaced as certificate managers do it.

use crate::off_by;
use std::io;
use std::path::Path;
use std::process::Command;

/// A certificate for `localhost` that vouches for itself and lives for `days`, written over the one that is there.
pub fn certificate(dir: &Path, days: &str) -> io::Result<()> {
    certificate_of("+0d", dir, days)
}

/// As one was made at another time.
pub fn certificate_of(time: &str, dir: &Path, days: &str) -> io::Result<()> {
    let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", days];
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let into = ["-keyout", "next.key", "-out", "next.pem"];
    let mut command = Command::new("openssl");
    off_by(&mut command, time)?;
    command.args(make).args(name).args(into).current_dir(dir);
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    // As certificate managers do: both are replaced, each at once.
    for ending in ["key", "pem"] {
        std::fs::rename(dir.join(format!("next.{ending}")), dir.join(format!("served.{ending}")))?;
    }
    Ok(())
}
