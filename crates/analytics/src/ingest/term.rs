//! The name under which somebody writes.

use crate::block::BlockId;

/// One claimed epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub epoch: u64,
    pub id: BlockId,
}
