// The queries of the query API and their documents. Written by `UPDATE_EXPECT=1 cargo test -p weir-api`.

// Scripts, which import nothing, have the types as `api.…`.
export as namespace api;

/**
 * Why a part of an account is unknown.
 */
export type Doubt = "not_reported" | "not_heard" | "open_end" | "waiting";

/**
 * Why a call was not carried out, and what to do. The answer to most calls that fail.
 */
export type ErrorDocument = { error: string, };

/**
 * One life of one gateway.
 */
export type GatewayProcess = { organization: string, environment: string, site: string, gateway: string, replica: string, 
/**
 * 32 hex digits.
 */
boot_id: string, 
/**
 * When it last reported, as ClickHouse writes a time, UTC.
 */
last: string, 
/**
 * The same in milliseconds since the Unix epoch.
 */
last_ms: number, 
/**
 * Seconds since then.
 */
silent_s: number, 
/**
 * Whether it has said that no more will come.
 */
closed: boolean, 
/**
 * Requests that it has accepted.
 */
accepted: number, workers: number, };

/**
 * `GET /api/v1/gateways`: every gateway process that has reported within the last day.
 */
export type Gateways = { rows: Array<GatewayProcess>, };

/**
 * `GET /api/v1/ledger`.
 */
export type Ledger = { state: LedgerState, 
/**
 * The claim, with its time.
 */
sentence: string, 
/**
 * Every event counted up to this time is accounted for, in all streams that are not unknown or missing. Milliseconds
 * since the Unix epoch, like all times here.
 */
balanced_up_to_ms: number | null, now_ms: number, 
/**
 * Accounts in order whose last report is older are not listed.
 */
since_ms: number | null, 
/**
 * When the rows themselves were last counted against `stored_seqs`.
 */
audited_ms: number | null, accepted: number, stored: number, waiting: number, missing: number, 
/**
 * What is missing, by class.
 */
classes: { [key in LossClass]?: number }, acknowledged: number, doubled: number, 
/**
 * Streams of which a part is unknown.
 */
unknown: number, 
/**
 * The worst first.
 */
streams: Array<StreamAccount>, };

/**
 * What is said of all streams together.
 */
export type LedgerState = "balanced" | "missing" | "unknown" | "empty";

/**
 * Why numbers are missing.
 */
export type LossClass = "lost" | "set_aside" | "dead_letter" | "gone" | "unaccounted";

/**
 * Numbers that are missing for one reason.
 */
export type MissingPart = { class: LossClass, reason: string, count: number, 
/**
 * The first of them, each with its first and last number.
 */
ranges: Array<[number, number]>, };

/**
 * `GET /api/v1/overview`: totals and percentiles of the last `minutes`.
 */
export type Overview = { minutes: number, 
/**
 * In the order of their names.
 */
rows: Array<Traffic>, };

/**
 * What a list shows of an event. The fields are those of the event.
 */
export type RequestLine = { 
/**
 * RFC 3339 with microseconds, UTC.
 */
ts: string, site: string, gateway: string, api: string, route: string, method: string, path: string, status: number, reason: string, side: string, total_us: number, upstream: string, 
/**
 * 32 hex digits.
 */
trace_id: string, };

/**
 * `GET /api/v1/errors` and `/slow`: single requests.
 */
export type Requests = { minutes: number, 
/**
 * The last ones first, or the slowest ones.
 */
rows: Array<RequestLine>, };

/**
 * `GET /api/v1/series`: requests and errors of each minute.
 */
export type Series = { minutes: number, 
/**
 * What the members of a point are.
 */
point: [string, string, string], rows: Array<TrafficSeries>, };

/**
 * The account of one stream: of one worker of one life of a gateway.
 */
