ALTER TABLE {database}.requests_1m{local}{on_cluster}
  MODIFY COLUMN hist CODEC(LZ4)
