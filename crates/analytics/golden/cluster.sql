CREATE DATABASE IF NOT EXISTS `weir` ON CLUSTER `main`;

-- 001 access_events
CREATE TABLE IF NOT EXISTS `weir`.access_events_local ON CLUSTER `main` (
  ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  boot FixedString(16) CODEC(ZSTD(1)),
  worker UInt16 CODEC(ZSTD(1)),
  stream UInt64 CODEC(ZSTD(1)),
  seq UInt64 CODEC(Delta(8), ZSTD(1)),
  generation UInt32 CODEC(ZSTD(1)),
  api LowCardinality(String),
  api_instance LowCardinality(String),
  route LowCardinality(String),
  service LowCardinality(String),
  upstream LowCardinality(String),
  consumer LowCardinality(String),
  auth LowCardinality(String),
  method LowCardinality(String),
  method_original LowCardinality(String),
  scheme LowCardinality(String),
  host LowCardinality(String),
  path String CODEC(ZSTD(1)),
  query String CODEC(ZSTD(1)),
  path_template LowCardinality(String),
  protocol LowCardinality(String),
  tls_version LowCardinality(String),
  tls_cipher LowCardinality(String),
  client_ip IPv6 CODEC(ZSTD(1)),
  user_agent LowCardinality(String),
  status UInt16 CODEC(ZSTD(1)),
  upstream_status UInt16 CODEC(ZSTD(1)),
  reason LowCardinality(String),
  side LowCardinality(String),
  outcome LowCardinality(String),
  answered_by LowCardinality(String),
  retries UInt8 CODEC(ZSTD(1)),
  cache LowCardinality(String),
  rate_limit LowCardinality(String),
  total_us UInt64 CODEC(T64, ZSTD(1)),
  gateway_us UInt64 CODEC(T64, ZSTD(1)),
  upstream_us UInt64 CODEC(T64, ZSTD(1)),
  client_us UInt64 CODEC(T64, ZSTD(1)),
  link_us UInt32 CODEC(T64, ZSTD(1)),
  connect_us UInt32 CODEC(T64, ZSTD(1)),
  tls_us UInt32 CODEC(T64, ZSTD(1)),
  first_byte_us UInt32 CODEC(T64, ZSTD(1)),
  bytes_in UInt64 CODEC(T64, ZSTD(1)),
  bytes_to_upstream UInt64 CODEC(T64, ZSTD(1)),
  bytes_from_upstream UInt64 CODEC(T64, ZSTD(1)),
  bytes_out UInt64 CODEC(T64, ZSTD(1)),
  policy_names Array(LowCardinality(String)),
  policy_verdicts Array(LowCardinality(String)),
  policy_us Array(UInt32) CODEC(ZSTD(1)),
  attempt_upstreams Array(LowCardinality(String)),
  attempt_outcomes Array(LowCardinality(String)),
  attempt_us Array(UInt32) CODEC(ZSTD(1)),
  trace_id FixedString(16) CODEC(NONE),
  span_id FixedString(8) CODEC(NONE),
  parent_span_id FixedString(8) CODEC(NONE),
  sampled UInt8 CODEC(ZSTD(1)),
  kept LowCardinality(String),
  sample_interval UInt32 CODEC(ZSTD(1)),
  attrs Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  block UUID CODEC(ZSTD(1)),
  ts_received DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
  INDEX ix_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX ix_ts ts TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(ts)
ORDER BY (organization, environment, api, route, ts)
TTL toDateTime(ts) + INTERVAL 2592000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 002 stored_seqs
CREATE TABLE IF NOT EXISTS `weir`.stored_seqs_local ON CLUSTER `main` (
  day Date,
  stream UInt64 CODEC(ZSTD(1)),
  block UUID CODEC(ZSTD(1)),
  first UInt64 CODEC(Delta(8), ZSTD(1)),
  last UInt64 CODEC(Delta(8), ZSTD(1)),
  n UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY day
ORDER BY (stream, first)
TTL day + INTERVAL 3196800 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 003 stored_seqs_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.stored_seqs_mv ON CLUSTER `main` TO `weir`.stored_seqs_local AS
SELECT day, stream, block, run[1] AS first, run[-1] AS last, toUInt64(length(run)) AS n
FROM (
  SELECT toDate(ts) AS day, stream, block, arraySort(groupArray(seq)) AS seqs
  FROM `weir`.access_events_local GROUP BY day, stream, block
)
ARRAY JOIN arraySplit((seq, step) -> step != 1, seqs, arrayDifference(seqs)) AS run;

-- 004 requests_1m
CREATE TABLE IF NOT EXISTS `weir`.requests_1m_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  api LowCardinality(String),
  route LowCardinality(String),
  status UInt16,
  reason LowCardinality(String),
  side LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  total_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  gateway_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  upstream_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  client_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  link_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_in SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_out SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_total_us SimpleAggregateFunction(max, UInt64) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  slow_trace AggregateFunction(argMax, FixedString(16), UInt64) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, route, site, gateway, status, reason, side, t)
TTL t + INTERVAL 3024000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 005 requests_1m_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.requests_1m_mv ON CLUSTER `main` TO `weir`.requests_1m_local AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, route, status, reason, side,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.gateway_us) * e.sample_interval) AS gateway_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.client_us) * e.sample_interval) AS client_us,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us,
 sumMap(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval))) AS hist,
 argMaxState(e.trace_id, e.total_us) AS slow_trace
