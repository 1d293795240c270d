INSERT INTO weir.access_events (
  ts, organization, environment, site, gateway, replica, boot, worker, stream, seq, generation, api, api_instance, route, service, upstream,
  consumer, auth, method, scheme, host, path, path_template, protocol, tls_version, client_ip, user_agent, status, upstream_status, reason, side,
  outcome, rate_limit, total_us, gateway_us, upstream_us, client_us, link_us, connect_us, first_byte_us, bytes_in, bytes_to_upstream,
  bytes_from_upstream, bytes_out, policy_names, policy_verdicts, policy_us, attempt_upstreams, attempt_outcomes, attempt_us, trace_id, span_id,
  sample_interval, block, lease, ts_received, entry)
WITH
  -- Of 13 events ten are user requests, and three the second hop of one of them.
  number % 13 AS slot,
  slot < 10 AS is_entry,
  intDiv(number, 13) * 10 + if(is_entry, slot, slot - 10) AS request,
  request % 10 AS came_at,
  intDiv(number, 13) % 2 AS copy,
  (salt -> (cityHash64(request, salt) % 1000003) / 1000003.) AS chance,
  -- An edge serves 12 of 40 APIs, some much more than others; an API has four routes and twelve consumers.
  (toUInt32(floor(12 * pow(chance(1), 3))) + 7 * [0, 0, 0, 1, 1, 2, 2, 3, 4, 5][came_at + 1]) % 40 AS a,
  toUInt32(floor(4 * pow(chance(2), 2))) AS r,
  chance(3) AS luck,
  ['edge-1', 'edge-1', 'edge-1', 'edge-2', 'edge-2', 'edge-3', 'edge-3', 'edge-4', 'edge-5', 'edge-6', 'core-1', 'core-1', 'core-2'][slot + 1] AS gateway_,
  ['on-prem', 'on-prem', 'on-prem', 'cloud-eu', 'cloud-eu', 'cloud-eu', 'cloud-eu', 'cloud-us', 'cloud-us', 'on-prem', 'datacenter', 'datacenter', 'datacenter'][slot + 1] AS site_,
  multiIf(luck < 0.9, if(r = 3, 201, 200), luck < 0.955, if(r = 0, 304, 200), luck < 0.975, if(r = 1, 404, 200), luck < 0.985, 401, luck < 0.99, 429, luck < 0.9935, 500,
    luck < 0.9965, 503, luck < 0.9985, 504, luck < 0.9995, 499, 200) AS status_,
  multiIf(luck < 0.975, '', luck < 0.985, 'authentication_failed', luck < 0.99, 'rate_limited', luck < 0.9935, '', luck < 0.9965, 'connection_refused',
    luck < 0.9985, 'upstream_timeout', luck < 0.9995, 'client_closed', 'response_incomplete') AS reason_,
  multiIf(reason_ = '', '', reason_ IN ('authentication_failed', 'rate_limited', 'client_closed'), 'downstream', 'upstream') AS side_,
  status_ IN (401, 429) AS is_refused,
  cityHash64(request, 4) AS h,
  -- The sum of four even chances is nearly normal.
  ((h % 65536 + intDiv(h, 65536) % 65536 + intDiv(h, 4294967296) % 65536 + intDiv(h, 281474976710656)) / 65536. - 2) / 0.577 AS normal,
  60 + h % 190 AS own_us,
  if(is_refused, 0, toUInt64(if(reason_ = 'upstream_timeout', 5000000, 1500 * exp2(a % 6) * exp(0.7 * normal)) + if(slot < 3, 900 + h % 4000, 0))) AS upstream_,
  if(slot < 3 AND NOT is_refused, toUInt32(900 + h % 4000), 0) AS link_,
  h % 900 AS client_,
  fromUnixTimestamp64Micro(toInt64({begin_us} + toUInt64(request / {requests} * {span_us}) + if(is_entry, 0, 400 + intDiv(link_, 2))), 'UTC') AS ts_
SELECT
  ts_, if(came_at = 9, 'bolt', 'acme'), if(came_at = 8, 'staging', 'production'), site_, gateway_, if(copy = 0, 'a', 'b'),
  toFixedString(concat(gateway_, if(copy = 0, '-a', '-b'), '--------'), 16), slot, 1000 + slot * 2 + copy, intDiv(number, 26),
  3 + (number > {events} * 0.35) + (number > {events} * 0.8), concat('api-', leftPad(toString(a), 2, '0')), concat('weir/api-', leftPad(toString(a), 2, '0')),
  ['list', 'item', 'search', 'change'][r + 1], concat('service-', toString(a % 25)), concat('10.0.', toString(a % 25), '.', toString(1 + h % 2), ':8080'),
  if(status_ = 401, '', concat('app-', leftPad(toString(a * 12 + toUInt32(floor(12 * pow(chance(5), 2)))), 3, '0'))), if(status_ = 401, '', 'basic'),
  ['GET', 'GET', 'GET', 'POST'][r + 1], 'https', 'api.example.com', concat('/v1/api-', toString(a), '/items/', toString(h % 100000)),
  concat('/v1/api-', toString(a), '/items/{id}'), '1.1', 'TLSv1.3', IPv4ToIPv6(toIPv4(toUInt32(167772160 + h % 200000))),
  concat('client/', toString(h % 25)), status_, if(is_refused OR side_ != '', 0, status_), reason_, side_,
  multiIf(reason_ = 'response_incomplete', 'truncated', reason_ = 'client_closed', 'cancelled', 'completed'), if(status_ = 429, 'exceeded', 'within'),
  own_us + upstream_ + client_, own_us, upstream_, client_, link_, if(is_refused, 0, h % 300), upstream_, h % 2000, h % 2000, h % 30000, h % 30000,
  ['cors', 'authentication-basic', 'rate-limiting'], ['continued', if(status_ = 401, 'rejected', 'continued'), if(status_ = 429, 'rejected', 'continued')],
  [h % 9, 8 + h % 60, 2 + h % 20], if(is_refused, [], [concat('10.0.', toString(a % 25), '.', toString(1 + h % 2), ':8080')]),
  if(is_refused, [], [if(side_ = 'upstream' AND status_ != 200, reason_, '')]), if(is_refused, [], [toUInt32(upstream_)]), sipHash128(request),
  toFixedString(reinterpretAsString(bitOr(cityHash64(number, 6), 72057594037927937)), 8), 1, toUUID('00000000-0000-4000-8000-000000000001'), generateUUIDv4(), ts_ + INTERVAL 1500 + h % 1500 MILLISECOND, is_entry
FROM numbers({first}, {count})
