//! Pools, connecting, outbound TLS.
