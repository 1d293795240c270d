//! Why a program does not start, or ended: said in the form that its operator asked for, so that a collector of logs that
//! reads JSON reads this as well. It is said whatever the level of the log is.

use crate::log::{LogFormat, LogOptions, complain};
use clap::Parser;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

impl LogOptions {
    /// Tells why the program ends. As text it begins with `prefix`, where programs do so.
    pub fn fail(&self, prefix: &str, why: impl Display) {
        tell(self.log_format, prefix, &why.to_string());
    }
}

fn tell(format: LogFormat, prefix: &str, why: &str) {
    match format {
        LogFormat::Text => complain(format_args!("{prefix}{why}")),
        LogFormat::Json => {
            let line = Line::default();
            let written = line.clone();
            let json = tracing_subscriber::fmt().json().with_writer(move || written.clone()).finish();
            tracing::subscriber::with_default(json, || tracing::error!("{why}"));
            let bytes = line.0.lock().unwrap_or_else(PoisonError::into_inner);
            complain(String::from_utf8_lossy(&bytes).trim_end());
        }
    }
}

/// What is written as JSON, before it takes the way of all lines.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<Vec<u8>>>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The command line. What is wrong with it is reported in the form that it asks for, and ends the program; so does help.
pub fn parse<P: Parser>() -> P {
    let error = match P::try_parse() {
        Ok(parsed) => return parsed,
        Err(error) => error,
    };
    let asked = asks_for_json(std::env::args_os().skip(1), std::env::var_os("WEIR_LOG_FORMAT").as_deref());
    if !error.use_stderr() || !asked {
        error.exit();
    }
    tell(LogFormat::Json, "", error.to_string().trim_end());
    std::process::exit(error.exit_code());
}

/// As far as a command line that cannot be parsed says it.
fn asks_for_json(args: impl Iterator<Item = impl AsRef<OsStr>>, variable: Option<&OsStr>) -> bool {
    let args: Vec<_> = args.map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
    let pairs = args.windows(2).filter(|pair| pair[0] == "--log-format").map(|pair| pair[1].as_str());
    let joined = args.iter().filter_map(|arg| arg.strip_prefix("--log-format="));
    let said = pairs.chain(joined).last().map(str::to_owned);
    said.or_else(|| variable.map(|value| value.to_string_lossy().into_owned())).is_some_and(|format| format == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_that_is_wrong_may_still_ask_for_json() {
        let asked = |args: &[&str], variable: Option<&str>| asks_for_json(args.iter(), variable.map(OsStr::new));
        assert!(asked(&["run", "--log-format", "json", "--wrong"], None));
        assert!(asked(&["--log-format=json"], Some("text")));
        assert!(asked(&["--wrong"], Some("json")));
        assert!(!asked(&["--log-format", "text"], Some("json")));
        assert!(!asked(&["--wrong", "--log-format"], None));
    }
}
