//! Snapshot, listeners, the pipeline, drain.
