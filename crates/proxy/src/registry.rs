//! What outlives a reload, and is shared by all workers.

use crate::figures::Figures;
use crate::gate::Gates;
use crate::marks::Marks;
use crate::tls::Acceptors;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::runtime::Handle;
use weir_event::Instant;
use weir_event::Names;
use weir_policies::Services;
use weir_telemetry::degradation::Degradation;
use weir_telemetry::sampling::{Budget, DebugRules};
use weir_upstream::{Clusters, Descriptors};

/// What outlives a reload: the numbers of names, the clusters of services, the figures of routes, the state of policies,
/// the ticket keys and the open connections of ports.
pub struct Registry {
    pub names: Arc<Names>,
    pub clusters: Arc<Clusters>,
    pub figures: Figures,
    pub policies: Services,
    pub acceptors: Acceptors,
    pub gates: Gates,
    /// Requests that are open, over all workers.
    pub open: Arc<AtomicUsize>,
    /// Of connections, over all workers.
    pub descriptors: Arc<Descriptors>,
    /// Whether spans are made: there is somebody to take them.
    pub spans: bool,
    /// Of traces that callers ask for, over all workers.
    pub trace_callers: Arc<Budget>,
    /// The traces that an administrator asks for.
    pub debug_rules: Arc<DebugRules>,
    /// What telemetry leaves out because it costs too much.
    pub degradation: Arc<Degradation>,
    /// Of probes: valid for whatever worker and generation.
    pub marks: Arc<Marks>,
}

impl Registry {
    /// For a data plane of `workers` workers.
    pub fn new(workers: u16) -> Self {
        Self {
            names: Arc::default(),
            clusters: Arc::default(),
            figures: Figures::new(workers),
            policies: Services::default(),
            acceptors: Acceptors::default(),
            gates: Gates::default(),
            open: Arc::default(),
            descriptors: Arc::default(),
            spans: false,
            trace_callers: Arc::default(),
            debug_rules: Arc::default(),
            degradation: Arc::default(),
            marks: Arc::new(Marks::new()),
        }
    }

    /// With somebody to take spans.
    #[must_use]
    pub fn with_spans(self, spans: bool) -> Self {
        Self { spans, ..self }
    }

    /// With a runtime for what policies do beside the requests. Without one, they read nothing from other servers.
    #[must_use]
    pub fn with_background(self, background: Handle) -> Self {
        Self { policies: Services::new(Instant::now(), Some(background)), ..self }
    }
}
