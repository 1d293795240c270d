//! What axe-core finds wrong with a page for those who use it by keyboard, by a screen reader, or with little contrast.
//!
//! axe-core (MPL-2.0) is a tool of the tests alone, installed beside the page's own; no part of it is shipped.

use crate::Browser;
use serde_json::Value;
use std::io;
use std::path::Path;

/// Both themes of a page, in which contrasts differ.
const THEMES: [&str; 2] = ["light", "dark"];

/// What is serious or critical on the page that `browser` shows, in either theme: a line for each, with where it is.
///
/// # Errors
/// axe-core is not installed (`npm ci --prefix crates/analytics/page`), or does not run in the page.
pub fn findings(browser: &mut Browser) -> io::Result<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../analytics/page/node_modules/axe-core/axe.min.js");
    let script = std::fs::read_to_string(&file).map_err(|error| {
        io::Error::other(format!("{}: {error}; run `npm ci --prefix crates/analytics/page`", file.display()))
    })?;
    browser.evaluate(&format!("void (() => {{ {script} }})()"))?;
    let before = browser.evaluate("document.documentElement.dataset.theme ?? null")?;
    let mut found = Vec::new();
    for theme in THEMES {
        browser.evaluate(&format!("document.documentElement.dataset.theme = '{theme}'"))?;
        let run = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations, testEngine }) => ({ \
                   engine: testEngine.name, \
                   rows: violations.filter(({ impact }) => impact === 'serious' || impact === 'critical') \
                   .flatMap(({ id, impact, nodes }) => nodes.map((node) => `${impact} ${id}: ${node.html} (${node.failureSummary})`)) }))";
        let answer = browser.evaluate(run)?;
        if answer["engine"] != "axe-core" {
            return Err(io::Error::other(format!("axe-core did not run: {answer}")));
        }
        let rows = answer["rows"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(rows.map(|row| format!("{theme}: {row}")));
    }
    browser.evaluate(&format!("void (document.documentElement.dataset.theme = {before} ?? '')"))?;
    Ok(found)
}
