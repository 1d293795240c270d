//! Compiles and matches rules; rewrites paths. Pure.
