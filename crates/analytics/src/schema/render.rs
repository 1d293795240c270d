//! What differs between one server and a cluster: engines, `ON CLUSTER`, the two names of a table, the settings of
//! its deduplication window.

use super::quoted;

/// The shape of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One server, or the embedded engine.
    Single,
    /// Replicated tables under `Distributed` ones on the cluster of this name.
    Cluster(String),
}

/// How many blocks a table remembers the tokens of. The window only serves to retry one block, and blocks are
/// committed one after the other; it is wide because it costs a few bytes each.
const WINDOW: u32 = 10_000;

impl Layout {
    pub(super) fn on_cluster(&self) -> String {
        match self {
            Self::Single => String::new(),
            Self::Cluster(name) => format!(" ON CLUSTER {}", quoted(name)),
        }
    }

    /// The cluster's name.
    pub(super) fn cluster(&self) -> Option<&str> {
        match self {
            Self::Single => None,
            Self::Cluster(name) => Some(name),
        }
    }

    pub(crate) fn local_suffix(&self) -> &'static str {
        match self {
            Self::Single => "",
            Self::Cluster(_) => "_local",
        }
    }

    /// `kind` is the family member, with the column that decides where it takes one: `MergeTree`,
    /// `ReplacingMergeTree(version)`, …
    pub(super) fn engine(&self, kind: &str) -> String {
        match self {
            Self::Single => kind.to_owned(),
            // The path has the table's uuid: a table made again under its old name must not meet its old replicas.
            Self::Cluster(_) => {
                let (family, column) = kind.trim_end_matches(')').split_once('(').unwrap_or((kind, ""));
                let column = if column.is_empty() { String::new() } else { format!(", {column}") };
                format!("Replicated{family}('/clickhouse/tables/{{uuid}}/{{shard}}', '{{replica}}'{column})")
            }
        }
    }

    pub(super) fn window(&self) -> String {
        match self {
            Self::Single => format!("non_replicated_deduplication_window = {WINDOW}"),
            Self::Cluster(_) => {
                format!("replicated_deduplication_window = {WINDOW}, replicated_deduplication_window_seconds = 604800")
            }
        }
    }
}

impl std::str::FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "single" => Ok(Self::Single),
            Some(("cluster", name)) if !name.is_empty() => Ok(Self::Cluster(name.to_owned())),
            _ => Err(format!("`{text}` is neither `single` nor `cluster:NAME`")),
        }
    }
}
