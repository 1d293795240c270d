//! Policies that this version does not know: custom ones, which Flex runs as WebAssembly. Each is reported once, with the
//! places that bind it, and not once for each of these.

use std::cell::RefCell;
use std::fmt::Write as _;

use crate::error::ConfigError;
use crate::policy;
use crate::read::{Errors, NOT_YET, Place, did_you_mean, show};

/// Places that are named beside the first.
const MOST_PLACES: usize = 5;

/// What was found of them while the files were read.
#[derive(Default)]
pub(crate) struct Custom {
    /// The names of `Extension` resources.
    defined: RefCell<Vec<(String, Place)>>,
    /// The names in `policyRef` that are not in the catalogue.
    bound: RefCell<Vec<(String, Place)>>,
}

impl Custom {
    pub fn define(&self, name: String, place: Place) {
        self.defined.borrow_mut().push((name, place));
    }

    pub fn bind(&self, name: String, place: Place) {
        self.bound.borrow_mut().push((name, place));
    }

    /// What is wrong with them. An `Extension` that nothing binds is passed over with a warning.
    pub fn mistakes(&self, warnings: &Errors) -> Vec<ConfigError> {
        let (defined, mut bound) = (self.defined.take(), self.bound.take());
        let mut mistakes = Vec::new();
        for (name, place) in defined {
            let uses: Vec<_> = bound.extract_if(.., |(other, _)| *other == name).map(|(_, place)| place).collect();
            if uses.is_empty() {
                let passed =
                    format!("defines a custom policy, and those are {NOT_YET}: nothing binds it, it is passed over");
                warnings.borrow_mut().push(place.error(passed));
            } else {
                mistakes.push(place.error(format!(
                    "is a custom policy, and those are {NOT_YET}; remove it and what binds it: {}",
                    places(&uses)
                )));
            }
        }
        while let Some((name, _)) = bound.first().cloned() {
            let uses: Vec<_> = bound.extract_if(.., |(other, _)| *other == name).map(|(_, place)| place).collect();
            let hint = did_you_mean(&name, policy::names());
            let unknown = format!("unknown policy `{}`; {hint}", show(&name));
            if hint.starts_with("did") {
                // Each of them is a slip of its own.
                mistakes.extend(uses.iter().map(|place| place.error(unknown.clone())));
            } else if let [first, others @ ..] = &uses[..] {
                let others =
                    if others.is_empty() { String::new() } else { format!("; it is bound by {}, too", places(others)) };
                mistakes.push(first.error(format!("{unknown}. Custom policies are {NOT_YET}{others}")));
            }
        }
        mistakes
    }
}

fn places(places: &[Place]) -> String {
    let named: Vec<_> = places.iter().take(MOST_PLACES).map(ToString::to_string).collect();
    let mut text = named.join(", ");
    if places.len() > MOST_PLACES {
        let _ = write!(text, " and {} more", places.len() - MOST_PLACES);
    }
    text
}
