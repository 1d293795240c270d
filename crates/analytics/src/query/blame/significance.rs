//! Whether two samples differ by more than chance: shares by a z-test or Fisher's exact test, times by Kolmogorov-Smirnov.
//!
//! Each p-value is the probability of a difference that is at least as large, both ways, if nothing had changed and each
//! request were independent of the others. Requests are not quite independent, so that a small p is a reason to look and
//! no proof.

/// How a share was tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareTest {
    /// Of two proportions with a pooled variance, where five of each kind are expected on each side.
    Z,
    /// Fisher's, with both tails by probability, where fewer are.
    Fisher,
}

/// The p-value of `failed` of `all` on two sides; `None` where a side has nothing.
pub fn shares(before: (u64, u64), after: (u64, u64)) -> Option<(ShareTest, f64)> {
    let ((a, n), (b, m)) = (before, after);
    if n == 0 || m == 0 {
        return None;
    }
    let failed = (a + b) as f64 / (n + m) as f64;
    let fewest = n.min(m) as f64 * failed.min(1.0 - failed);
    Some(if fewest >= 5.0 { (ShareTest::Z, z_test(before, after)) } else { (ShareTest::Fisher, fisher(before, after)) })
}

fn z_test((a, n): (u64, u64), (b, m): (u64, u64)) -> f64 {
    let [a, n, b, m] = [a, n, b, m].map(|count| count as f64);
    let pooled = (a + b) / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    let z = (b / m - a / n) / deviation;
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The sum of the probabilities of all tables with the same margins that are no likelier than this one.
fn fisher((a, n): (u64, u64), (b, m): (u64, u64)) -> f64 {
    let failed = a + b;
    let log_probability = |k: u64| log_choose(n, k) + log_choose(m, failed - k) - log_choose(n + m, failed);
    // Equal tables differ in the last digits.
    let here = log_probability(a) + 1e-7;
    let (least, most) = (failed.saturating_sub(m), failed.min(n));
    let all = (least..=most).map(log_probability).filter(|log| *log <= here).map(f64::exp);
    all.sum::<f64>().min(1.0)
}

/// The largest distance of two distributions by buckets, and its p-value; `None` where a side has nothing.
///
/// Within a bucket nothing is known of the order, so that the distance is never too large, and the p-value never too small.
/// It is the asymptotic one, with the correction for small samples of Stephens (1970).
pub fn distributions(before: &[(u16, u64)], after: &[(u16, u64)]) -> Option<(f64, f64)> {
    let total = |side: &[(u16, u64)]| side.iter().map(|(_, count)| count).sum::<u64>() as f64;
    let (n, m) = (total(before), total(after));
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let mut buckets: Vec<u16> = before.iter().chain(after).map(|(bucket, _)| *bucket).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let of =
        |side: &[(u16, u64)], bucket| side.iter().filter(|(b, _)| *b == bucket).map(|(_, n)| n).sum::<u64>() as f64;
    let (mut below, mut distance) = ((0.0, 0.0), 0.0_f64);
    for bucket in buckets {
        below = (below.0 + of(before, bucket) / n, below.1 + of(after, bucket) / m);
        distance = distance.max((below.0 - below.1).abs());
    }
    let root = (n * m / (n + m)).sqrt();
    Some((distance, kolmogorov((root + 0.12 + 0.11 / root) * distance)))
}

/// `Q(λ) = 2 Σ (-1)^(j-1) exp(-2 j² λ²)`.
fn kolmogorov(lambda: f64) -> f64 {
    // Below this the series converges slowly, and its sum is 1 to ten digits.
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |j: i32| {
        let j = f64::from(j);
        (if j as i64 % 2 == 1 { 2.0 } else { -2.0 }) * (-2.0 * j * j * lambda * lambda).exp()
    };
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

fn log_choose(n: u64, k: u64) -> f64 {
    log_factorial(n) - log_factorial(k) - log_factorial(n - k)
}

/// `ln n!`, by Stirling's series above 20: off by less than 1e-9.
fn log_factorial(n: u64) -> f64 {
    if n <= 20 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + series
}

/// The complementary error function of a number that is not negative: by its series below 2.5, by its continued fraction
/// above (Abramowitz and Stegun 7.1.5, 7.1.14).
fn erfc(x: f64) -> f64 {
    if x < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * sum;
    }
    let fraction = (1..=60).rev().fold(x, |below, k| x + f64::from(k) / 2.0 / below);
    (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn the_error_function_is_right_to_six_digits() {
        // Abramowitz and Stegun, table 7.1, and 26.2 for the tails.
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122),
            (1.0, 0.157_299_207),
            (2.0, 0.004_677_734_98),
            (3.0, 2.209_049_7e-5),
            (5.0, 1.537_459_8e-12),
        ] {
            near(erfc(x), expected);
        }
        near(erfc(2.499_999_99), erfc(2.500_000_01));
    }

    #[test]
    fn fishers_test_is_that_of_the_textbooks() {
        // Fisher's lady tasting tea, both tails; scipy.stats.fisher_exact([[8, 2], [1, 5]]).
        near(fisher((3, 4), (1, 4)), 34.0 / 70.0);
        near(fisher((8, 10), (1, 6)), 0.034_965_034_965);
        near(fisher((0, 10), (0, 10)), 1.0);
        assert_eq!(shares((0, 1000), (0, 1000)), Some((ShareTest::Fisher, 1.0)));
        let (test, p) = shares((0, 100_000), (4, 100_000)).unwrap();
        assert_eq!(test, ShareTest::Fisher);
        near(p, 0.124_996_249_981_249_8);
        assert_eq!(shares((0, 0), (1, 1)), None);
    }

    #[test]
    fn many_are_compared_by_a_z_test() {
        let (test, p) = shares((10, 1000), (30, 1000)).unwrap();
        assert_eq!(test, ShareTest::Z);
        // z = 0.02 / sqrt(0.02 * 0.98 * 0.002) = 3.194383
        near(p, 0.001_401_301_581);
        let exact = fisher((10, 1000), (30, 1000));
        assert!((exact / p - 1.0).abs() < 0.6, "{exact}");
        assert_eq!(shares((30, 1000), (10, 1000)).unwrap().1, p, "both ways alike");
        assert!(shares((100, 1000), (101, 1000)).unwrap().1 > 0.9);
        assert!(shares((100, 100_000), (5000, 100_000)).unwrap().1 < 1e-300);
    }

    #[test]
    fn distributions_are_compared_by_their_distance() {
        // The table of Kolmogorov's distribution.
        near(kolmogorov(1.0), 0.269_999_671_7);
        assert!((kolmogorov(1.358_1) - 0.05).abs() < 1e-4 && (kolmogorov(1.627_6) - 0.01).abs() < 1e-4);
        let same = [(40, 100), (41, 300), (48, 100)];
        let (distance, p) = distributions(&same, &same).unwrap();
        assert!(distance < 1e-12 && p == 1.0, "{distance} {p}");
        let slower = [(40, 50), (41, 250), (48, 200)];
        let (distance, p) = distributions(&same, &slower).unwrap();
        near(distance, 0.2);
        assert!(p < 1e-7, "{p}");
        let few = distributions(&[(40, 3)], &[(48, 2)]).unwrap();
        assert!(few.0 == 1.0 && few.1 > 0.01, "five requests prove little: {few:?}");
        assert_eq!(distributions(&[], &same), None);
    }
}
