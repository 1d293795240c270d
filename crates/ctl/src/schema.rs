//! `weirctl schema`: what an editor needs to tell a mistake while it is made.

use std::io;

/// Prints the JSON Schema of every resource.
pub fn schema() -> io::Result<()> {
    let text = serde_json::to_string_pretty(&weir_config::json_schema())?;
    crate::terminal::say_json(text)
}
