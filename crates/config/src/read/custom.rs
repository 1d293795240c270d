//! The policies that are not in the catalogue, as they are met while files are read. What is said of them is said when
//! all is read (`crate::custom`).

use std::cell::RefCell;

use super::Place;

/// What was found of them while the files were read.
#[derive(Default)]
pub(crate) struct Custom {
    /// The names of `Extension` resources.
    pub defined: RefCell<Vec<(String, Place)>>,
    /// The names in `policyRef` that are not in the catalogue.
    pub bound: RefCell<Vec<(String, Place)>>,
}

impl Custom {
    pub fn define(&self, name: String, place: Place) {
        self.defined.borrow_mut().push((name, place));
    }

    pub fn bind(&self, name: String, place: Place) {
        self.bound.borrow_mut().push((name, place));
    }
}
