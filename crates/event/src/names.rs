//! Names as numbers: what configuration names (APIs, routes, services, policies) travels as a `u32`.
//!
//! The gateway registers a name once, when a configuration is loaded; a record carries its id and each chunk the
//! definitions of the ids that it uses. An id is never given twice in one life of a process, so a record written
//! under an old configuration still reads right under a new one.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// The number of a name; 0 is the empty name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

impl NameId {
    /// The empty name.
    pub const NONE: Self = Self(0);
}

#[derive(Default)]
struct Table {
    ids: HashMap<Arc<str>, NameId>,
    names: Vec<Arc<str>>,
}

/// All names of one life of a process. Written at load, read by the spool; never touched by a request.
#[derive(Default)]
pub struct Names {
    table: RwLock<Table>,
}

impl Names {
    /// A table that knows only the empty name.
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of `name`, given now if it has none yet.
    pub fn register(&self, name: &str) -> NameId {
        if name.is_empty() {
            return NameId::NONE;
        }
        let mut table = self.table.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(id) = table.ids.get(name) {
            return *id;
        }
        let name: Arc<str> = name.into();
        table.names.push(Arc::clone(&name));
        let id = NameId(u32::try_from(table.names.len()).expect("fewer than four billion configured names"));
        table.ids.insert(name, id);
        id
    }

    /// The name behind an id.
    pub fn name(&self, id: NameId) -> Option<Arc<str>> {
        let table = self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match id.0 {
            0 => Some("".into()),
            n => table.names.get(n as usize - 1).cloned(),
        }
    }

    /// Every name given after the first `known`, in the order of their ids, for a log that only appends.
    pub fn since(&self, known: usize) -> Vec<(NameId, Arc<str>)> {
        let table = self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let numbered = table.names.iter().enumerate().skip(known);
        numbered.map(|(index, name)| (NameId(index as u32 + 1), Arc::clone(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let names = Names::new();
        let orders = names.register("orders");
        assert_eq!(names.register("users"), NameId(2));
        assert_eq!(names.register("orders"), orders);
        assert_eq!(names.register(""), NameId::NONE);
        assert_eq!(names.name(orders).as_deref(), Some("orders"));
        assert_eq!(names.name(NameId(9)), None);
        assert_eq!(names.since(1), vec![(NameId(2), "users".into())]);
    }
}
