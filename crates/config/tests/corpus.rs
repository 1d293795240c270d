//! Configurations as users of Flex write them: each is taken, taken with a warning, or refused, and says why.
//!
//! `docs/flex-compatibility.md` has a row for each file of `tests/corpus`, with the same verdict.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use expect_test::expect_file;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// What becomes of a file, in the words of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    Warned,
    Refused,
}

/// The verdict of every file, and what is said of it.
fn verdicts() -> BTreeMap<String, (Verdict, Vec<String>)> {
    let set = ["BASIC_USER", "BASIC_PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "REDIS_PASSWORD"];
    let env = |name: &str| set.contains(&name).then(|| "ops".to_owned());
    let mut verdicts = BTreeMap::new();
    for entry in std::fs::read_dir("tests/corpus").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let verdict = match weir_config::load_text(Path::new(&name), &text, &env) {
            Ok(config) if config.warnings.is_empty() => (Verdict::Taken, Vec::new()),
            Ok(config) => (Verdict::Warned, config.warnings.iter().map(ToString::to_string).collect()),
            Err(errors) => (Verdict::Refused, errors.to_string().lines().map(str::to_owned).collect()),
        };
        verdicts.insert(name, verdict);
    }
    verdicts
}

/// What users read, to the letter. `UPDATE_EXPECT=1 cargo test -p weir-config` writes it anew; read the difference.
#[test]
fn every_file_of_the_corpus_is_taken_or_says_why_not() {
    let mut all = String::new();
    for (name, (verdict, lines)) in verdicts() {
        writeln!(all, "# {name}: {verdict:?}").unwrap();
        lines.iter().for_each(|line| writeln!(all, "{line}").unwrap());
    }
    expect_file!["corpus.txt"].assert_eq(&all);
}

/// The page has a row for every file, with the verdict that the file has.
#[test]
fn the_page_of_compatibility_is_true() {
    let page = std::fs::read_to_string("../../docs/flex-compatibility.md").unwrap();
    let mut verdicts = verdicts();
    for row in page.lines().filter(|line| line.starts_with("| ") && line.ends_with(".yaml` |")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_what, said, file] = cells[..] else { panic!("three cells: {row}") };
        let file = file.trim_matches('`');
        let (verdict, lines) = verdicts.remove(file).unwrap_or_else(|| panic!("no such file, or a second row: {file}"));
        let word = match verdict {
            Verdict::Taken => "taken",
            Verdict::Warned => "warning",
            Verdict::Refused => "refused",
        };
        assert_eq!(said.split([':', ',']).next(), Some(word), "{row}\n{}", lines.join("\n"));
    }
    assert!(verdicts.is_empty(), "no row in docs/flex-compatibility.md: {:?}", verdicts.keys());
}
