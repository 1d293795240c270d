//! Quantiles of a summed histogram: bucket `k` holds durations of [2^(k/8) - 1, 2^((k+1)/8) - 1) µs.

/// The lower edge of bucket `k`, in microseconds.
fn edge(k: f64) -> f64 {
    (k / 8.0).exp2() - 1.0
}

/// The `q`-quantile in microseconds, its place in the bucket linear; `None` of an empty histogram. `largest` is the
/// largest duration seen: no quantile is above it. Off by half a bucket at most, 4.4 %.
pub fn quantile(hist: &[(u16, u64)], q: f64, largest: u64) -> Option<f64> {
    let mut buckets: Vec<_> = hist.iter().filter(|(_, count)| *count > 0).copied().collect();
    buckets.sort_unstable();
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let wanted = q.clamp(0.0, 1.0) * total as f64;
    let mut before = 0;
    for (k, count) in &buckets {
        if (before + count) as f64 >= wanted {
            let part = (wanted - before as f64) / *count as f64;
            let (low, high) = (edge(f64::from(*k)), edge(f64::from(*k) + 1.0));
            return Some((low + (high - low) * part).min(largest as f64));
        }
        before += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(us: u64) -> u16 {
        (((us + 1) as f64).log2() * 8.0).floor() as u16
    }

    #[test]
    fn it_is_within_half_a_bucket_of_the_truth() {
        let mut hist = std::collections::BTreeMap::new();
        (1..=100_000_u64).for_each(|us| *hist.entry(bucket(us)).or_insert(0) += 1);
        let hist: Vec<_> = hist.into_iter().collect();
        for q in [0.5, 0.95, 0.99] {
            let (found, truth) = (quantile(&hist, q, 100_000).unwrap(), q * 100_000.0);
            assert!((found - truth).abs() / truth < 0.045, "{q}: {found}");
        }
    }

    #[test]
    fn its_edges_are_those_of_what_was_seen() {
        assert_eq!(quantile(&[], 0.5, 0), None);
        let one = [(bucket(1000), 1)];
        assert_eq!(quantile(&one, 0.99, 1000), Some(1000.0));
    }
}
