//! Errors as ClickHouse reports them: a code, a line of text, and the HTTP status that goes with it.
//!
//! The engine hands its errors over as text; the code is read from it. Errors of this program take
//! the same shape with ClickHouse's own codes, so that clients need to know one dialect only.

use hyper::StatusCode;

/// One error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub code: u32,
    /// `Code: 47. DB::Exception: ... (NAME)`; without the version, which [`Exception::render`] adds.
    pub text: String,
}

impl Exception {
    /// An error of this program, under ClickHouse's code and name for such a thing.
    pub fn new(code: u32, name: &str, message: impl std::fmt::Display) -> Exception {
        Exception { code, text: format!("Code: {code}. DB::Exception: {message}. ({name})") }
    }

    pub fn bad_arguments(message: impl std::fmt::Display) -> Exception {
        Exception::new(36, "BAD_ARGUMENTS", message)
    }

    pub fn not_implemented(message: impl std::fmt::Display) -> Exception {
        Exception::new(48, "NOT_IMPLEMENTED", message)
    }

    pub fn readonly(message: impl std::fmt::Display) -> Exception {
        Exception::new(164, "READONLY", message)
    }

    /// An error in the engine's words.
    pub fn from_engine(text: &str) -> Exception {
        match code_of(text) {
            Some(code) => Exception { code, text: text.trim_end().to_owned() },
            None => Exception::new(1002, "UNKNOWN_EXCEPTION", text.trim_end()),
        }
    }

    /// The text of the body: with the version, and a line end.
    pub fn render(&self, version: &str) -> String {
        let tail = if self.text.contains("(version ") { String::new() } else { format!(" (version {version})") };
        format!("{}{tail}\n", self.text)
    }

    /// ClickHouse's own mapping of codes to statuses.
    pub fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168 | 223 | 321
            | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            159 => StatusCode::REQUEST_TIMEOUT,
            381 => StatusCode::LENGTH_REQUIRED,
            779 => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn code_of(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("Code: ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_code_is_read_and_the_version_added_once() {
        let error = Exception::from_engine("Code: 60. DB::Exception: no table. (UNKNOWN_TABLE)");
        assert_eq!((error.code, error.status()), (60, StatusCode::NOT_FOUND));
        assert_eq!(error.render("26.7"), "Code: 60. DB::Exception: no table. (UNKNOWN_TABLE) (version 26.7)\n");
        let versioned = Exception::from_engine("Code: 27. DB::Exception: x (version 26.7.2.1)");
        assert_eq!(versioned.render("26.7"), "Code: 27. DB::Exception: x (version 26.7.2.1)\n");
        assert_eq!(Exception::from_engine("no code").code, 1002);
    }
}
