// The queries of the query API and their documents. Written by `UPDATE_EXPECT=1 cargo test -p weir-api`.

// Scripts, which import nothing, have the types as `api.…`.
export as namespace api;

/**
 * One kind of marks: a query with the columns `time`, `text`, `tags`.
 */
export type Annotation = { name: string, enable: boolean, hide: boolean, iconColor: string, datasource: DatasourceRef, target: AnnotationTarget, };

/**
 * The query of an annotation.
 */
export type AnnotationTarget = { refId: string, editorType: string, format: number, rawSql: string, };

/**
 * What is marked in charts over time.
 */
export type Annotations = { list: Array<Annotation>, };

/**
 * `GET /api/v1/blame`: what changed when an API got worse.
 */
export type Blame = { api: string, 
/**
 * What got worse, or that nothing did by more than chance.
 */
sentence: string, 
/**
 * How many comparisons the p-values are corrected for (Bonferroni).
 */
comparisons: number, 
/**
 * Changes in the time asked for.
 */
found: number, 
/**
 * At most 50 of them, the least by chance first.
 */
changes: Array<BlameChange>, };

/**
 * A gateway began to serve by another generation of its configuration, or by another version of the program.
 */
export type BlameChange = { organization: string, environment: string, site: string, gateway: string, 
/**
 * The first request after it, in milliseconds since the Unix epoch.
 */
at_ms: number, before: BlameSide, after: BlameSide, errors: BlameErrors | null, times: BlameTimes | null, 
/**
 * What differs with a corrected p below 0.01.
 */
sentences: Array<string>, };

/**
 * Whether the share of errors differs. Both p-values are two-sided.
 */
export type BlameErrors = { test: ShareTestName, p: number, 
/**
 * Times the number of comparisons, 1 at most.
 */
adjusted_p: number, };

/**
 * What a gateway did in one state.
 */
export type BlameSide = { generation: number, 
/**
 * Empty where the process never sent a sample.
 */
version: string, 
/**
 * The first and the last request, in milliseconds since the Unix epoch.
 */
from_ms: number, to_ms: number, requests: number, failed: number, p95_us: number | null, };

/**
 * Whether the distribution of durations differs: a Kolmogorov-Smirnov test on buckets that are 9 % wide.
 */
export type BlameTimes = { 
/**
 * The largest difference of the two shares below a bucket's end.
 */
distance: number, p: number, adjusted_p: number, };

/**
 * How many values become one.
 */
export type Calculation = "lastNotNull";

/**
 * Whether the colour of the thresholds is that of the text.
 */
export type CellKind = "auto" | "color-text";

/**
 * How a cell of a table is drawn.
 */
export type CellOptions = { type: CellKind, };

/**
 * The colours that the page has, by the names that Grafana has for them.
 */
export type Colour = "green" | "orange" | "red" | "blue" | "purple" | "text";

/**
 * A column of an answer.
 */
export type Column = { name: string, kind: ColumnKind, };

/**
 * What the values of a column are.
 */
export type ColumnKind = "time" | "number" | "text" | "other";

/**
 * `GET /api/v1/dashboards/{id}`: one dashboard, as it is provisioned.
 */
export type Dashboard = { uid: string, title: string, description: string, tags: Array<string>, schemaVersion: number, version: number, editable: boolean, 
/**
 * 0: each panel has a pointer of its own; 1: all show the same time.
 */
graphTooltip: number, timezone: string, 
/**
 * How often it is drawn anew, as `30s`; empty for never.
 */
refresh: string, time: TimeRange, templating: Templating, annotations: Annotations, links: Array<DashboardLink>, panels: Array<Panel>, };

/**
 * One dashboard in a list.
 */
export type DashboardLine = { uid: string, title: string, description: string, };

/**
 * To the other dashboards.
 */
export type DashboardLink = { type: string, title: string, tags: Array<string>, asDropdown: boolean, includeVars: boolean, keepTime: boolean, targetBlank: boolean, icon: string, };

/**
 * `GET /api/v1/dashboards`: those that come with this version.
 */
