//! Pseudo-random numbers that depend on the seed, a topic and an index only.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). No figure is drawn with
//! logarithms, sines or powers, because their last bit differs between platforms.

/// What a stream of numbers is drawn for: two topics never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Topic {
    Neighbourhood = 1,
    Store,
    Courier,
    Product,
    Customer,
    CustomerHome,
    CustomerId,
    CustomerChange,
    DayWeight,
    Order,
    OrderId,
    Payment,
    Change,
    Loyalty,
    Orphan,
    Collection,
}

/// One stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

/// Spreads every bit of `value` over the whole word.
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    pub(crate) fn new(seed: u64, topic: Topic, index: u64) -> Self {
        Self { state: mix(mix(mix(seed) ^ topic as u64) ^ index) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// Whether something of this probability (in thousandths) happens.
    pub(crate) fn permille(&mut self, share: u64) -> bool {
        self.below(1_000) < share
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// A bell-shaped number with mean 0 and standard deviation 1: the sum of four uniform ones (so within ±3.5).
    pub(crate) fn bell(&mut self) -> f64 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732_050_807_568_877_2
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// The position of a weight, drawn in proportion to the weights.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (position, weight) in weights.iter().enumerate() {
            if left < u64::from(*weight) {
                return position;
            }
            left -= u64::from(*weight);
        }
        weights.len() - 1
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_topic_and_index() {
        let draw = |seed, topic, index| Random::new(seed, topic, index).next();
        assert_eq!(draw(1, Topic::Order, 7), draw(1, Topic::Order, 7));
        assert_ne!(draw(1, Topic::Order, 7), draw(2, Topic::Order, 7));
        assert_ne!(draw(1, Topic::Order, 7), draw(1, Topic::Payment, 7));
        assert_ne!(draw(1, Topic::Order, 7), draw(1, Topic::Order, 8));
    }

    #[test]
    fn bounds_hold_and_are_reached() {
        let mut random = Random::new(1, Topic::Order, 1);
        let drawn: Vec<i64> = (0..10_000).map(|_| random.between(-2, 2)).collect();
        assert_eq!(drawn.iter().min(), Some(&-2));
        assert_eq!(drawn.iter().max(), Some(&2));
        assert_eq!(random.below(0), 0);
        let mean: f64 = (0..10_000).map(|_| random.bell()).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.05, "{mean}");
    }

    #[test]
    fn weights_are_respected() {
        let mut random = Random::new(1, Topic::Order, 1);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[random.weighted(&[1, 0, 3])] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
    }
}