FROM `weir`.access_events_local AS e
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side;

-- 006 requests_1h
CREATE TABLE IF NOT EXISTS `weir`.requests_1h_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  api LowCardinality(String),
  route LowCardinality(String),
  status UInt16,
  reason LowCardinality(String),
  side LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  total_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  gateway_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  upstream_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  client_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  link_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_in SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_out SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_total_us SimpleAggregateFunction(max, UInt64) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  slow_trace AggregateFunction(argMax, FixedString(16), UInt64) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, route, site, gateway, status, reason, side, t)
TTL t + INTERVAL 34560000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 007 requests_1h_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.requests_1h_mv ON CLUSTER `main` TO `weir`.requests_1h_local AS
SELECT toStartOfHour(m.t) AS t, organization, environment, site, gateway, api, route, status, reason, side,
 sum(m.n) AS n,
 sum(m.total_us) AS total_us,
 sum(m.gateway_us) AS gateway_us,
 sum(m.upstream_us) AS upstream_us,
 sum(m.client_us) AS client_us,
 sum(m.link_us) AS link_us,
 sum(m.bytes_in) AS bytes_in,
 sum(m.bytes_out) AS bytes_out,
 max(m.max_total_us) AS max_total_us,
 sumMap(m.hist) AS hist,
 argMaxMergeState(m.slow_trace) AS slow_trace
FROM `weir`.requests_1m_local AS m
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side;