export type Dashboards = { 
/**
 * In the order in which the page lists them.
 */
rows: Array<DashboardLine>, };

/**
 * Which data source.
 */
export type DatasourceRef = { type: string, uid: string, };

/**
 * Why a part of an account is unknown.
 */
export type Doubt = "not_reported" | "not_heard" | "open_end" | "waiting";

/**
 * Lines or bars.
 */
export type DrawStyle = "line" | "bars";

/**
 * Why a call was not carried out, and what to do. The answer to most calls that fail.
 */
export type ErrorDocument = { error: string, };

/**
 * What a list shows of an event. The fields are those of the event.
 */
export type EventLine = { 
/**
 * In microseconds since the Unix epoch.
 */
ts_us: number, 
/**
 * When weir-analytics received it, in milliseconds since the Unix epoch.
 */
received_ms: number, 
/**
 * 16 hex digits; with `seq` it is the event's name.
 */
stream: string, seq: number, site: string, gateway: string, api: string, route: string, consumer: string, method: string, path: string, status: number, reason: string, side: string, total_us: number, upstream: string, 
/**
 * 32 hex digits.
 */
trace_id: string, };

/**
 * `GET /api/v1/events`: the newest events that match.
 */
export type Events = { 
/**
 * The newest first.
 */
rows: Array<EventLine>, };

/**
 * How values are shown, and which columns are shown otherwise.
 */
export type FieldConfig = { defaults: FieldDefaults, overrides: Array<FieldOverride>, };

/**
 * How values are shown.
 */
export type FieldDefaults = { unit: string, decimals?: number, min?: number, max?: number, 
/**
 * What is shown in place of nothing.
 */
noValue?: string, thresholds?: Thresholds, custom?: LineStyle, };

/**
 * One column that is shown otherwise.
 */
export type FieldOverride = { matcher: Matcher, properties: Array<Property>, };

/**
 * `GET /api/v1/dashboards/{id}/panel`, `/annotation`: what a query answers.
 */
export type Frame = { 
/**
 * The time that was asked for, in milliseconds since the Unix epoch: whole seconds of a step that answers are shared in.
 */
from_ms: number, to_ms: number, 
/**
 * The step of charts over time, in seconds.
 */
step_s: number, columns: Array<Column>, 
/**
 * A value for each column: a number, a text, `null`, a list or an object; a time as RFC 3339 in UTC.
 */
rows: Array<Array<unknown>>, };

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
 * Where a panel is: columns of 24, rows of 30 pixels.
 */
export type GridPos = { x: number, y: number, w: number, h: number, };

/**
 * The axis of a heat map's buckets.
 */
export type HeatAxis = { unit: string, axisPlacement: string, reverse: boolean, };

/**
 * The colours of a heat map.
 */
export type HeatColour = { mode: string, scheme: string, steps: number, exponent: number, reverse: boolean, fill: string, scale: string, };

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
 * The legend of lines, or of a heat map (`show`).
 */
export type Legend = { displayMode?: string, placement?: string, showLegend?: boolean, calcs?: Array<string>, show?: boolean, };

/**
 * How a line is drawn.
 */
export type LineStyle = { drawStyle: DrawStyle, lineWidth: number, 
/**
 * In percent.
 */
fillOpacity: number, showPoints: string, spanNulls: boolean, stacking: Stacking, };

/**
 * A link; its address may have `${__data.fields.NAME}`, `${__url_time_range}` and `${VARIABLE}`.
 */
export type Link = { title: string, url: string, };

/**
 * Why numbers are missing.
 */
export type LossClass = "lost" | "set_aside" | "dead_letter" | "gone" | "unaccounted";

/**
 * Which column.
 */
export type Matcher = { "id": "byName", "options": string };

/**
 * Numbers that are missing for one reason.
 */
export type MissingPart = { class: LossClass, reason: string, count: number, 
/**
 * The first of them, each with its first and last number.
 */
ranges: Array<[number, number]>, };

/**
 * Nothing may be said.
 */
