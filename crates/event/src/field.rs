//! The field table: every field of an event, named once.
//!
//! The ClickHouse columns of `access_events`, the blocks that the ingestor builds, the documentation and the
//! dashboards are each checked against [`FIELDS`] by a test of their own, so that two of them cannot disagree.
//! The order is the order of the columns.

/// One field of the access event.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, which is its ClickHouse column.
    pub name: &'static str,
    /// ClickHouse type.
    pub column: &'static str,
    /// ClickHouse codec; empty for the table's default.
    pub codec: &'static str,
    /// `us`, `By`, … (UCUM); empty where it has none.
    pub unit: &'static str,
    pub rollup: Rollup,
    /// The OpenTelemetry attribute that says the same; empty where there is none.
    pub otel: &'static str,
    pub meaning: &'static str,
    /// The schema of the record since which gateways say it ([`crate::Schema`]).
    pub since: u16,
}

/// What a field is in the roll-ups of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollup {
    Key,
    Sum,
    None,
}

macro_rules! rollup {
    ("k") => {
        Rollup::Key
    };
    ("s") => {
        Rollup::Sum
    };
    ("") => {
        Rollup::None
    };
}

/// The fields of each schema, in column order: name, column, codec, unit, roll-up (`k`, `s` or nothing), OpenTelemetry,
/// meaning.
macro_rules! fields {
    ($(since $since:literal { $($name:literal $column:literal $codec:literal $unit:literal $rollup:tt $otel:literal $meaning:literal;)+ })+) => {
        /// Every field, in column order.
        pub const FIELDS: &[Field] = &[$($(Field {
            name: $name,
            column: $column,
            codec: $codec,
            unit: $unit,
            rollup: rollup!($rollup),
            otel: $otel,
            meaning: $meaning,
            since: $since,
        }),+),+];
    };
}

