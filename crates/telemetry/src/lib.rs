//! Trace context, metric catalogue and cells, exposition.
