ALTER TABLE {database}.attempts_1m{local}{on_cluster}
  MODIFY COLUMN hist CODEC(LZ4)
