ALTER TABLE {database}.requests_1m{local}{on_cluster}
  MODIFY COLUMN entry UInt8 DEFAULT 1
