//! Standard output of a program whose reader may leave at any time: `weirctl schema | head`.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to standard output. A reader that has left is no failure; `println!` would end the program by a panic.
///
/// # Errors
/// Standard output cannot be written: a full disk, a device that is gone.
pub fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