-- 008 gaps
CREATE TABLE IF NOT EXISTS `weir`.gaps_local ON CLUSTER `main` (
  stream UInt64,
  first UInt64,
  last UInt64,
  reason LowCardinality(String),
  received DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(received)
ORDER BY (stream, first, last, reason)
TTL toDateTime(received) + INTERVAL 3196800 SECOND;

-- 009 dead_letters
CREATE TABLE IF NOT EXISTS `weir`.dead_letters_local ON CLUSTER `main` (
  stream UInt64,
  seq UInt64,
  reason LowCardinality(String),
  ts DateTime64(6, 'UTC'),
  received DateTime64(3, 'UTC'),
  event String CODEC(ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(received)
ORDER BY (stream, seq)
TTL toDateTime(received) + INTERVAL 3196800 SECOND;

-- 010 streams
CREATE TABLE IF NOT EXISTS `weir`.streams_local ON CLUSTER `main` (
  stream UInt64,
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  boot FixedString(16),
  worker UInt16,
  accepted SimpleAggregateFunction(max, UInt64),
  closed SimpleAggregateFunction(max, UInt8),
  reported SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (organization, environment, site, gateway, replica, boot, worker, stream)
TTL toDateTime(reported) + INTERVAL 3196800 SECOND;

-- 011 barrier
CREATE TABLE IF NOT EXISTS `weir`.barrier_local ON CLUSTER `main` (x UInt8)
ENGINE = Memory;

-- 012 barrier_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.barrier_mv ON CLUSTER `main` TO `weir`.barrier_local AS
SELECT toUInt8(0) AS x FROM `weir`.access_events_local WHERE 0;

-- 013 access_events
CREATE TABLE IF NOT EXISTS `weir`.access_events ON CLUSTER `main` AS `weir`.access_events_local
ENGINE = Distributed(`main`, `weir`, 'access_events_local', cityHash64(organization, trace_id));

-- 014 stored_seqs
CREATE TABLE IF NOT EXISTS `weir`.stored_seqs ON CLUSTER `main` AS `weir`.stored_seqs_local
ENGINE = Distributed(`main`, `weir`, 'stored_seqs_local', stream);

-- 015 requests_1m
CREATE TABLE IF NOT EXISTS `weir`.requests_1m ON CLUSTER `main` AS `weir`.requests_1m_local
ENGINE = Distributed(`main`, `weir`, 'requests_1m_local', cityHash64(organization, api, route));

-- 016 requests_1h
CREATE TABLE IF NOT EXISTS `weir`.requests_1h ON CLUSTER `main` AS `weir`.requests_1h_local
ENGINE = Distributed(`main`, `weir`, 'requests_1h_local', cityHash64(organization, api, route));

-- 017 gaps
CREATE TABLE IF NOT EXISTS `weir`.gaps ON CLUSTER `main` AS `weir`.gaps_local
ENGINE = Distributed(`main`, `weir`, 'gaps_local', stream);

-- 018 dead_letters
CREATE TABLE IF NOT EXISTS `weir`.dead_letters ON CLUSTER `main` AS `weir`.dead_letters_local
ENGINE = Distributed(`main`, `weir`, 'dead_letters_local', stream);

-- 019 streams
CREATE TABLE IF NOT EXISTS `weir`.streams ON CLUSTER `main` AS `weir`.streams_local
ENGINE = Distributed(`main`, `weir`, 'streams_local', stream);

-- 020 access_events_lease
ALTER TABLE `weir`.access_events_local ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS lease UUID CODEC(ZSTD(1));

-- 021 dead_letters_lease
ALTER TABLE `weir`.dead_letters_local ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS lease UUID CODEC(ZSTD(1));

-- 022 leases
CREATE TABLE IF NOT EXISTS `weir`.leases ON CLUSTER `main` (
  epoch UInt64,
  lease UUID,
  holder String,
  claimed DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY epoch
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 023 lease_renewals
CREATE TABLE IF NOT EXISTS `weir`.lease_renewals ON CLUSTER `main` (
  lease UUID,
  renewed SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
  released SimpleAggregateFunction(max, UInt8)
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY lease
TTL toDateTime(renewed) + INTERVAL 30 DAY;

-- 024 retired_leases
CREATE TABLE IF NOT EXISTS `weir`.retired_leases ON CLUSTER `main` (lease UUID, retired UInt8)
ENGINE = Join(ANY, LEFT, lease);

-- 025 access_events_fence
ALTER TABLE `weir`.access_events_local ON CLUSTER `main`
  ADD CONSTRAINT IF NOT EXISTS fence CHECK throwIf(joinGet('weir.retired_leases', 'retired', lease) != 0, 'weir: the lease of this insert has ended; another weir-analytics writes') = 0;

-- 026 dead_letters_fence
ALTER TABLE `weir`.dead_letters_local ON CLUSTER `main`
  ADD CONSTRAINT IF NOT EXISTS fence CHECK throwIf(joinGet('weir.retired_leases', 'retired', lease) != 0, 'weir: the lease of this insert has ended; another weir-analytics writes') = 0;

-- 027 dead_chunks
CREATE TABLE IF NOT EXISTS `weir`.dead_chunks_local ON CLUSTER `main` (
  stream UInt64,
  first UInt64,
  last UInt64,
  received DateTime64(3, 'UTC'),
  chunk String CODEC(NONE)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(received)
ORDER BY (stream, first, last)
TTL toDateTime(received) + INTERVAL 3196800 SECOND;

-- 040 stream_reports
CREATE TABLE IF NOT EXISTS `weir`.stream_reports_local ON CLUSTER `main` (
  stream UInt64,
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  boot FixedString(16),
  worker UInt16,
  accepted SimpleAggregateFunction(max, UInt64),
  counted SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
  received SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
  newest SimpleAggregateFunction(max, String) COMMENT 'time of receipt in ms, 16 digits, then the report as JSON: the greatest is the newest' CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (organization, environment, site, gateway, replica, boot, worker, stream)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- 041 report_history
CREATE TABLE IF NOT EXISTS `weir`.report_history_local ON CLUSTER `main` (
  stream UInt64,
  counted DateTime64(3, 'UTC'),
  accepted UInt64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(counted)
ORDER BY (stream, accepted)
TTL toDateTime(counted) + INTERVAL 172800 SECOND
SETTINGS ttl_only_drop_parts = 1;

-- 042 report_history_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.report_history_mv ON CLUSTER `main` TO `weir`.report_history_local AS
SELECT stream, counted, accepted FROM `weir`.stream_reports_local;

-- 043 audits
CREATE TABLE IF NOT EXISTS `weir`.audits_local ON CLUSTER `main` (
  day Date,
  stream UInt64,
  stored Array(Tuple(UInt64, UInt64)) COMMENT 'every number that was ever stored on the day' CODEC(ZSTD(1)),
  gone Array(Tuple(UInt64, UInt64)) COMMENT 'those of them whose rows are not there' CODEC(ZSTD(1)),
  doubled UInt64,
  audited DateTime64(3, 'UTC'),
  keep_until Date
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', audited)
PARTITION BY toYYYYMM(day)
ORDER BY (day, stream)
TTL keep_until;

-- 044 stream_accounts
CREATE TABLE IF NOT EXISTS `weir`.stream_accounts_local ON CLUSTER `main` (
  stream UInt64,
  stored Array(Tuple(UInt64, UInt64)) CODEC(ZSTD(1)),
  gaps Array(Tuple(UInt64, UInt64, String)) CODEC(ZSTD(1)),
  dead Array(Tuple(UInt64, UInt64, String)) CODEC(ZSTD(1)),
  compacted DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', compacted)
ORDER BY stream
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- 045 acknowledgements
CREATE TABLE IF NOT EXISTS `weir`.acknowledgements_local ON CLUSTER `main` (
  stream UInt64,
  kind LowCardinality(String) COMMENT 'missing: first to last; unknown: all from first on',
  first UInt64,
  last UInt64,
  what LowCardinality(String),
  reason String,
  who String,
  at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (stream, first, at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- 046 stream_reports
CREATE TABLE IF NOT EXISTS `weir`.stream_reports ON CLUSTER `main` AS `weir`.stream_reports_local
ENGINE = Distributed(`main`, `weir`, 'stream_reports_local', stream);

-- 047 report_history
CREATE TABLE IF NOT EXISTS `weir`.report_history ON CLUSTER `main` AS `weir`.report_history_local
ENGINE = Distributed(`main`, `weir`, 'report_history_local', stream);

-- 048 audits
CREATE TABLE IF NOT EXISTS `weir`.audits ON CLUSTER `main` AS `weir`.audits_local
ENGINE = Distributed(`main`, `weir`, 'audits_local', stream);

-- 049 stream_accounts
CREATE TABLE IF NOT EXISTS `weir`.stream_accounts ON CLUSTER `main` AS `weir`.stream_accounts_local
ENGINE = Distributed(`main`, `weir`, 'stream_accounts_local', stream);

-- 050 acknowledgements
CREATE TABLE IF NOT EXISTS `weir`.acknowledgements ON CLUSTER `main` AS `weir`.acknowledgements_local
ENGINE = Distributed(`main`, `weir`, 'acknowledgements_local', stream);

-- 051 stream_reports_seed
INSERT INTO `weir`.stream_reports_local (stream, organization, environment, site, gateway, replica, boot, worker, accepted, counted, received, newest)
SELECT stream, organization, environment, site, gateway, replica, boot, worker, max(s.accepted), max(s.reported), max(s.reported),
  concat(leftPad(toString(toUnixTimestamp64Milli(max(s.reported))), 16, '0'), toJSONString(map('closed', toBool(max(s.closed)))))
FROM `weir`.streams_local AS s
GROUP BY stream, organization, environment, site, gateway, replica, boot, worker;

-- 060 access_events_entry
ALTER TABLE `weir`.access_events_local ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS entry UInt8 DEFAULT 1 CODEC(ZSTD(1));

-- 061 access_events_entry_distributed
ALTER TABLE `weir`.access_events ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS entry UInt8;

-- 062 requests_1m_entry
ALTER TABLE `weir`.requests_1m_local ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS entry UInt8,
  MODIFY ORDER BY (organization, environment, api, route, site, gateway, status, reason, side, t, entry);

-- 063 requests_1m_entry_default
ALTER TABLE `weir`.requests_1m_local ON CLUSTER `main`
  MODIFY COLUMN entry UInt8 DEFAULT 1;

-- 064 requests_1m_entry_distributed
ALTER TABLE `weir`.requests_1m ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS entry UInt8;

-- 065 requests_1h_entry
ALTER TABLE `weir`.requests_1h_local ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS entry UInt8,
  MODIFY ORDER BY (organization, environment, api, route, site, gateway, status, reason, side, t, entry);

-- 066 requests_1h_entry_default
ALTER TABLE `weir`.requests_1h_local ON CLUSTER `main`
  MODIFY COLUMN entry UInt8 DEFAULT 1;

-- 067 requests_1h_entry_distributed
ALTER TABLE `weir`.requests_1h ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS entry UInt8;

-- 068 requests_1m_mv
ALTER TABLE `weir`.requests_1m_mv ON CLUSTER `main` MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, route, status, reason, side, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.gateway_us) * e.sample_interval) AS gateway_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.client_us) * e.sample_interval) AS client_us,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us,
 sumMap(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval))) AS hist,
 argMaxState(e.trace_id, e.total_us) AS slow_trace
FROM `weir`.access_events_local AS e
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side, entry;

-- 069 requests_1h_mv
ALTER TABLE `weir`.requests_1h_mv ON CLUSTER `main` MODIFY QUERY
SELECT toStartOfHour(m.t) AS t, organization, environment, site, gateway, api, route, status, reason, side, entry,
 sum(m.n) AS n,
 sum(m.total_us) AS total_us,
 sum(m.gateway_us) AS gateway_us,
 sum(m.upstream_us) AS upstream_us,
 sum(m.client_us) AS client_us,
 sum(m.link_us) AS link_us,
 sum(m.bytes_in) AS bytes_in,
 sum(m.bytes_out) AS bytes_out,
 max(m.max_total_us) AS max_total_us,
 sumMap(m.hist) AS hist,
 argMaxMergeState(m.slow_trace) AS slow_trace
FROM `weir`.requests_1m_local AS m
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side, entry;

-- 072 consumers_1m
CREATE TABLE IF NOT EXISTS `weir`.consumers_1m_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  api LowCardinality(String),
  consumer LowCardinality(String),
  entry UInt8,
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  failed SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  refused SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  limited SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  total_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_in SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_out SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_total_us SimpleAggregateFunction(max, UInt64) CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, consumer, site, entry, t)
TTL t + INTERVAL 3024000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 073 consumers_1m_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.consumers_1m_mv ON CLUSTER `main` TO `weir`.consumers_1m_local AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, api, consumer, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sumIf(toUInt64(e.sample_interval), e.status >= 500) AS failed,
 sumIf(toUInt64(e.sample_interval), e.status >= 400 AND e.status < 500) AS refused,
 sumIf(toUInt64(e.sample_interval), e.rate_limit IN ('exceeded', 'exceeded_shared')) AS limited,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us
FROM `weir`.access_events_local AS e
GROUP BY t, organization, environment, site, api, consumer, entry;

-- 074 consumers_1m
CREATE TABLE IF NOT EXISTS `weir`.consumers_1m ON CLUSTER `main` AS `weir`.consumers_1m_local
ENGINE = Distributed(`main`, `weir`, 'consumers_1m_local', cityHash64(organization, api, consumer));

-- 075 links_1m
CREATE TABLE IF NOT EXISTS `weir`.links_1m_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  api LowCardinality(String),
  service LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  failed SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  linked SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  link_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  upstream_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  connect_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  tls_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  first_byte_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_to_upstream SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_from_upstream SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_link_us SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, service, site, gateway, t)
TTL t + INTERVAL 3024000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 076 links_1m_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.links_1m_mv ON CLUSTER `main` TO `weir`.links_1m_local AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, service,
 sum(toUInt64(e.sample_interval)) AS n,
 sumIf(toUInt64(e.sample_interval), e.side = 'upstream') AS failed,
 sumIf(toUInt64(e.sample_interval), e.link_us > 0) AS linked,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.connect_us) * e.sample_interval) AS connect_us,
 sum(toUInt64(e.tls_us) * e.sample_interval) AS tls_us,
 sum(toUInt64(e.first_byte_us) * e.sample_interval) AS first_byte_us,
 sum(toUInt64(e.bytes_to_upstream) * e.sample_interval) AS bytes_to_upstream,
 sum(toUInt64(e.bytes_from_upstream) * e.sample_interval) AS bytes_from_upstream,
 max(e.link_us) AS max_link_us,
 sumMapIf(map(toUInt16(floor(log2(e.link_us + 1) * 8)), toUInt64(e.sample_interval)), e.link_us > 0) AS hist
FROM `weir`.access_events_local AS e
WHERE notEmpty(e.attempt_us)
GROUP BY t, organization, environment, site, gateway, api, service;

-- 077 links_1m
CREATE TABLE IF NOT EXISTS `weir`.links_1m ON CLUSTER `main` AS `weir`.links_1m_local
ENGINE = Distributed(`main`, `weir`, 'links_1m_local', cityHash64(organization, api, service));

-- 078 policies_1m
CREATE TABLE IF NOT EXISTS `weir`.policies_1m_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  api LowCardinality(String),
  policy LowCardinality(String),
  verdict LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  policy_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_policy_us SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, policy, verdict, site, gateway, t)
TTL t + INTERVAL 3024000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 079 policies_1m_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.policies_1m_mv ON CLUSTER `main` TO `weir`.policies_1m_local AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, policy, verdict,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(us) * e.sample_interval) AS policy_us,
 max(us) AS max_policy_us,
 sumMap(map(toUInt16(floor(log2(us + 1) * 8)), toUInt64(e.sample_interval))) AS hist
FROM `weir`.access_events_local AS e
ARRAY JOIN e.policy_names AS policy, e.policy_verdicts AS verdict, e.policy_us AS us
GROUP BY t, organization, environment, site, gateway, api, policy, verdict;

-- 080 policies_1m
CREATE TABLE IF NOT EXISTS `weir`.policies_1m ON CLUSTER `main` AS `weir`.policies_1m_local
ENGINE = Distributed(`main`, `weir`, 'policies_1m_local', cityHash64(organization, api, policy));

-- 081 attempts_1m
CREATE TABLE IF NOT EXISTS `weir`.attempts_1m_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  service LowCardinality(String),
  address LowCardinality(String),
  failure LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  attempt_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_attempt_us SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, service, address, failure, site, gateway, t)
