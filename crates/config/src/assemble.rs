//! Settings of all files, the environment and the defaults, in that order of precedence.

use std::time::Duration;

use crate::environment::Variables;
use crate::model::{
    Analytics, AnalyticsTls, GatewayConfig, Identity, Lifecycle, Limits, Reload, Spool, Timeouts, UpstreamHost,
};
use crate::read::{Env, Errors};
use crate::spec::{Settings, Slot};

/// A configuration without APIs.
pub(crate) fn assemble(settings: Settings, env: Env<'_>, errors: &Errors) -> GatewayConfig {
    let variables = Variables { env, errors };
    let default = GatewayConfig::default();
    let identity = Identity {
        organization: settings.organization.value().unwrap_or(default.identity.organization),
        environment: settings.environment.value().unwrap_or(default.identity.environment),
        site: settings.site.value().unwrap_or(default.identity.site),
        gateway: settings.gateway.value().unwrap_or(default.identity.gateway),
    };
    let spool = Spool {
        path: settings.spool_path.value().unwrap_or(default.spool.path),
        max_bytes: settings.spool_max_bytes.value().unwrap_or(default.spool.max_bytes),
        max_age: settings.spool_max_age.value().unwrap_or(default.spool.max_age),
        ring_bytes: settings.spool_ring_bytes.value().unwrap_or(default.spool.ring_bytes),
        chunk_bytes: settings.spool_chunk_bytes.value().unwrap_or(default.spool.chunk_bytes),
        sync_interval: settings.spool_sync_interval.value().unwrap_or(default.spool.sync_interval),
    };
    let seconds = |slot: Slot<Duration>, name, default| {
        let variable = variables.seconds(name);
        slot.value().or(variable).unwrap_or(default)
    };
    let timeouts = Timeouts {
        stream_idle: seconds(settings.stream_idle, "FLEX_STREAM_IDLE_TIMEOUT_SECONDS", default.timeouts.stream_idle),
        upstream_response: seconds(
            settings.upstream_response,
            "FLEX_UPSTREAM_RESPONSE_TIMEOUT_SECONDS",
            default.timeouts.upstream_response,
        ),
        upstream_connection_idle: seconds(
            settings.upstream_connection_idle,
            "FLEX_UPSTREAM_CONNECTION_IDLE_TIMEOUT_SECONDS",
            default.timeouts.upstream_connection_idle,
        ),
        upstream_connect: default.timeouts.upstream_connect,
        downstream_connection_idle: seconds(
            Slot::default(),
            "FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS",
            default.timeouts.downstream_connection_idle,
        ),
    };
    let limits = Limits {
        connections: settings.connections.value().unwrap_or(default.limits.connections),
        connections_per_address: settings
            .connections_per_address
            .value()
            .unwrap_or(default.limits.connections_per_address),
        open_requests: settings.open_requests.value().unwrap_or(default.limits.open_requests),
        header_fields: settings.header_fields.value().unwrap_or(default.limits.header_fields),
        upload_min_rate: settings.upload_min_rate.value().unwrap_or(default.limits.upload_min_rate),
        upload_max_time: settings.upload_max_time.value(),
    };
    let reload = Reload {
        mode: settings.reload_mode.value().unwrap_or(default.reload.mode),
        quiet_period: settings.quiet_period.value().unwrap_or(default.reload.quiet_period),
        removal_period: settings.removal_period.value().unwrap_or(default.reload.removal_period),
    };
    let lifecycle = Lifecycle {
        worker_timeout: settings.worker_timeout.value().unwrap_or(default.lifecycle.worker_timeout),
        drain_delay: settings.drain_delay.value().unwrap_or(default.lifecycle.drain_delay),
    };
    let rewritten = variables.boolean("FLEX_REWRITE_HOST_HEADER");
    let rewritten = rewritten.map(|is| if is { UpstreamHost::Authority } else { UpstreamHost::Original });
    let preserve = variables.boolean("FLEX_PRESERVE_EXTERNAL_REQUEST_ID");
    GatewayConfig {
        identity,
        admin: settings.admin.value().unwrap_or(default.admin),
        probe: settings.probe.value().flatten(),
        analytics: analytics(settings.endpoint, settings.token, settings.analytics_tls, errors),
        spool,
        timeouts,
        limits,
        reload,
        lifecycle,
        trusted_peers: settings.trusted_peers.value().unwrap_or_default(),
        peer_gateways: settings.peer_gateways.value().unwrap_or_default(),
        log_level: settings.log_level.value().unwrap_or_default(),
        upstream_host: settings.upstream_host.value().or(rewritten).unwrap_or_default(),
        preserve_request_id: preserve.unwrap_or(default.preserve_request_id),
        drain: variables.seconds("FLEX_SERVICE_ENVOY_DRAIN_TIME").unwrap_or(default.drain),
        ..default
    }
}

/// Both or none: an endpoint without a token would answer 401 for ever.
fn analytics(
    endpoint: Slot<http::Uri>,
    token: Slot<crate::Secret>,
    tls: Slot<AnalyticsTls>,
    errors: &Errors,
) -> Option<Analytics> {
    if let (Some((endpoint, _)), Some((_, place))) = (&endpoint.0, &tls.0)
        && endpoint.scheme_str() == Some("http")
    {
        errors
            .borrow_mut()
            .push(place.error("has no effect, since the endpoint is plain http; use https, or remove it".to_owned()));
    }
    let (set, missing) = match (endpoint.0, token.0) {
        (Some((endpoint, _)), Some((token, _))) => {
            return Some(Analytics { endpoint, token, tls: tls.value().unwrap_or_default() });
        }
        (Some((_, place)), None) => (place, "analytics.token"),
        (None, Some((_, place))) => (place, "analytics.endpoint"),
        (None, None) => return None,
    };
    // It may be there and wrong, which is told already.
    let told = errors.borrow().iter().any(|error| error.path == missing);
    if told {
        return None;
    }
    errors.borrow_mut().push(set.error(format!("`{missing}` is missing; add it")));
    None
}
