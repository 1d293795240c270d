ALTER TABLE {database}.requests_1m{local}{on_cluster}
  MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
