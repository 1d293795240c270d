//! The boundaries of the histograms.

/// OpenTelemetry's boundaries for HTTP durations, in nanoseconds; the last bucket is open.
pub(crate) const DURATION_NS: &[u64] = &[
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];
/// For what a gateway or a policy adds: a gateway that takes 5 ms is broken already.
pub(crate) const OVERHEAD_NS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_500_000_000,
];
/// Body sizes in bytes: powers of eight from 64 B to 1 GiB.
pub(crate) const SIZE: &[u64] = &[64, 512, 4096, 32_768, 262_144, 2_097_152, 16_777_216, 134_217_728, 1_073_741_824];
