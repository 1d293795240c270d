//! What is done for endpoints beside the requests, once a process: health checks, and asking for names again.
//!
//! On the background runtime: no worker waits for it, and it takes nothing from them but a descriptor a check.

use crate::cluster::{Cluster, Clusters};
use crate::connect::{Timeouts, connect};
use crate::content::Content;
use crate::descriptors::Descriptors;
use crate::in_flight::InFlight;
use crate::lot;
use crate::origin::Origin;
use crate::standing::Standing;
use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body::Frame;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};
use weir_config::HealthCheck;
use weir_event::Attempt;
use weir_event::Instant;
use weir_http1::{Fields, Known};
use weir_transport::lookup;

/// How often it is looked for clusters that are new, and for names that are due.
const LOOK: Duration = Duration::from_millis(500);
/// Names that are asked for at once, at most.
const MOST_NAMES: usize = 16;

/// Looks after the clusters for as long as it is polled. It must be in a `LocalSet`, or on a local runtime.
pub async fn upkeep(clusters: Arc<Clusters>, descriptors: Arc<Descriptors>) {
    let mut checked: HashMap<*const Standing, Weak<Standing>> = HashMap::new();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        checked.retain(|_, standing| standing.strong_count() > 0);
        for cluster in clusters.all() {
            begin_checks(&cluster, &descriptors, &mut checked);
        }
        refresh_names(&clusters, Instant::now());
    }
}

/// A task for each endpoint that is to be checked and has none.
fn begin_checks(
    cluster: &Cluster,
    descriptors: &Arc<Descriptors>,
    checked: &mut HashMap<*const Standing, Weak<Standing>>,
) {
    let Some(rule) = &cluster.settings().health else { return };
    for member in cluster.members() {
        let place = Arc::as_ptr(&member.standing);
        if checked.contains_key(&place) {
            continue;
        }
        checked.insert(place, Arc::downgrade(&member.standing));
        let checks = Checks {
            service: cluster.service().to_owned(),
            rule: rule.clone(),
            origin: Arc::downgrade(&member.origin),
            standing: Arc::downgrade(&member.standing),
            descriptors: Arc::clone(descriptors),
        };
        spawn_local(checks.run());
    }
}

/// The checks of one endpoint.
struct Checks {
    service: String,
    rule: HealthCheck,
    origin: Weak<Origin>,
    standing: Weak<Standing>,
    descriptors: Arc<Descriptors>,
}

impl Checks {
    /// Until the endpoint is in no configuration any more.
    async fn run(self) {
        // Those of many endpoints are spread over the interval.
        sleep(self.rule.interval.mul_f64(lot::fraction() / 10.0)).await;
        let mut tick = interval(self.rule.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Some(origin) = self.origin.upgrade() else { return };
            let ended = check(&origin, &self.rule, &self.descriptors).await;
            let Some(standing) = self.standing.upgrade() else { return };
            self.book(&standing, &origin, ended);
        }
    }

    fn book(&self, standing: &Standing, origin: &Origin, ended: Result<(), String>) {
        let HealthCheck { unhealthy_threshold, healthy_threshold, .. } = self.rule;
        let (service, endpoint) = (&self.service, &origin.address);
        match ended {
            Ok(()) => {
                if standing.checked(true, healthy_threshold) {
                    info!(%service, %endpoint, "an endpoint is healthy again");
                }
            }
            Err(error) => {
                debug!(%service, %endpoint, error, "a health check failed");
                if standing.checked(false, unhealthy_threshold) {
                    warn!(%service, %endpoint, error, "an endpoint is unhealthy: it gets no requests");
                }
            }
        }
    }
}

/// Asks an endpoint once.
async fn check(origin: &Arc<Origin>, rule: &HealthCheck, descriptors: &Arc<Descriptors>) -> Result<(), String> {
    let late = || format!("no answer within {:?}", rule.timeout);
    timeout(rule.timeout, ask(origin, rule, descriptors)).await.unwrap_or_else(|_| Err(late()))
}

async fn ask(origin: &Arc<Origin>, rule: &HealthCheck, descriptors: &Arc<Descriptors>) -> Result<(), String> {
    let Some(descriptor) = descriptors.upstream() else {
        // What the gateway lacks says nothing about the endpoint.
        return Ok(());
    };
    let timeouts = Timeouts { connect: rule.timeout, idle: Duration::ZERO, fields: 1_000 };
    let connected = connect(origin, &timeouts, &mut Attempt::new(), descriptor).await;
    let connection = connected.map_err(|failure| failure.to_string())?;
    let Some(path) = &rule.path else { return Ok(()) };
    let mut fields = Fields::new();
    fields.put(Known::Host, &origin.authority);
    fields.put(Known::UserAgent, &HeaderValue::from_static("weir-health-check"));
    fields.put(Known::Connection, &HeaderValue::from_static("close"));
    let mut asked = InFlight::send(connection, (&Method::GET, path, &fields), Nothing);
    let status = loop {
        match poll_fn(|cx| asked.poll_head(cx)).await {
            Ok(head) if head.is_interim() => {}
            Ok(head) => break head.status.as_u16(),
            Err(why) => return Err(crate::Failure::of_exchange(origin.address.to_string(), why).to_string()),
        }
    };
    let expected = if rule.statuses.is_empty() {
        (200..300).contains(&status)
    } else {
        rule.statuses.binary_search(&status).is_ok()
    };
    if expected { Ok(()) } else { Err(format!("{path} is answered {status}")) }
}

/// The content of a request that has none.
struct Nothing;

impl Content for Nothing {
    type Error = Infallible;

    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end(&self) -> bool {
        true
    }

    fn length(&self) -> Option<u64> {
        Some(0)
    }

    fn unread(&mut self, _: Frame<Bytes>) {}
}

/// Asks for the names whose addresses have run out.
fn refresh_names(clusters: &Clusters, now: Instant) {
    let due = clusters.origins().all().into_iter().filter(|origin| origin.addresses.is_due(now));
    for origin in due.take(MOST_NAMES) {
        // Not again until this one is answered.
        origin.addresses.postpone(now);
        spawn_local(async move {
            let (host, port) = (&origin.address.host, origin.address.port);
            match lookup(host, port).await {
                Ok(found) => origin.addresses.learn(&found, Instant::now()),
                Err(error) => debug!(host, %error, "a name could not be asked for again; its addresses hold on"),
            }
        });
    }
}
