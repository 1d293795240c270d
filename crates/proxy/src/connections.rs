//! The connections of a worker's clients, for whoever looks at all of them.

use crate::connection::Connection;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

/// The open ones.
pub(crate) struct Connections {
    worker: Rc<Worker>,
    open: RefCell<HashMap<usize, Weak<Connection>>>,
    next: Cell<usize>,
}

impl Connections {
    pub(crate) fn new(worker: Rc<Worker>) -> Self {
        Self { worker, open: RefCell::default(), next: Cell::new(0) }
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Keeps `connection` in the list for as long as the entry lives.
    pub(crate) fn enter(self: &Rc<Self>, connection: &Rc<Connection>) -> Entry {
        let id = self.next.replace(self.next.get().wrapping_add(1));
        let mut open = self.open.borrow_mut();
        open.insert(id, Rc::downgrade(connection));
        self.worker.stats().set_connections(open.len());
        Entry { connections: Rc::clone(self), id }
    }

    pub(crate) fn each(&self, act: impl Fn(&Connection)) {
        let open: Vec<_> = self.open.borrow().values().filter_map(Weak::upgrade).collect();
        open.iter().for_each(|connection| act(connection));
    }

    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }
}

/// A connection's place in the list.
pub(crate) struct Entry {
    connections: Rc<Connections>,
    id: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.connections.open.borrow_mut();
        open.remove(&self.id);
        self.connections.worker.stats().set_connections(open.len());
    }
}
