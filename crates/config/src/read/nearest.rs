//! "Did you mean": the known name nearest to one that was written.

use super::show;

/// ``did you mean `services`?``, or the list of what is known where nothing is near.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = known.clone().map(|name| (distance(written, name), name)).min();
    match near {
        Some((distance, name)) if distance <= (name.len() / 3).max(1) => format!("did you mean `{name}`?"),
        Some(_) => format!("known are {}", list(known)),
        None => "no keys are allowed here".to_owned(),
    }
}

/// `` `a`, `b`, `c` ``.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{}`", show(name))).collect::<Vec<_>>().join(", ")
}

/// How many characters to add, remove, change or swap, whatever their case. Long texts are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let chars = |text: &str| text.chars().take(64).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (chars(a), chars(b));
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest() {
        let known = ["services", "policies", "address"];
        assert_eq!(did_you_mean("service", known.into_iter()), "did you mean `services`?");
        assert_eq!(did_you_mean("Adress", known.into_iter()), "did you mean `address`?");
        assert_eq!(did_you_mean("x", known.into_iter()), "known are `services`, `policies`, `address`");
        assert_eq!(did_you_mean("x", [].into_iter()), "no keys are allowed here");
        assert_eq!((distance("abcd", "abdc"), distance("", "abc"), distance("a", "a")), (1, 3, 0));
    }
}
