//! How resources are distinguished.

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Where a service is among the drafts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ServiceAt {
    Shared(usize),
    /// Of the API, by index, and in it.
    Within(usize, usize),
}
