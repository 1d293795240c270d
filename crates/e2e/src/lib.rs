//! Development only: one file a promise to users.
