//! The prices in the documentation of `Live`: `cargo run --release -p weir-config --example live_prices`.

use std::hint::black_box;
use std::time::Instant;

use weir_config::Live;

const ROUNDS: u32 = 20_000_000;

fn main() {
    let live = Live::new(7_u64);
    let mut cached = live.cached();
    price("cached", || **cached.load());
    price("snapshot", || *live.snapshot());
}

fn price(verb: &str, mut read: impl FnMut() -> u64) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(read());
    }
    println!("{verb:8} {:5.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
}
