//! Errors of libraries as operators read them.

use std::error::Error;

/// An error with what is behind it: a client's own says no more than that it could not connect.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
