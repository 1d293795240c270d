CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.stored_seqs_mv{on_cluster} TO {database}.stored_seqs{local} AS
SELECT day, stream, block, run[1] AS first, run[-1] AS last, toUInt64(length(run)) AS n
FROM (
  SELECT toDate(ts) AS day, stream, block, arraySort(groupArray(seq)) AS seqs
  FROM {database}.access_events{local} GROUP BY day, stream, block
)
ARRAY JOIN arraySplit((seq, step) -> step != 1, seqs, arrayDifference(seqs)) AS run
