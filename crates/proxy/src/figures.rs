//! The figures of routes over reloads: a route that a new configuration still has goes on counting, one that it no
//! longer has goes with its series.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use weir_event::Names;
use weir_telemetry::metrics::{Families, RouteLabels, RouteMetrics};

/// The cells of every route that some configuration still names.
pub struct Figures {
    workers: usize,
    unrouted: Arc<RouteMetrics>,
    routes: Mutex<HashMap<RouteLabels, Arc<RouteMetrics>>>,
}

impl Figures {
    /// For `workers` workers.
    pub fn new(workers: u16) -> Self {
        let workers = usize::from(workers);
        let unrouted = Arc::new(RouteMetrics::new(RouteLabels::default(), workers));
        Self { workers, unrouted, routes: Mutex::default() }
    }

    /// The cells of what belongs to no route.
    pub(crate) fn unrouted(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.unrouted)
    }

    /// The cells of one route, made now if it has none.
    pub(crate) fn route(&self, labels: RouteLabels) -> Arc<RouteMetrics> {
        let make = || Arc::new(RouteMetrics::new(labels.clone(), self.workers));
        Arc::clone(self.routes().entry(labels.clone()).or_insert_with(make))
    }

    /// Adds the series of every route to an exposition, without those that no snapshot holds any more. Called on the
    /// scrape's thread; the lock is shared with the loader only.
    pub fn expose(&self, names: &Names, out: &mut Families) {
        self.unrouted.expose(names, out);
        let mut routes = self.routes();
        routes.retain(|_, metrics| Arc::strong_count(metrics) > 1);
        let mut routes: Vec<_> = routes.values().cloned().collect();
        routes.sort_by(|a, b| a.labels().cmp(b.labels()));
        for metrics in routes {
            metrics.expose(names, out);
        }
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<RouteLabels, Arc<RouteMetrics>>> {
        self.routes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_keeps_its_cells_for_as_long_as_somebody_holds_them() {
        let figures = Figures::new(1);
        let labels = RouteLabels { api: "orders".into(), route: "r".into(), service: "s".into() };
        let held = figures.route(labels.clone());
        assert!(Arc::ptr_eq(&held, &figures.route(labels)));
        let text = || {
            let mut out = Families::default();
            figures.expose(&Names::new(), &mut out);
            out.text()
        };
        assert!(text().contains("orders"));
        drop(held);
        assert!(!text().contains("orders"));
    }
}