export type StreamAccount = { 
/**
 * 16 hex digits.
 */
stream: string, organization: string, environment: string, site: string, gateway: string, replica: string, 
/**
 * 32 hex digits.
 */
boot: string, 
/**
 * `null` where it has events and no report.
 */
worker: number | null, state: StreamState, 
/**
 * What is said of it, without its name.
 */
claim: string, 
/**
 * What to do; empty where there is nothing to do.
 */
advice: string, balanced_up_to_ms: number | null, reported_ms: number | null, closed: boolean, accepted: number, stored: number, waiting: number, waiting_since_ms: number | null, 
/**
 * Why its chunks are not shipped.
 */
held: string | null, missing: Array<MissingPart>, acknowledged: Array<MissingPart>, doubled: number, unknown: Array<UnknownPart>, };

/**
 * What is said of a stream. The order is that of their weight.
 */
export type StreamState = "balanced" | "unknown" | "missing";

/**
 * The traffic of one API at one site.
 */
export type Traffic = { organization: string, environment: string, site: string, 
/**
 * Empty where no API was found for the request.
 */
api: string, requests: number, 
/**
 * Requests that failed, by the gateway's or the upstream's fault.
 */
errors: number, 
/**
 * Requests that the gateway refused: by a policy, or because the client was wrong.
 */
rejected: number, 
/**
 * Over the current minute and the whole one before it.
 */
requests_per_second: number, 
/**
 * Percentiles of the total time; `null` where there was no request.
 */
p50_us: number | null, p95_us: number | null, p99_us: number | null, max_us: number, 
/**
 * The three times, each as a sum over the requests.
 */
gateway_us: number, upstream_us: number, client_us: number, bytes_in: number, bytes_out: number, 
/**
 * The trace of the slowest request, as 32 hex digits.
 */
slowest_trace: string, };

/**
 * One API at one site over time.
 */
export type TrafficSeries = { organization: string, environment: string, site: string, api: string, 
/**
 * The minute's start in seconds since the Unix epoch, requests, errors. Minutes without requests are left out.
 */
points: Array<[number, number, number]>, };

/**
 * A part of an account that is not known.
 */
export type UnknownPart = { kind: Doubt, reason: string, 
/**
 * The first number that it is about.
 */
from: number, since_ms: number | null, acknowledged: boolean, };

/**
 * Each query by its path: its parameters and its document.
 */
export type Queries = {
"/api/v1/overview": { parameters: { minutes?: number, }, document: Overview, },
"/api/v1/series": { parameters: { minutes?: number, organization?: string, site?: string, gateway?: string, api?: string, }, document: Series, },
"/api/v1/gateways": { parameters: { }, document: Gateways, },
"/api/v1/errors": { parameters: { minutes?: number, limit?: number, }, document: Requests, },
"/api/v1/slow": { parameters: { minutes?: number, limit?: number, }, document: Requests, },
"/api/v1/trace/{id}": { parameters: { id: string, from?: number, to?: number, }, document: Trace, },
"/api/v1/ledger": { parameters: { minutes?: number | "all", }, document: Ledger, },
};

/**
 * `GET /api/v1/trace/{id}`.
 */
export type Trace = { trace_id: string, events: Array<Event>, };

/**
 * One request at one gateway: docs/event-fields.md.
 */
