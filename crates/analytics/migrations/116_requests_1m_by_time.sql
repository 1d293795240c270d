ALTER TABLE {database}.requests_1m{local}{on_cluster}
  ADD PROJECTION IF NOT EXISTS by_time (SELECT * ORDER BY t)
