//! Whether a number is what former runs let expect.
//!
//! Tables grow, so what is expected is not the middle of the former numbers but where a straight line through them leads: its slope is the median
//! of the slopes between any two of them (Theil and Sen), its height the median of what is left over. Up to 29 of 100 former
//! numbers may be wild, and the line stays where it is. How far numbers usually lie from the line is the median of how far they lay
//! (the median absolute deviation, times 1.4826, which makes it the standard deviation of numbers that vary as errors do). It has a floor,
//! because numbers that never varied are no promise that they never will.
//!
//! P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, 1968; F. R. Hampel, The influence curve and its role in robust
//! estimation, 1974.

/// So many former numbers are needed to expect anything.
pub(super) const FORMER_MIN: usize = 7;

/// Makes the median absolute deviation of normally distributed numbers their standard deviation.
const NORMAL_SCALE: f64 = 1.4826;

/// Of what is expected, what numbers are always allowed to deviate by: with five deviations, ten percent.
const FLOOR_SHARE: f64 = 0.02;

/// The same for shares, which are numbers between 0 and 1: with five deviations, two points of a hundred.
const FLOOR_POINTS: f64 = 0.004;

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// A count: small ones vary by their square root, whatever they count.
    Count,
    /// A share of a whole, 0 to 1.
    Share,
    /// Anything.
    Number,
}

/// What former runs let expect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    /// The number itself.
    pub(super) number: f64,
    /// How far numbers usually lie from it.
    pub(super) deviation: f64,
}

impl Expected {
    /// From the numbers of former runs, the oldest first; None if they are too few.
    pub(super) fn of(former: &[f64], scale: Scale) -> Option<Self> {
        if former.len() < FORMER_MIN {
            return None;
        }
        let placed = || former.iter().enumerate().map(|(run, number)| (run as f64, *number));
        let slopes = placed().flat_map(|(run, number)| {
            placed().filter(move |(other, _)| *other > run).map(move |(other, later)| (later - number) / (other - run))
        });
        let slope = median(slopes.collect())?;
        let height = median(placed().map(|(run, number)| number - slope * run).collect())?;
        let left_over = placed().map(|(run, number)| (number - slope * run - height).abs());
        let deviation = median(left_over.collect())? * NORMAL_SCALE;
        let number = height + slope * former.len() as f64;
        let number = match scale {
            Scale::Count => number.max(0.0),
            Scale::Share => number.clamp(0.0, 1.0),
            Scale::Number => number,
        };
        let floor = match scale {
            Scale::Count => (number * FLOOR_SHARE).max(number.max(1.0).sqrt()),
            Scale::Share => FLOOR_POINTS,
            Scale::Number => number.abs() * FLOOR_SHARE,
        };
        Some(Self { number, deviation: deviation.max(floor) })
    }

    /// Whether a number lies further away than so many deviations.
    pub(super) fn is_far_from(&self, number: f64, deviations: f64) -> bool {
        // Sums of floating-point numbers that should be the same may differ in their last digits.
        let rounding = self.number.abs() * 1e-9;
        (number - self.number).abs() > self.deviation * deviations + rounding
    }
}

/// The number in the middle; the mean of two if there are two in the middle; None if there is none.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let upper = *numbers.get(numbers.len() / 2)?;
    match numbers.len() % 2 {
        0 => Some((numbers.get(numbers.len() / 2 - 1)? + upper) / 2.0),
        _ => Some(upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVIATIONS: f64 = 5.0;

    fn is_anomaly(former: &[f64], number: f64, scale: Scale) -> bool {
        Expected::of(former, scale).unwrap().is_far_from(number, DEVIATIONS)
    }

    #[test]
    fn too_few_former_runs_let_expect_nothing() {
        assert_eq!(Expected::of(&[100.0; FORMER_MIN - 1], Scale::Count), None);
        assert!(Expected::of(&[100.0; FORMER_MIN], Scale::Count).is_some());
    }

    #[test]
    fn numbers_that_never_varied_may_still_vary_a_little() {
        let former = [10_000.0; 30];
        for (count, is_one) in [(9_001.0, false), (8_999.0, true), (10_999.0, false), (11_001.0, true), (0.0, true)] {
            assert_eq!(is_anomaly(&former, count, Scale::Count), is_one, "{count}");
        }
        assert!(!is_anomaly(&[9.0; 30], 16.0, Scale::Count), "few things vary much");
        assert!(is_anomaly(&[100.0; 30], 20.0, Scale::Count));
        assert!(!is_anomaly(&[0.0; 30], 1.0, Scale::Count), "a first row is no wonder");
        assert!(is_anomaly(&[0.0; 30], 6.0, Scale::Count));
        assert!(!is_anomaly(&[0.0; 30], 0.019, Scale::Share));
        assert!(is_anomaly(&[0.0; 30], 0.021, Scale::Share));
        assert!(!is_anomaly(&[0.1 + 0.2; 30], 0.3, Scale::Number));
        assert!(!is_anomaly(&[0.0; 30], 0.0, Scale::Number));
        assert!(is_anomaly(&[-40.0; 30], -45.0, Scale::Number));
    }

    #[test]
    fn a_table_that_grows_is_expected_to_grow_on() {
        // A shop in its first month: nothing about its middle tells that half of it is gone.
        let former: Vec<f64> = (1..=30).map(|night| f64::from(night) * 1_000.0).collect();
        let expected = Expected::of(&former, Scale::Count).unwrap();
        assert!((expected.number - 31_000.0).abs() < 1e-6, "{expected:?}");
        assert!(!is_anomaly(&former, 31_000.0, Scale::Count));
        assert!(!is_anomaly(&former, 30_000.0, Scale::Count), "a night without orders");
        assert!(is_anomaly(&former, 15_500.0, Scale::Count));
        assert!(is_anomaly(&former, 60_000.0, Scale::Count));
    }

    #[test]
    fn what_varies_may_vary_as_much_as_it_did() {
        let former: Vec<f64> = (0..30).map(|night| 1_000.0 + f64::from(night * 7919 % 13 - 6) * 50.0).collect();
        assert!(!is_anomaly(&former, 1_300.0, Scale::Count));
        assert!(!is_anomaly(&former, 700.0, Scale::Count));
        assert!(is_anomaly(&former, 3_000.0, Scale::Count));
    }

    #[test]
    fn a_few_wild_runs_change_nothing() {
        let mut former = vec![5_000.0; 30];
        for (place, wild) in [(3, 0.0), (9, 90_000.0), (15, 1.0), (20, 70_000.0), (29, 0.0)] {
            former[place] = wild;
        }
        let expected = Expected::of(&former, Scale::Count).unwrap();
        assert_eq!((expected.number, expected.deviation), (5_000.0, 100.0));
        assert!(is_anomaly(&former, 0.0, Scale::Count));
    }
}
