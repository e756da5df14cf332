//! Seeded randomness for jitter and nonces. Nothing secret is drawn from it.

use std::time::Duration;

/// A generator that gives the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Rng(fastrand::Rng);

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Rng {
        let folded = seed
            .chunks_exact(8)
            .filter_map(|chunk| chunk.try_into().ok())
            .map(u64::from_le_bytes)
            .fold(0x9e37_79b9_7f4a_7c15, |seed: u64, word| {
                (seed ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
            });
        Rng(fastrand::Rng::with_seed(folded))
    }

    /// A uniformly random duration in `[low, high]`; `low` where the range is empty.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
        low.saturating_add(Duration::from_micros(self.0.u64(0..=span)))
    }

    /// A nonce that no other of this generator's nonces is likely to equal.
    pub(crate) fn nonce(&mut self) -> u64 {
        self.0.u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_the_seed_counts() {
        let first = |seed| Rng::new(seed).nonce();
        for index in 0..32 {
            let mut seed = [7; 32];
            seed[index] ^= 1;
            assert_ne!(first(seed), first([7; 32]), "byte {index}");
        }
    }

    #[test]
    fn between_stays_inside_its_bounds_and_survives_an_empty_range() {
        let mut rng = Rng::new([1; 32]);
        let (low, high) = (Duration::from_millis(10), Duration::from_millis(20));
        assert!((0..1000).map(|_| rng.between(low, high)).all(|d| d >= low && d <= high));
        assert_eq!(rng.between(high, low), high);
    }
}
