//! The rings, the chunk files, the shipper.
