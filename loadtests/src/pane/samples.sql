INSERT INTO weir.gateway_gauges (
  t, received, organization, environment, site, gateway, replica, boot, version, started, saturation, saturated_by, config_generation, config_serving,
  cpu_seconds, cpu_cores, memory_bytes, threads, files, files_limit, worker_busy, connections, requests_open, requests_limit, tls_handshakes, tls_expires,
  tls_listener, events_accepted, events_written, ring_used_bytes, ring_bytes, spool_bytes, spool_limit_bytes, spool_chunks, spool_oldest_s,
  chunks_sealed, chunks_sent, chunks_acknowledged)
WITH
  number % 8 AS g, intDiv(number, 8) % 2 AS copy, intDiv(number, 16) AS sample, cityHash64(number) AS h,
  ['edge-1', 'edge-2', 'edge-3', 'edge-4', 'edge-5', 'edge-6', 'core-1', 'core-2'][g + 1] AS gateway_,
  fromUnixTimestamp64Milli(toInt64({begin_us} / 1000 + sample * 10000), 'UTC') AS t_
SELECT
  t_, t_ + INTERVAL 200 MILLISECOND, if(g = 5, 'bolt', 'acme'), if(g = 4, 'staging', 'production'),
  ['on-prem', 'cloud-eu', 'cloud-eu', 'cloud-us', 'cloud-us', 'on-prem', 'datacenter', 'datacenter'][g + 1], gateway_, if(copy = 0, 'a', 'b'),
  toFixedString(concat(gateway_, if(copy = 0, '-a', '-b'), '--------'), 16), '1.0.0', fromUnixTimestamp64Milli(toInt64({begin_us} / 1000 - 60000), 'UTC'),
  (h % 40) / 100, 'connections', 3, 3, sample * 1.5, (h % 150) / 100, 40000000 + h % 9000000, 6, 100 + h % 50, 65536, [(h % 80) / 100, (h % 70) / 100],
  200 + h % 90, h % 20, 10000, sample * 3, now() + INTERVAL 30 DAY, 'public', sample * 145, sample * 145, h % 900000, 4194304, h % 9000000, 1073741824,
  h % 9, (h % 30) / 10, sample, sample, sample
FROM numbers({samples})
