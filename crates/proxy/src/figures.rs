//! The figures of routes over reloads: a route that a new configuration still has goes on counting, one that it no
//! longer has goes with its series.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use weir_config::Scraping;
use weir_telemetry::metrics::{Cardinality, RouteLabels, RouteMetrics};

/// The cells of every route that some configuration still names.
pub struct Figures {
    workers: usize,
    cardinality: Arc<Cardinality>,
    unrouted: Arc<RouteMetrics>,
    routes: Mutex<HashMap<RouteLabels, Arc<RouteMetrics>>>,
}

impl Figures {
    /// For `workers` workers.
    pub fn new(workers: u16) -> Self {
        let workers = usize::from(workers);
        let cardinality = Arc::new(Cardinality::new(Scraping::default().cardinality_limit));
        let unrouted = Arc::new(RouteMetrics::new(RouteLabels::default(), workers, &cardinality));
        Self { workers, cardinality, unrouted, routes: Mutex::default() }
    }

    /// The label sets of all routes.
    pub fn cardinality(&self) -> &Cardinality {
        &self.cardinality
    }

    /// The cells of what belongs to no route.
    pub(crate) fn unrouted(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.unrouted)
    }

    /// The cells of one route, made now if it has none.
    pub(crate) fn route(&self, labels: RouteLabels) -> Arc<RouteMetrics> {
        let make = || Arc::new(RouteMetrics::new(labels.clone(), self.workers, &self.cardinality));
        Arc::clone(self.routes().entry(labels.clone()).or_insert_with(make))
    }

    /// The cells of every route by its names, and first those of what has none; without those that no snapshot holds
    /// any more. Called on the scrape's thread; the lock is shared with the loader only.
    pub fn all(&self) -> Vec<Arc<RouteMetrics>> {
        let mut routes = self.routes();
        routes.retain(|_, metrics| Arc::strong_count(metrics) > 1);
        let mut all: Vec<_> = routes.values().cloned().collect();
        drop(routes);
        all.sort_unstable_by(|a, b| a.labels().cmp(b.labels()));
        all.insert(0, self.unrouted());
        all
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<RouteLabels, Arc<RouteMetrics>>> {
        self.routes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        let apis = || figures.all().iter().map(|route| route.labels().api.clone()).collect::<Vec<_>>();
        assert_eq!(apis(), ["", "orders"]);
        drop(held);
        assert_eq!(apis(), [""]);
    }
}
