//! Every metric that Weir exposes, named once. `dashboards/metrics.md` is printed from here, and a test fails when the
//! two differ; names are OpenTelemetry's HTTP conventions in Prometheus form where those have one.

weir_metrics::catalogue! {
    REQUESTS Counter "weir_requests_total" "{request}" ["api" "route"]
        "Requests that have ended, from 0 on for each configured route; what belongs to no route has empty labels. A tunnel is one of them, and never one that failed.";
    FAILED Counter "weir_requests_failed_total" "{request}" ["api" "route"]
        "Of these, those that failed by the fault of the service or of the gateway: a status of 500 or more, or a response that either broke off.";
    SERVER_DURATION Histogram "http_server_request_duration_seconds" "s"
        ["api" "route" "http_route" "service" "http_request_method" "http_response_status_code" "error_type"]
        "Time from a request's head to the last frame of its response. `http_route` is the path's template, `error_type` the reason of a request that failed by the fault of the service or of the gateway, or its status. As all histograms of a route, it is there from the first request on. Without tunnels.";
    OVERHEAD Histogram "weir_gateway_overhead_seconds" "s" ["api" "route"]
        "Part of a request's time in which neither the upstream nor the client was waited for.";
    CLIENT_DURATION Histogram "http_client_request_duration_seconds" "s" ["api" "route" "http_route" "service" "error_type"]
        "Time of one attempt at the upstream, to its response head or its failure, whose reason is `error_type`.";
    REQUEST_BODY Histogram "http_server_request_body_size_bytes" "By" ["api" "route" "http_route"]
        "Body bytes received from clients.";
    RESPONSE_BODY Histogram "http_server_response_body_size_bytes" "By" ["api" "route" "http_route"]
        "Body bytes handed over to clients.";
    POLICY_DURATION Histogram "weir_policy_duration_seconds" "s" ["api" "route" "policy" "verdict"]
        "Time of one policy in one request.";
    REJECTED Counter "weir_requests_rejected_total" "{request}" ["api" "route" "policy" "reason"]
        "Requests that a policy rejected.";
    RATE_LIMITED Counter "weir_rate_limit_requests_total" "{request}" ["api" "route" "state"]
        "Requests that met a rate limit: within or over it, and `_shared` where the limiter was full and counted them with other keys.";
    CONNECTIONS_OPENED Counter "weir_upstream_connections_opened_total" "{connection}" ["api" "service"]
        "Connections that were opened to a service, from its first attempt on.";
    CONNECT_FAILURES Counter "weir_upstream_connect_failures_total" "{attempt}" ["api" "service"]
        "Attempts that had no connection to a service: its name, the connection or the handshake failed, or the gateway had no descriptor or port left. The reasons are those of http_client_request_duration_seconds.";
    RETRIES Counter "weir_upstream_retries_total" "{attempt}" ["service" "result"]
        "Further attempts after one that failed: made, or not made because the budget of the service's retries was spent.";
    ENDPOINT_AVAILABLE Gauge "weir_upstream_endpoint_available" "1" ["service" "endpoint"]
        "Whether an address of a service gets requests: 0 where its health checks fail, or where it is left out because its requests do. Only of services with several addresses or with health checks.";
    ENDPOINT_EJECTIONS Counter "weir_upstream_endpoint_ejections_total" "{ejection}" ["service" "endpoint"]
        "Times that an address was left out because its requests failed (`outlierEjection`).";
    HEALTH_CHECKS Counter "weir_upstream_health_checks_total" "{check}" ["service" "endpoint" "result"]
        "Health checks of an address: passed, or failed.";
    UNROUTED Counter "weir_requests_unrouted_total" "{request}" ["reason"]
        "Requests that belong to no route: malformed, or for a path that nobody serves. They are also in the duration histogram, with an empty api.";
    OPEN_REQUESTS Gauge "weir_requests_open" "{request}" [] "Requests that are open now; `limits.openRequests` bounds them.";
    CONNECTIONS Gauge "weir_connections" "{connection}" ["worker"] "Client connections open now.";
    WORKER_STILL Gauge "weir_worker_last_turn_seconds" "s" ["worker"]
        "For how long a worker has not looked up from its requests, which it does once a second, as seen once a second: up to two seconds are usual; over `lifecycle.workerTimeout` liveness fails.";
    WORKER_STALLS Counter "weir_worker_stalls_total" "{stall}" ["worker"]
        "Times that a worker stood still for `lifecycle.workerTimeout`.";
    CONNECTIONS_REFUSED Counter "weir_connections_refused_total" "{connection}" ["worker" "limit"]
        "Client connections closed at once: their port, their address or the process had as many as it may.";
    ACCEPT_FAILURES Counter "weir_accept_failures_total" "{connection}" ["port"]
        "Connections that could not be accepted, mostly for want of file descriptors: by clients, and at the admin and probe ports.";
    OPERATOR_CLOSED Counter "weir_admin_connections_closed_total" "{connection}" []
        "Connections of the admin and probe ports that were closed because their client was too slow, or for another's sake.";
    HANDSHAKES Counter "weir_tls_handshakes_total" "{handshake}" ["worker" "kind"]
        "TLS handshakes with clients: full, resumed from a ticket, or failed.";
    CERTIFICATE_EXPIRY Gauge "weir_tls_certificate_expiry_timestamp_seconds" "s" ["listener" "certificate"]
        "When a certificate that clients are shown expires, in seconds since the Unix epoch; certificates of one port count from 0.";
    CERTIFICATE_START Gauge "weir_tls_certificate_not_before_timestamp_seconds" "s" ["listener" "certificate"]
        "From when on a certificate that clients are shown is valid, in seconds since the Unix epoch.";
    ACCEPTED Counter "weir_events_accepted_total" "{event}" ["worker"]
        "Requests finished, probes among them, each of which is an event: what the ledger must add up to.";
    EVENTS_WRITTEN Counter "weir_events_written_total" "{event}" [] "Events taken from the rings to the spool.";
    EVENTS_SHED Counter "weir_events_shed_total" "{event}" ["reason"] "Events given up, by why.";
    RING_BYTES Gauge "weir_ring_bytes" "By" ["worker"] "Size of the ring that a worker writes events into.";
    RING_USED Gauge "weir_ring_used_bytes" "By" ["worker"]
        "Bytes of a ring that are not yet in chunk files. A full ring loses events (weir_events_shed_total).";
    CHUNKS_SEALED Counter "weir_spool_chunks_sealed_total" "{chunk}" [] "Chunk files that were written.";
    CHUNKS_ACKED Counter "weir_spool_chunks_acknowledged_total" "{chunk}" [] "Chunks that weir-analytics has acknowledged.";
    SPOOL_BYTES Gauge "weir_spool_bytes" "By" [] "Bytes of chunk files on disk.";
    SPOOL_LIMIT Gauge "weir_spool_limit_bytes" "By" [] "Bytes of chunk files that the spool may hold (`spool.maxBytes`); past it the oldest are shed.";
    SPOOL_CHUNKS Gauge "weir_spool_chunks" "{chunk}" [] "Chunk files on disk, not yet acknowledged.";
    SPOOL_AGE Gauge "weir_spool_oldest_age_seconds" "s" [] "Age of the oldest chunk that is not acknowledged.";
    CHUNKS_SENT Counter "weir_spool_chunks_sent_total" "{chunk}" [] "Requests that carried a chunk, repeated ones among them.";
    CHUNKS_SPLIT Counter "weir_spool_chunks_split_total" "{chunk}" []
        "Chunks that were halved, for they were too large for the way to weir-analytics.";
    CHUNKS_HELD Gauge "weir_spool_chunks_held" "{chunk}" []
        "Chunks of identities that weir-analytics refuses now; they are kept.";
    SHIPPING_BLOCKED Gauge "weir_spool_shipping_blocked" "1" []
        "1 while nothing is shipped: weir-analytics is away, refuses the gateway, or somebody else answers for it.";
    NOT_UNDERSTOOD Counter "weir_spool_answers_not_understood_total" "{answer}" []
        "Answers to chunks that were not weir-analytics' own: of a proxy, a portal, a wrong port.";
    CHUNKS_SET_ASIDE Counter "weir_spool_chunks_set_aside_total" "{chunk}" []
        "Chunks that cannot be shipped, refused for good or damaged, and were set aside.";
    SET_ASIDE_CHUNKS Gauge "weir_spool_set_aside_chunks" "{chunk}" [] "Chunks that are set aside now.";
    SET_ASIDE_BYTES Gauge "weir_spool_set_aside_bytes" "By" [] "Bytes of the chunks that are set aside now.";
    SET_ASIDE_DROPPED Counter "weir_spool_set_aside_dropped_total" "{chunk}" []
        "Chunks that were set aside and had to go, to keep that folder within its bound.";
    TOMBSTONES Counter "weir_spool_tombstones_total" "{range}" []
        "Ranges of events that were given up on disk, each named in the ledger.";
    PAUSES Counter "weir_spool_shipping_pauses_total" "{pause}" []
        "Times that weir-analytics or the network made the shipper wait.";
    ADOPTED Counter "weir_spool_lives_adopted_total" "{life}" []
        "Spools of earlier processes that were taken over.";
    SPOOL_FAILURES Counter "weir_spool_failures_total" "{failure}" ["operation"]
        "Writes of chunk files, and other operations on files of the spool, that failed and are tried again.";
    TRACES_KEPT Counter "weir_traces_kept_total" "{trace}" ["worker" "kept"]
        "Requests whose spans were kept, by why: sampled, asked for (debug), failed, slow. As all metrics of spans, only where they are made.";
    TELEMETRY_CPU Counter "weir_telemetry_cpu_seconds_total" "s" ["worker" "signal"]
        "Processor time of a worker that went into metrics, events, the copies that spans are made of, and log lines; estimated from one request in 1,024. What other threads do for them is in `weir_thread_cpu_seconds_total`.";
    TELEMETRY_BYTES Counter "weir_telemetry_bytes_total" "By" ["signal"]
        "Bytes of telemetry that left the process: metrics as scraped and sent, events as chunk files, spans as sent (traces), lines of logs as written; compressed where they are.";
    TELEMETRY_SHARE Gauge "weir_telemetry_cpu_ratio" "1" []
        "Of the CPU time of the process in the last second, what telemetry had: the workers' part and the threads beside them. 0 where the process did little.";
    TELEMETRY_DEGRADED Gauge "weir_telemetry_degraded_level" "1" []
        "What telemetry leaves out because it costs more than `tracing.cpuBudget`: 0 nothing, 1 labels, 2 also spans of attempts, 3 also spans that were kept because they were sampled. Never an event.";
    LINK_DURATION Histogram "weir_link_duration_seconds" "s" ["api" "route" "service"]
        "The way to and back from the gateway behind this one (`peerGateway`): the wait for its response head without what it says it took itself, connecting not counted. Only where there was one.";
    LINKS_DOUBTED Counter "weir_link_reports_invalid_total" "{report}" ["worker"]
        "What gateways behind this one said of their own time and cannot be true: of another request, or longer than the wait.";
    LOG_LINES Counter "weir_log_output_lines_total" "{line}" ["output"]
        "Lines that were written to an output of `Configuration.logging`, or that its receiver has acknowledged: about requests, of policies, and of the gateway's own log.";
    LOG_LINES_DROPPED Counter "weir_log_output_lines_dropped_total" "{line}" ["output" "reason"]
        "Lines that were not: the output was slower than they came, could not be written, or `perSecond` left them out. Of an output by OTLP also why its receiver does not have them, as of spans.";
    SPANS_EXPORTED Counter "weir_spans_exported_total" "{span}" [] "Spans that their receiver has acknowledged.";
    SPANS_DROPPED Counter "weir_spans_dropped_total" "{span}" ["reason"]
        "Spans that were dropped: the queue was full, the receiver was unavailable for too long, refused a batch for good, rejected a part of it, or the process ended.";
    SPAN_EXPORTS Counter "weir_span_exports_total" "{request}" ["outcome"]
        "Export requests, repeated ones among them, by whether they were taken.";
    SPAN_QUEUE Gauge "weir_span_queue_requests" "{request}" [] "Requests whose spans wait to be sent.";
    LABEL_SETS Gauge "weir_metric_label_sets" "1" ["metric"]
        "Label sets that traffic has made of a metric, over all routes: statuses, reasons, policies. Those past `metrics.cardinalityLimit` count under `__other__`.";
    LABEL_SETS_LIMIT Gauge "weir_metric_label_sets_limit" "1" [] "What `metrics.cardinalityLimit` allows each of them.";
    POINTS_EXPORTED Counter "weir_metric_points_exported_total" "{point}" []
        "Points of metrics that their receiver has acknowledged. As the next two, only where metrics are sent by OTLP.";
    POINTS_DROPPED Counter "weir_metric_points_dropped_total" "{point}" ["reason"]
        "Points that were dropped: the receiver was unavailable for too long, refused a request for good, rejected a part of it, or the process ended. The next collection has newer ones.";
    METRIC_EXPORTS Counter "weir_metric_exports_total" "{request}" ["outcome"]
        "Export requests of metrics, repeated ones among them, by whether they were taken.";
    PROBE_REQUESTS Counter "weir_probe_requests_total" "{request}" []
        "Requests of `weirctl probe --check=pipeline`. They are in no other metric of requests.";
    PROBE_MARKS_REJECTED Counter "weir_probe_marks_rejected_total" "{request}" ["why"]
        "Requests that said to be such a probe and were not: their mark was forged, expired or used before, or too many had been used. They count as requests.";
    LOG_DROPPED Counter "weir_log_lines_dropped_total" "{line}" []
        "Lines of the gateway's own log that were dropped because nobody read standard error.";
    DRAINING Gauge "weir_draining" "1" [] "1 while the gateway finishes what is open and takes no more connections.";
    CONFIG_GENERATION Gauge "weir_config_generation" "1" [] "Generation of the configuration that serves new requests.";
    CONFIG_RELOADS Counter "weir_config_reloads_total" "{reload}" ["outcome"]
        "Changed configurations, by whether they were taken.";
    CONFIG_FAILING Gauge "weir_config_last_reload_failed" "1" [] "1 while the last edit of the configuration is wrong.";
    CONFIG_SERVING Gauge "weir_config_serving_generation" "1" [] "Generation that every worker has said to serve new requests by.";
    CONFIG_PENDING Gauge "weir_config_pending_since_timestamp_seconds" "s" ["waits_for"]
        "When the change that is not taken yet was first seen, in seconds since the Unix epoch, by what it waits for; 0 while none does.";
    CONFIG_RETRYING Gauge "weir_config_retrying" "1" []
        "1 while a configuration that could not be run for a passing reason is tried again.";
    CONFIG_RESTART Gauge "weir_config_restart_required" "1" ["setting"]
        "1 for each setting that has changed in the files and takes effect at the next start only.";
    CONFIG_FALLBACK Gauge "weir_config_fallback" "1" ["cause"]
        "1 while a kept generation runs in place of what the folders say: the folders were broken at the start (last_good), or a rollback.";
    TARGET_INFO Info "target_info" "1"
        ["service_namespace" "service_name" "service_instance_id" "service_version" "deployment_environment_name" "weir_site" "weir_replica"]
        "Always 1; who is scraped, in OpenTelemetry's words: organization, gateway, the life of the process, version, environment, and Weir's site and replica.";
    BUILD_INFO Info "weir_build_info" "1" ["version"] "Always 1; the version is its label.";
}

