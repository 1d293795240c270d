//! Any text as a file: no panic, no exhausted stack, and every mistake is one line with a place.

use weir_config::load_text;

pub fn load(text: &str) {
    if let Err(errors) = load_text("x.yaml".as_ref(), text, &|name| (name == "SET").then(|| "value".to_owned())) {
        for error in &errors {
            assert!(!error.message.is_empty());
            assert!(!error.to_string().contains('\n'), "{error:?}");
        }
    }
}
