INSERT INTO weir.stream_reports (stream, organization, environment, site, gateway, replica, boot, worker, accepted, counted, received, newest)
WITH
  number % 26 AS s, intDiv(s, 2) AS slot, s % 2 AS copy, intDiv(number, 26) AS report,
  ['edge-1', 'edge-1', 'edge-1', 'edge-2', 'edge-2', 'edge-3', 'edge-3', 'edge-4', 'edge-5', 'edge-6', 'core-1', 'core-1', 'core-2'][slot + 1] AS gateway_,
  toInt64({begin_us} / 1000 + (report + 1) * 60000) AS at_ms
SELECT
  1000 + s, if(slot = 9, 'bolt', 'acme'), if(slot = 8, 'staging', 'production'),
  ['on-prem', 'on-prem', 'on-prem', 'cloud-eu', 'cloud-eu', 'cloud-eu', 'cloud-eu', 'cloud-us', 'cloud-us', 'on-prem', 'datacenter', 'datacenter', 'datacenter'][slot + 1],
  gateway_, if(copy = 0, 'a', 'b'), toFixedString(concat(gateway_, if(copy = 0, '-a', '-b'), '--------'), 16), slot,
  least(toUInt64((report + 1) / {reports} * {events} / 26), intDiv({events} + 25 - s, 26)), fromUnixTimestamp64Milli(at_ms, 'UTC'), fromUnixTimestamp64Milli(at_ms, 'UTC'),
  concat(leftPad(toString(at_ms), 16, '0'), '{"waiting":[],"set_aside":[]}')
FROM numbers(26 * {reports})
