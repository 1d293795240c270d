//! What policies have in common with each other and with the configurations before: state that outlives a reload.

pub(crate) mod http_client;

use http_client::Fetch;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::Handle;
use weir_event::Instant;

/// For the policies of a process.
#[derive(Debug)]
pub struct Services {
    /// Every time that a policy is asked at is from here on.
    pub(crate) epoch: Instant,
    pub(crate) kept: Kept,
    /// Where what is no request's own runs. Without one, policies that read from other servers never do.
    pub(crate) background: Option<Handle>,
}

impl Services {
    /// With no state yet. Every time that a policy is asked at is from `epoch` on.
    pub fn new(epoch: Instant, background: Option<Handle>) -> Self {
        Self { epoch, kept: Kept::default(), background }
    }

    /// A client for documents of other servers.
    pub(crate) fn fetch(&self) -> Fetch {
        Fetch::default()
    }
}

impl Default for Services {
    fn default() -> Self {
        Self::new(Instant::now(), None)
    }
}

/// State by its type and what it is known by. It is kept as long as a policy holds it: a reload compiles the new policies
/// while the old ones are still there.
#[derive(Default)]
pub(crate) struct Kept {
    by_type: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
}

impl Kept {
    /// The state that is in use by this id, or a new one.
    pub(crate) fn get_or_make<I, T>(&self, id: I, make: impl FnOnce(&I) -> T) -> Arc<T>
    where
        I: Eq + Hash + Send + 'static,
        T: Send + Sync + 'static,
    {
        self.find_or(id, |id| Arc::new(make(id)))
    }

    /// The same, of a state that somebody beside it is to know.
    pub(crate) fn get_or_make_linked<I, T>(&self, id: I, make: impl FnOnce(Weak<T>) -> T) -> Arc<T>
    where
        I: Eq + Hash + Send + 'static,
        T: Send + Sync + 'static,
    {
        self.find_or(id, |_| Arc::new_cyclic(|this| make(Weak::clone(this))))
    }

    fn find_or<I, T>(&self, id: I, make: impl FnOnce(&I) -> Arc<T>) -> Arc<T>
    where
        I: Eq + Hash + Send + 'static,
        T: Send + Sync + 'static,
    {
        let mut by_type = self.by_type.lock().unwrap_or_else(PoisonError::into_inner);
        let of_type = by_type.entry(TypeId::of::<(I, T)>()).or_insert_with(|| Box::new(HashMap::<I, Weak<T>>::new()));
        let of_type: &mut HashMap<I, Weak<T>> = of_type.downcast_mut().expect("it was made for this type");
        of_type.retain(|_, kept| kept.strong_count() > 0);
        if let Some(kept) = of_type.get(&id).and_then(Weak::upgrade) {
            return kept;
        }
        let new = make(&id);
        of_type.insert(id, Arc::downgrade(&new));
        new
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_found_by_its_type_and_id_while_somebody_holds_it() {
        let kept = Kept::default();
        let first = kept.get_or_make("a", |_| 1_u32);
        assert_eq!(*kept.get_or_make("a", |_| 2_u32), 1);
        assert_eq!(*kept.get_or_make("b", |_| 2_u32), 2);
        assert_eq!(*kept.get_or_make("a", |_| "another type"), "another type");
        assert_eq!(*kept.get_or_make(("a", 1), |_| 3_u32), 3);
        drop(first);
        assert_eq!(*kept.get_or_make("a", |_| 4_u32), 4);
    }
}
