//! Receives events, writes ClickHouse, answers queries, serves the dashboards page.

fn main() {}
