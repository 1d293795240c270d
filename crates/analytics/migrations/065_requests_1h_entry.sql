ALTER TABLE {database}.requests_1h{local}{on_cluster}
  ADD COLUMN IF NOT EXISTS entry UInt8,
  MODIFY ORDER BY (organization, environment, api, route, site, gateway, status, reason, side, t, entry)
