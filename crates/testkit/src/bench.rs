//! Compares two ways of doing the same work, in turn, in one run: ratios say more than times.

use std::time::Duration;

use anyhow::Result;

/// The number of pairs that a benchmark runs, unless `BAKERY_BENCH_PAIRS` is set.
pub const PAIRS: usize = 20;

/// The results of a benchmark: one figure of each side for each pair.
#[derive(Debug, Default)]
pub struct Pairs {
    ours: Vec<f64>,
    peers: Vec<f64>,
}

impl Pairs {
    /// Adds one pair of seconds (or of another unit, the same on both sides).
    pub fn push(&mut self, ours: f64, peer: f64) {
        self.ours.push(ours);
        self.peers.push(peer);
    }

    /// Ours divided by the peer's, pair by pair.
    pub fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.peers).map(|(ours, peer)| ours / peer).collect()
    }

    /// Prints both sides and the ratio with median, minimum and maximum, and the target.
    pub fn print(&self, what: &str, peer: &str, unit: &str, bar: &str) {
        println!("{what}: {} pairs, interleaved", self.ours.len());
        for (name, figures) in [("bakery", &self.ours), (peer, &self.peers)] {
            let (median, min, max) = spread(figures);
            println!("  {name:<44} median {median:>9.3} {unit:<5} min {min:>9.3}  max {max:>9.3}");
        }
        let (median, min, max) = spread(&self.ratios());
        println!("  {:<44} median {median:>9.3}       min {min:>9.3}  max {max:>9.3}   bar: {bar}", "ratio");
    }
}

/// Median, minimum and maximum.
pub fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
        return (f64::NAN, f64::NAN, f64::NAN);
    };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    (median, *min, *max)
}

/// The number of pairs to run.
#[expect(clippy::disallowed_methods, reason = "a knob of the benchmark, not of the product")]
pub fn pairs() -> usize {
    std::env::var("BAKERY_BENCH_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(PAIRS)
}

/// Runs a benchmark's pairs; which side goes first changes from pair to pair.
pub async fn interleave<A, B>(pairs: usize, mut ours: A, mut peer: B) -> Result<Pairs>
where
    A: AsyncFnMut() -> Result<Duration>,
    B: AsyncFnMut() -> Result<Duration>,
{
    let mut found = Pairs::default();
    // One of each first, not counted, so that caches are warm for both.
    ours().await?;
    peer().await?;
    for pair in 0..pairs {
        let (a, b) = if pair % 2 == 0 {
            let a = ours().await?;
            (a, peer().await?)
        } else {
            let b = peer().await?;
            (ours().await?, b)
        };
        found.push(a.as_secs_f64(), b.as_secs_f64());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (2.5, 1.0, 4.0));
    }
}
