//! Policies that this version does not know: custom ones, which Flex runs as WebAssembly. Each is reported once, with the
//! places that bind it, and not once for each of these.

use std::fmt::Write as _;

use crate::error::ConfigError;
use crate::read::{Custom, Errors, NOT_SUPPORTED_YET, Place, did_you_mean, show};

/// Places that are named beside the first.
const MOST_PLACES: usize = 5;

/// What is wrong with them, beside the policies that are `known`. An `Extension` that nothing binds is passed over with a
/// warning.
pub(crate) fn mistakes(found: &Custom, known: &[&'static str], warnings: &Errors) -> Vec<ConfigError> {
    let (defined, mut bound) = (found.defined.take(), found.bound.take());
    let mut mistakes = Vec::new();
    for (name, place) in defined {
        let uses: Vec<_> = bound.extract_if(.., |(other, _)| *other == name).map(|(_, place)| place).collect();
        if uses.is_empty() {
            let passed = format!(
                "defines a custom policy, and those are {NOT_SUPPORTED_YET}: nothing binds it, it is passed over"
            );
            warnings.borrow_mut().push(place.error(passed));
        } else {
            mistakes.push(place.error(format!(
                "is a custom policy, and those are {NOT_SUPPORTED_YET}; remove it and what binds it: {}",
                places(&uses)
            )));
        }
    }
    while let Some((name, _)) = bound.first().cloned() {
        let uses: Vec<_> = bound.extract_if(.., |(other, _)| *other == name).map(|(_, place)| place).collect();
        let hint = did_you_mean(&name, known.iter().copied());
        let unknown = format!("unknown policy `{}`; {hint}", show(&name));
        if hint.starts_with("did") {
            // Each of them is a slip of its own.
            mistakes.extend(uses.iter().map(|place| place.error(unknown.clone())));
        } else if let [first, others @ ..] = &uses[..] {
            let others =
                if others.is_empty() { String::new() } else { format!("; it is bound by {}, too", places(others)) };
            mistakes.push(first.error(format!("{unknown}. Custom policies are {NOT_SUPPORTED_YET}{others}")));
        }
    }
    mistakes
}

fn places(places: &[Place]) -> String {
    let named: Vec<_> = places.iter().take(MOST_PLACES).map(ToString::to_string).collect();
    let mut text = named.join(", ");
    if places.len() > MOST_PLACES {
        let _ = write!(text, " and {} more", places.len() - MOST_PLACES);
    }
    text
}