export type NoOptions = Record<symbol, never>;

/**
 * `GET /api/v1/overview`: totals and percentiles of the last `minutes`.
 */
export type Overview = { minutes: number, 
/**
 * In the order of their names.
 */
rows: Array<Traffic>, };

/**
 * One panel.
 */
export type Panel = { id: number, type: PanelKind, title: string, description: string, gridPos: GridPos, datasource?: DatasourceRef, targets: Array<Target>, fieldConfig: FieldConfig, options: PanelOptions, links: Array<Link>, };

/**
 * How a panel is drawn.
 */
export type PanelKind = "timeseries" | "stat" | "table" | "bargauge" | "heatmap" | "nodeGraph" | "traces" | "text";

/**
 * What panels of any kind may be told. Which of these a kind heeds is in Grafana's documentation of it.
 */
export type PanelOptions = { 
/**
 * Lines.
 */
legend?: Legend, tooltip?: Tooltip, 
/**
 * Figures and bars.
 */
reduceOptions?: ReduceOptions, colorMode?: string, graphMode?: string, justifyMode?: string, orientation?: string, textMode?: string, displayMode?: string, showUnfilled?: boolean, valueMode?: string, 
/**
 * Tables.
 */
showHeader?: boolean, cellHeight?: string, 
/**
 * Heat maps.
 */
calculate?: boolean, color?: HeatColour, yAxis?: HeatAxis, rowsFrame?: RowsFrame, cellGap?: number, 
/**
 * Node graphs: the units of the figures, which are texts here.
 */
nodes?: NoOptions, edges?: NoOptions, 
/**
 * Texts: `markdown`.
 */
mode?: TextMode, content?: string, };

/**
 * What is otherwise.
 */
export type Property = { "id": "unit", "value": string } | { "id": "decimals", "value": number } | { "id": "displayName", "value": string } | { "id": "thresholds", "value": Thresholds } | { "id": "links", "value": Array<Link> } | { "id": "custom.cellOptions", "value": CellOptions };

/**
 * `GET /api/v1/reader`: who asks.
 */
export type ReaderIs = { 
/**
 * Empty where no token is asked for.
 */
name: string, role: ReaderRole, 
/**
 * What of the events is shown; `null` for all.
 */
organizations: Array<string> | null, environments: Array<string> | null, };

/**
 * What a reader may do.
 */
export type ReaderRole = "viewer" | "admin";

/**
 * Which value of a column is shown.
 */
export type ReduceOptions = { calcs: Array<Calculation>, fields: string, 
/**
 * Each row is a figure of its own.
 */
values: boolean, limit?: number, };

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
 * What the names of a heat map's rows are.
 */
export type RowsFrame = { layout: RowsLayout, };

/**
 * The name of a row is the upper edge of its bucket.
 */
export type RowsLayout = "le";

/**
 * `GET /api/v1/series`: requests and errors of each minute.
 */
export type Series = { minutes: number, 
/**
 * What the members of a point are.
 */
point: [string, string, string], rows: Array<TrafficSeries>, };

/**
 * How shares are compared.
 */
export type ShareTestName = "z_test" | "fisher";

/**
 * Whether the lines of a panel add up.
 */
export type Stacking = { mode: StackingMode, group: string, };

/**
 * Whether values add up.
 */
export type StackingMode = "none" | "normal";

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
 * One query of a panel.
 */
export type Target = { refId: string, datasource: DatasourceRef, editorType: string, 
/**
 * 0: the first column is the time; 1: a table; 3: spans.
 */
format: number, queryType: string, rawSql: string, };

/**
 * The variables of a dashboard.
 */
export type Templating = { list: Array<Variable>, };

/**
 * Of a text panel.
 */
export type TextMode = "markdown";

/**
 * One step; the first has no value.
 */
export type ThresholdStep = { color: Colour, value: number | null, };

/**
 * From which value on which colour.
 */
export type Thresholds = { mode: ThresholdsMode, steps: Array<ThresholdStep>, };

/**
 * What the steps are compared with.
 */