/// The catalogue as the documentation shows it.
pub fn markdown() -> String {
    "# Metrics\n\nPrinted from the catalogue in `crates/telemetry`; a test keeps the two the same.\n\n".to_owned()
        + &weir_metrics::markdown(&[all(), weir_metrics::process::all()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect_file;

    #[test]
    fn the_documentation_is_the_catalogue() {
        expect_file!["../../../../dashboards/metrics.md"].assert_eq(&markdown());
    }

    /// What begins with `http_` is OpenTelemetry's.
    #[test]
    fn names_of_opentelemetry_are_its_own_by_otlp() {
        let is_theirs = |name: &str| name.starts_with("http_") || name == "error_type";
        for metric in all() {
            let name = weir_metrics::otlp_name(metric);
            assert_eq!(name.contains('.'), is_theirs(metric.name), "{name}");
            for label in metric.labels {
                let name = weir_metrics::otlp_label(label);
                assert_eq!(name.contains('.'), is_theirs(label), "{name}");
            }
        }
    }

    /// As OpenTelemetry's specification translates to Prometheus ("Prometheus and OpenMetrics Compatibility", "Metric
    /// Metadata"): the unit in words and the ending of the kind are appended where they are not there.
    #[test]
    fn who_translates_back_has_the_names_of_prometheus() {
        for metric in [all(), weir_metrics::process::all()].concat() {
            let mut name = weir_metrics::otlp_name(metric).replace('.', "_");
            let is_gauge = metric.kind == weir_metrics::Kind::Gauge;
            let unit = match weir_metrics::otlp_unit(metric) {
                "s" => "_seconds",
                "By" => "_bytes",
                "1" if is_gauge => "_ratio",
                _ => "",
            };
            if !name.ends_with(unit) {
                name += unit;
            }
            if metric.kind == weir_metrics::Kind::Counter {
                name += "_total";
            }
            assert_eq!(name, metric.name);
            for label in metric.labels {
                assert_eq!(weir_metrics::otlp_label(label).replace('.', "_"), *label);
            }
        }
    }

    #[test]
    fn names_are_prometheus_names() {
        assert_eq!(weir_metrics::check(&all()), Vec::<String>::new());
    }
}