TTL t + INTERVAL 3024000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 082 attempts_1m_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.attempts_1m_mv ON CLUSTER `main` TO `weir`.attempts_1m_local AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, service, address, failure,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(us) * e.sample_interval) AS attempt_us,
 max(us) AS max_attempt_us,
 sumMap(map(toUInt16(floor(log2(us + 1) * 8)), toUInt64(e.sample_interval))) AS hist
FROM `weir`.access_events_local AS e
ARRAY JOIN e.attempt_upstreams AS address, e.attempt_outcomes AS failure, e.attempt_us AS us
GROUP BY t, organization, environment, site, gateway, service, address, failure;

-- 083 attempts_1m
CREATE TABLE IF NOT EXISTS `weir`.attempts_1m ON CLUSTER `main` AS `weir`.attempts_1m_local
ENGINE = Distributed(`main`, `weir`, 'attempts_1m_local', cityHash64(organization, service, address));

-- 084 consumers_1m_mv
ALTER TABLE `weir`.consumers_1m_mv ON CLUSTER `main` MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, api, consumer, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sumIf(toUInt64(e.sample_interval), (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered')) AS failed,
 sumIf(toUInt64(e.sample_interval), (status >= 400 AND status < 500 AND NOT (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered'))) AS refused,
 sumIf(toUInt64(e.sample_interval), e.rate_limit IN ('exceeded', 'exceeded_shared')) AS limited,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us
FROM `weir`.access_events_local AS e
GROUP BY t, organization, environment, site, api, consumer, entry;

-- 085 rollup_fills
CREATE TABLE IF NOT EXISTS `weir`.rollup_fills ON CLUSTER `main` (
  step UInt32 COMMENT 'the last step that changed a roll-up when every day was held against raw',
  filled DateTime('UTC')
)
ENGINE = MergeTree
ORDER BY step;

-- 090 access_events_starts
ALTER TABLE `weir`.access_events_local ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS policy_start_us Array(UInt32) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS policy_waited_us Array(UInt32) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS attempt_start_us Array(UInt32) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS waited_us UInt32 CODEC(T64, ZSTD(1));

-- 091 access_events_starts_distributed
ALTER TABLE `weir`.access_events ON CLUSTER `main`
  ADD COLUMN IF NOT EXISTS policy_start_us Array(UInt32),
  ADD COLUMN IF NOT EXISTS policy_waited_us Array(UInt32),
  ADD COLUMN IF NOT EXISTS attempt_start_us Array(UInt32),
  ADD COLUMN IF NOT EXISTS waited_us UInt32;

-- 092 requests_1m_mv
ALTER TABLE `weir`.requests_1m_mv ON CLUSTER `main` MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, route, status, reason, side, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.gateway_us) * e.sample_interval) AS gateway_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.client_us) * e.sample_interval) AS client_us,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us,
 sumMap(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval))) AS hist,
 argMaxState(e.trace_id, e.total_us) AS slow_trace
