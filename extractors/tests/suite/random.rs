//! A small generator of numbers, so that a failing case can be had again from its seed.

use std::time::Duration;

/// Where a sequence begins; `PIPELINE_TEST_SEED` replaces it.
const SEED: u64 = 0x5EED_0FE4_AC70_0001;

pub(crate) struct Random(u64);

impl Random {
    /// The generator of a test. Says how to have its cases again.
    #[allow(clippy::print_stdout, reason = "shown where the test fails")]
    pub(crate) fn of_environment() -> Self {
        let seed = number("PIPELINE_TEST_SEED").unwrap_or(SEED);
        println!("PIPELINE_TEST_SEED={seed}");
        Self::from_seed(seed)
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        // Zero would stay zero, and small seeds would begin alike.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from((u128::from(self.next()) * limit as u128) >> 64).unwrap()
    }

    /// A number from `from` up to, and not, `to`.
    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(usize::try_from(to - from).unwrap())).unwrap()
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// How long a test that could go on for ever goes on: `PIPELINE_TEST_SECONDS`, or `usual`.
pub(crate) fn duration(usual: Duration) -> Duration {
    number("PIPELINE_TEST_SECONDS").map_or(usual, Duration::from_secs)
}

#[expect(clippy::disallowed_methods, reason = "the program does not read these: they are for who runs the tests")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}