export type Event = {
/**
 * when the request head was in, by the gateway's clock
 */
ts: string,
/**
 * identity: organization
 */
organization: string,
/**
 * identity: environment
 */
environment: string,
/**
 * identity: site
 */
site: string,
/**
 * identity: gateway
 */
gateway: string,
/**
 * identity: one process of several of one gateway
 */
replica: string,
/**
 * one life of the process
 */
boot: string,
/**
 * the worker thread
 */
worker: number,
/**
 * hash of identity, boot and worker: the scope of `seq`
 */
stream: string,
/**
 * number in the stream, from 0, without holes
 */
seq: number,
/**
 * generation of the configuration that served it
 */
generation: number,
/**
 * the API
 */
api: string,
/**
 * the ApiInstance, with its namespace
 */
api_instance: string,
/**
 * the route of the API
 */
route: string,
/**
 * the upstream service of the route
 */
service: string,
/**
 * address and port of the last attempt
 */
upstream: string,
/**
 * who authenticated
 */
consumer: string,
/**
 * how the consumer authenticated
 */
auth: string,
/**
 * method, or `_OTHER`
 */
method: string,
/**
 * spelling of an `_OTHER` method
 */
method_original: string,
/**
 * scheme that the client used
 */
scheme: string,
/**
 * authority that the client asked for
 */
host: string,
/**
 * path as asked for, without its query
 */
path: string,
/**
 * query with its values redacted
 */
query: string,
/**
 * base path and the pattern that matched
 */
path_template: string,
/**
 * HTTP version of the client
 */
protocol: string,
/**
 * TLS version of the client's connection
 */
tls_version: string,
/**
 * cipher suite of the client's connection
 */
tls_cipher: string,
/**
 * real client: peer, or what a trusted peer says
 */
client_ip: string,
/**
 * User-Agent, cut at 256 bytes
 */
user_agent: string,
/**
 * status sent; 499 when the client left before
 */
status: number,
/**
 * status that the upstream sent; 0 if none
 */
upstream_status: number,
/**
 * why it did not simply pass
 */
reason: string,
/**
 * who was at fault: downstream, gateway, upstream
 */
side: string,
/**
 * completed, truncated, cancelled
 */
outcome: string,
/**
 * the policy that answered
 */
answered_by: string,
/**
 * upstream attempts past the first
 */
retries: number,
/**
 * what the response cache did
 */
cache: string,
/**
 * what the rate limiter did
 */
rate_limit: string,
/**
 * head in to last frame handed over
 */
total_us: number,
/**
 * part of total in which neither other was waited for
 */
gateway_us: number,
/**
 * part of total spent waiting for the upstream
 */
upstream_us: number,
/**
 * part of total spent waiting for the client
 */
client_us: number,
/**
 * way to and from the next gateway, where that one reported its time
 */
link_us: number,
/**
 * last attempt: resolving and connecting
 */
connect_us: number,
/**
 * last attempt: TLS handshake
 */
tls_us: number,
/**
 * last attempt: hand-over to response head
 */
first_byte_us: number,
/**
 * body bytes from the client
 */
bytes_in: number,
/**
 * body bytes to the upstream
 */
bytes_to_upstream: number,
/**
 * body bytes from the upstream
 */
bytes_from_upstream: number,
/**
 * body bytes to the client
 */
bytes_out: number,
/**
 * policies that ran, in order
 */
policy_names: Array<string>,
/**
 * their verdicts
 */
policy_verdicts: Array<string>,
/**
 * their times
 */
policy_us: Array<number>,
/**
 * addresses tried, in order
 */
attempt_upstreams: Array<string>,
/**
 * their failures; empty where a head came
 */
attempt_outcomes: Array<string>,
/**
 * their times
 */
attempt_us: Array<number>,
/**
 * the trace
 */
trace_id: string,
/**
 * this gateway's span
 */
span_id: string,
/**
 * the caller's span; zero at the head of a trace
 */
parent_span_id: string,
/**
 * the sampled flag sent on
 */
sampled: number,
/**
 * why its spans were kept
 */
kept: string,
/**
 * requests that this event stands for; 0: none, it is a probe of `weirctl`
 */
sample_interval: number,
/**
 * configured extras
 */
attrs: { [key in string]?: string },
/**
 * the block that carried it in
 */
block: string,
/**
 * when the ingestor had it
 */
ts_received: string,
/**
 * 1: entered the fleet at this gateway; 0: came from a peer gateway
 */
entry: number,
/**
 * when each policy was asked, after `ts`; empty before
 */
policy_start_us: Array<number>,
/**
 * part of their times spent waiting for another server
 */
policy_waited_us: Array<number>,
/**
 * when each attempt began, after `ts`; empty before
 */
attempt_start_us: Array<number>,
/**
 * part of gateway in which a policy waited for another server
 */
waited_us: number,
};