FROM `weir`.access_events_local AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side, entry;

-- 093 consumers_1m_mv
ALTER TABLE `weir`.consumers_1m_mv ON CLUSTER `main` MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, api, consumer, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sumIf(toUInt64(e.sample_interval), (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered')) AS failed,
 sumIf(toUInt64(e.sample_interval), (status >= 400 AND status < 500 AND NOT (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered'))) AS refused,
 sumIf(toUInt64(e.sample_interval), e.rate_limit IN ('exceeded', 'exceeded_shared')) AS limited,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us
FROM `weir`.access_events_local AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, api, consumer, entry;

-- 094 requests_1m_mv
ALTER TABLE `weir`.requests_1m_mv ON CLUSTER `main` MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, route, status, reason, side, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.gateway_us) * e.sample_interval) AS gateway_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.client_us) * e.sample_interval) AS client_us,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us,
 sumMapIf(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval)), NOT mapContains(attrs, 'tunnel.duration_us')) AS hist,
 argMaxState(e.trace_id, e.total_us) AS slow_trace
FROM `weir`.access_events_local AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side, entry;

-- 100 gateway_gauges
CREATE TABLE IF NOT EXISTS `weir`.gateway_gauges_local ON CLUSTER `main` (
  t DateTime64(3, 'UTC') COMMENT 'when the gateway took the sample; never after it was received' CODEC(Delta, ZSTD(1)),
  received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  boot FixedString(16) CODEC(ZSTD(1)),
  version LowCardinality(String),
  started DateTime64(3, 'UTC') CODEC(ZSTD(1)),
  draining UInt8 CODEC(ZSTD(1)),
  saturation Float32 CODEC(Gorilla, ZSTD(1)),
  saturated_by LowCardinality(String),
  config_generation UInt32 CODEC(T64, ZSTD(1)),
  config_serving UInt32 CODEC(T64, ZSTD(1)),
  reloads UInt64 CODEC(T64, ZSTD(1)),
  reloads_failed UInt64 CODEC(T64, ZSTD(1)),
  reload_failing UInt8 CODEC(ZSTD(1)),
  config_fallback LowCardinality(String),
  cpu_seconds Float64 CODEC(Gorilla, ZSTD(1)),
  cpu_cores Float32 CODEC(Gorilla, ZSTD(1)),
  memory_bytes UInt64 CODEC(T64, ZSTD(1)),
  threads UInt32 CODEC(T64, ZSTD(1)),
  files UInt64 CODEC(T64, ZSTD(1)),
  files_limit UInt64 CODEC(T64, ZSTD(1)),
  worker_busy Array(Float32) CODEC(ZSTD(1)),
  worker_still_s Float32 CODEC(Gorilla, ZSTD(1)),
  worker_stalls UInt64 CODEC(T64, ZSTD(1)),
  connections UInt64 CODEC(T64, ZSTD(1)),
  connections_refused UInt64 CODEC(T64, ZSTD(1)),
  accept_failures UInt64 CODEC(T64, ZSTD(1)),
  requests_open UInt64 CODEC(T64, ZSTD(1)),
  requests_limit UInt64 CODEC(T64, ZSTD(1)),
  tls_handshakes UInt64 CODEC(T64, ZSTD(1)),
  tls_handshakes_failed UInt64 CODEC(T64, ZSTD(1)),
  tls_expires DateTime('UTC') COMMENT '1970-01-01 where no certificate is shown' CODEC(T64, ZSTD(1)),
  tls_listener LowCardinality(String),
  events_accepted UInt64 CODEC(T64, ZSTD(1)),
  events_written UInt64 CODEC(T64, ZSTD(1)),
  events_shed Map(LowCardinality(String), UInt64) CODEC(ZSTD(1)),
  ring_used_bytes UInt64 CODEC(T64, ZSTD(1)),
  ring_bytes UInt64 CODEC(T64, ZSTD(1)),
  spool_bytes UInt64 CODEC(T64, ZSTD(1)),
  spool_limit_bytes UInt64 CODEC(T64, ZSTD(1)),
  spool_chunks UInt64 CODEC(T64, ZSTD(1)),
  spool_oldest_s Float32 CODEC(Gorilla, ZSTD(1)),
  spool_held_chunks UInt64 CODEC(T64, ZSTD(1)),
  spool_set_aside_chunks UInt64 CODEC(T64, ZSTD(1)),
  spool_set_aside_bytes UInt64 CODEC(T64, ZSTD(1)),
  spool_blocked LowCardinality(String),
  spool_failures UInt64 CODEC(T64, ZSTD(1)),
  chunks_sealed UInt64 CODEC(T64, ZSTD(1)),
  chunks_sent UInt64 CODEC(T64, ZSTD(1)),
  chunks_acknowledged UInt64 CODEC(T64, ZSTD(1)),
  telemetry_ratio Float32 CODEC(Gorilla, ZSTD(1)),
  telemetry_degraded UInt8 CODEC(ZSTD(1)),
  spans_dropped UInt64 CODEC(T64, ZSTD(1)),
  log_lines_dropped UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', received)
PARTITION BY toYYYYMM(t)
ORDER BY (organization, environment, site, gateway, replica, boot, t)
TTL toDateTime(t) + INTERVAL 3024000 SECOND;

-- 101 gateway_gauges
CREATE TABLE IF NOT EXISTS `weir`.gateway_gauges ON CLUSTER `main` AS `weir`.gateway_gauges_local
ENGINE = Distributed(`main`, `weir`, 'gateway_gauges_local', cityHash64(organization, environment, site, gateway));

-- 110 generations_1m
CREATE TABLE IF NOT EXISTS `weir`.generations_1m_local ON CLUSTER `main` (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  generation UInt32,
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  first SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'the first request of the minute that was served by this generation' CODEC(Delta(8), ZSTD(1)),
  last SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'the last one' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toDate(t)
ORDER BY (organization, environment, site, gateway, replica, generation, t)
TTL t + INTERVAL 3024000 SECOND
SETTINGS ttl_only_drop_parts = 1, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

-- 111 generations_1m_mv
CREATE MATERIALIZED VIEW IF NOT EXISTS `weir`.generations_1m_mv ON CLUSTER `main` TO `weir`.generations_1m_local AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, replica, generation,
 sum(toUInt64(e.sample_interval)) AS n,
 min(e.ts) AS first,
 max(e.ts) AS last
FROM `weir`.access_events_local AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, gateway, replica, generation;

-- 112 generations_1m
CREATE TABLE IF NOT EXISTS `weir`.generations_1m ON CLUSTER `main` AS `weir`.generations_1m_local
ENGINE = Distributed(`main`, `weir`, 'generations_1m_local', cityHash64(organization, environment, site, gateway));

-- 113 requests_1m_hist
ALTER TABLE `weir`.requests_1m_local ON CLUSTER `main`
  MODIFY COLUMN hist CODEC(LZ4);

-- 114 attempts_1m_hist
ALTER TABLE `weir`.attempts_1m_local ON CLUSTER `main`
  MODIFY COLUMN hist CODEC(LZ4);