fields! {
    since 1 {
        "ts" "DateTime64(6, 'UTC')" "Delta(8), ZSTD(1)" "" "k" "" "when the request head had arrived, by the gateway's clock";
        "organization" "LowCardinality(String)" "" "" "k" "" "identity: organization";
        "environment" "LowCardinality(String)" "" "" "k" "deployment.environment.name" "identity: environment";
        "site" "LowCardinality(String)" "" "" "k" "" "identity: site";
        "gateway" "LowCardinality(String)" "" "" "k" "service.name" "identity: gateway";
        "replica" "LowCardinality(String)" "" "" "" "service.instance.id" "identity: one of several processes of a gateway";
        "boot" "FixedString(16)" "ZSTD(1)" "" "" "" "id of one run of the process";
        "worker" "UInt16" "ZSTD(1)" "" "" "" "the worker thread";
        "stream" "UInt64" "ZSTD(1)" "" "" "" "hash of identity, boot and worker: the scope of `seq`";
        "seq" "UInt64" "Delta(8), ZSTD(1)" "" "" "" "number in the stream, from 0, without holes";
        "generation" "UInt32" "ZSTD(1)" "" "" "" "generation of the configuration that served it";
        "api" "LowCardinality(String)" "" "" "k" "" "the API";
        "api_instance" "LowCardinality(String)" "" "" "" "" "the ApiInstance, with its namespace";
        "route" "LowCardinality(String)" "" "" "k" "" "the route of the API";
        "service" "LowCardinality(String)" "" "" "" "" "the upstream service of the route";
        "upstream" "LowCardinality(String)" "" "" "" "network.peer.address" "address and port of the last attempt";
        "consumer" "LowCardinality(String)" "" "" "" "" "who authenticated";
        "auth" "LowCardinality(String)" "" "" "" "" "how the consumer authenticated";
        "method" "LowCardinality(String)" "" "" "" "http.request.method" "method, or `_OTHER`";
        "method_original" "LowCardinality(String)" "" "" "" "http.request.method_original" "spelling of an `_OTHER` method";
        "scheme" "LowCardinality(String)" "" "" "" "url.scheme" "scheme that the client used";
        "host" "LowCardinality(String)" "" "" "" "server.address" "authority that the client asked for";
        "path" "String" "ZSTD(1)" "" "" "url.path" "path as asked for, without its query";
        "query" "String" "ZSTD(1)" "" "" "url.query" "query with its values redacted";
        "path_template" "LowCardinality(String)" "" "" "" "http.route" "base path and the pattern that matched";
        "protocol" "LowCardinality(String)" "" "" "" "network.protocol.version" "HTTP version of the client";
        "tls_version" "LowCardinality(String)" "" "" "" "tls.protocol.version" "TLS version of the client's connection";
        "tls_cipher" "LowCardinality(String)" "" "" "" "tls.cipher" "cipher suite of the client's connection";
        "client_ip" "IPv6" "ZSTD(1)" "" "" "client.address" "address of the client: the peer of the connection, or what a trusted peer forwards";
        "user_agent" "LowCardinality(String)" "" "" "" "user_agent.original" "User-Agent, cut at 256 bytes";
        "status" "UInt16" "ZSTD(1)" "" "k" "http.response.status_code" "status sent; 499 when the client left before";
        "upstream_status" "UInt16" "ZSTD(1)" "" "" "" "status that the upstream sent; 0 if none";
        "reason" "LowCardinality(String)" "" "" "k" "error.type" "why it failed, was refused or was answered by the gateway; empty if none of these";
        "side" "LowCardinality(String)" "" "" "k" "" "who was at fault: downstream, gateway, upstream";
        "outcome" "LowCardinality(String)" "" "" "" "" "completed, truncated, cancelled";
        "answered_by" "LowCardinality(String)" "" "" "" "" "the policy that answered";
        "retries" "UInt8" "ZSTD(1)" "" "" "http.request.resend_count" "upstream attempts past the first";
        "cache" "LowCardinality(String)" "" "" "" "" "what the response cache did";
        "rate_limit" "LowCardinality(String)" "" "" "" "" "what the rate limiter did";
        "total_us" "UInt64" "T64, ZSTD(1)" "us" "s" "" "from the request head to the last frame handed over for writing";
        "gateway_us" "UInt64" "T64, ZSTD(1)" "us" "s" "" "part of total spent waiting for neither the upstream nor the client";
        "upstream_us" "UInt64" "T64, ZSTD(1)" "us" "s" "" "part of total spent waiting for the upstream";
        "client_us" "UInt64" "T64, ZSTD(1)" "us" "s" "" "part of total spent waiting for the client";
        "link_us" "UInt32" "T64, ZSTD(1)" "us" "s" "" "time on the link to and from the next gateway, if that one reported its time";
        "connect_us" "UInt32" "T64, ZSTD(1)" "us" "" "" "last attempt: resolving and connecting";
        "tls_us" "UInt32" "T64, ZSTD(1)" "us" "" "" "last attempt: TLS handshake";
        "first_byte_us" "UInt32" "T64, ZSTD(1)" "us" "" "" "last attempt: hand-over to response head";
        "bytes_in" "UInt64" "T64, ZSTD(1)" "By" "s" "http.request.body.size" "body bytes from the client";
        "bytes_to_upstream" "UInt64" "T64, ZSTD(1)" "By" "" "" "body bytes to the upstream";
        "bytes_from_upstream" "UInt64" "T64, ZSTD(1)" "By" "" "" "body bytes from the upstream";
        "bytes_out" "UInt64" "T64, ZSTD(1)" "By" "s" "http.response.body.size" "body bytes to the client";
        "policy_names" "Array(LowCardinality(String))" "" "" "" "" "policies that ran, in order";
        "policy_verdicts" "Array(LowCardinality(String))" "" "" "" "" "their verdicts";
        "policy_us" "Array(UInt32)" "ZSTD(1)" "us" "" "" "their times";
        "attempt_upstreams" "Array(LowCardinality(String))" "" "" "" "" "addresses tried, in order";
        "attempt_outcomes" "Array(LowCardinality(String))" "" "" "" "" "their failures; empty where a head came";
        "attempt_us" "Array(UInt32)" "ZSTD(1)" "us" "" "" "their times";
        "trace_id" "FixedString(16)" "NONE" "" "" "trace_id" "the trace";
        "span_id" "FixedString(8)" "NONE" "" "" "span_id" "this gateway's span";
        "parent_span_id" "FixedString(8)" "NONE" "" "" "parent_span_id" "the caller's span; zero at the head of a trace";
        "sampled" "UInt8" "ZSTD(1)" "" "" "" "the sampled flag sent on";
        "kept" "LowCardinality(String)" "" "" "" "weir.kept" "why its spans were kept";
        "sample_interval" "UInt32" "ZSTD(1)" "" "" "" "requests that this event stands for; 0: none, it is a probe of `weirctl`";
        "attrs" "Map(LowCardinality(String), String)" "ZSTD(1)" "" "" "" "further attributes, such as configured labels";
        "block" "UUID" "ZSTD(1)" "" "" "" "id of the block that it was inserted in";
        "ts_received" "DateTime64(3, 'UTC')" "Delta(8), ZSTD(1)" "" "" "" "when weir-analytics received it";
    }
    since 2 {
        "entry" "UInt8" "ZSTD(1)" "" "k" "" "1: entered the fleet at this gateway; 0: came from a peer gateway";
    }
    since 3 {
        "policy_start_us" "Array(UInt32)" "ZSTD(1)" "us" "" "" "when each policy was asked, after `ts`; empty before";
        "policy_waited_us" "Array(UInt32)" "ZSTD(1)" "us" "" "" "part of their times spent waiting for another server";
        "attempt_start_us" "Array(UInt32)" "ZSTD(1)" "us" "" "" "when each attempt began, after `ts`; empty before";
        "waited_us" "UInt32" "T64, ZSTD(1)" "us" "" "" "part of gateway in which a policy waited for another server";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_name_stands_once_and_says_what_it_means() {
        let mut names = HashSet::new();
        for field in FIELDS {
            assert!(names.insert(field.name), "{} twice", field.name);
            assert!(!field.meaning.is_empty(), "{}", field.name);
            assert_eq!(field.name.ends_with("_us"), field.unit == "us", "{}", field.name);
        }
        // A column that comes later stands behind those before it.
        assert!(FIELDS.is_sorted_by_key(|field| field.since));
        assert_eq!(FIELDS.last().map(|field| field.since), Some(crate::Schema::NEWEST.number()));
    }
}
