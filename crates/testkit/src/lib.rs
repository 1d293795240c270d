//! Development only: an upstream, traffic, the witness client, the demo.
