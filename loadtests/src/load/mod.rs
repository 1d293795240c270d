//! What loads a contender: `wrk` and `h2load` where they can, clients of the bench's own where they cannot. All on core 1.

pub mod h2load;
pub mod handshakes;
pub mod http;
pub mod open_loop;
pub mod wrk;

/// What a load generator counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    pub requests: u64,
    pub per_second: f64,
    /// Not 2xx or 3xx, or broken off.
    pub errors: u64,
    /// That may have been under way when the load stopped: a contender may account for so many more.
    pub abandoned: u64,
}
