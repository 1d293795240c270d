//! The gateway: wiring only.

fn main() {}