export type ThresholdsMode = "absolute";

/**
 * The time that is shown at first: `now`, or `now-1h`.
 */
export type TimeRange = { from: string, to: string, };

/**
 * What is shown at the pointer.
 */
export type Tooltip = { mode: string, sort?: string, yHistogram?: boolean, showColorScale?: boolean, };

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
 * One variable.
 */
export type Variable = { type: VariableKind, name: string, label: string, description?: string, datasource?: DatasourceRef, query: VariableQuery, refresh?: number, sort?: number, 
/**
 * Whether several values may be chosen.
 */
multi: boolean, 
/**
 * Whether all may be chosen at once, as `$__all`.
 */
includeAll: boolean, 
/**
 * 0: shown; 2: not.
 */
hide: number, current: VariableValue, options: Array<VariableOption>, };

/**
 * Where the values of a variable come from.
 */
export type VariableKind = "datasource" | "query" | "custom" | "textbox";

/**
 * One value that may be chosen.
 */
export type VariableOption = { text: string, value: string, selected: boolean, };

/**
 * A text, or a query.
 */
export type VariableQuery = string | VariableSql;

/**
 * The query of a variable.
 */
export type VariableSql = { editorType: string, refId: string, rawSql: string, };

/**
 * The value that a variable has at first.
 */
export type VariableValue = { text?: string, value?: string, };

/**
 * `GET /api/v1/dashboards/{id}/variable`: the values that a variable may have.
 */
export type VariableValues = { values: Array<string>, };

/**
 * Each query by its path: its parameters and its document.
 */
export type Queries = {
"/api/v1/reader": { parameters: { }, document: ReaderIs, },
"/api/v1/overview": { parameters: { minutes?: number, }, document: Overview, },
"/api/v1/series": { parameters: { minutes?: number, organization?: string, site?: string, gateway?: string, api?: string, }, document: Series, },
"/api/v1/gateways": { parameters: { }, document: Gateways, },
"/api/v1/errors": { parameters: { minutes?: number, limit?: number, }, document: Requests, },
"/api/v1/slow": { parameters: { minutes?: number, limit?: number, }, document: Requests, },
"/api/v1/trace/{id}": { parameters: { id: string, from?: number, to?: number, }, document: Trace, },
"/api/v1/blame": { parameters: { from?: number, to?: number, var?: Array<string>, }, document: Blame, },
"/api/v1/events": { parameters: { format?: string, from?: number, to?: number, received?: number, limit?: number, var?: Array<string>, }, document: Events, },
"/api/v1/ledger": { parameters: { minutes?: number | "all", }, document: Ledger, },
"/api/v1/dashboards": { parameters: { }, document: Dashboards, },
"/api/v1/dashboards/{id}": { parameters: { id: string, }, document: Dashboard, },
"/api/v1/dashboards/{id}/panel": { parameters: { id: string, panel?: number, target?: string, format?: string, from?: number, to?: number, step?: number, var?: Array<string>, }, document: Frame, },
"/api/v1/dashboards/{id}/annotation": { parameters: { id: string, name?: string, from?: number, to?: number, var?: Array<string>, }, document: Frame, },
"/api/v1/dashboards/{id}/variable": { parameters: { id: string, name?: string, from?: number, to?: number, var?: Array<string>, }, document: VariableValues, },
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
 * when the request head had arrived, by the gateway's clock
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
 * identity: one of several processes of a gateway
 */
replica: string,
/**
 * id of one run of the process
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
 * address of the client: the peer of the connection, or what a trusted peer forwards
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
 * why it failed, was refused or was answered by the gateway; empty if none of these
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
 * from the request head to the last frame handed over for writing
 */
total_us: number,
/**
 * part of total spent waiting for neither the upstream nor the client
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
 * time on the link to and from the next gateway, if that one reported its time
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
 * further attributes, such as configured labels
 */
attrs: { [key in string]?: string },
/**
 * id of the block that it was inserted in
 */
block: string,
/**
 * when weir-analytics received it
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
