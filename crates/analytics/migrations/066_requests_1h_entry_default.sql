ALTER TABLE {database}.requests_1h{local}{on_cluster}
  MODIFY COLUMN entry UInt8 DEFAULT 1
