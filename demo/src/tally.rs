//! Counting rows and summing columns exactly.

use std::collections::BTreeMap;

/// Rows of a table and the sums of its columns, each in units of its own scale.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    columns: &'static [(&'static str, u8)],
    pub(crate) rows: u64,
    sums: Vec<i128>,
}

impl Sheet {
    /// A sheet of these columns: name, and digits after the point.
    pub(crate) fn new(columns: &'static [(&'static str, u8)]) -> Self {
        Self { columns, rows: 0, sums: vec![0; columns.len()] }
    }

    /// Counts one row with these values, in the columns' order.
    pub(crate) fn add(&mut self, values: &[i64]) {
        assert_eq!(values.len(), self.columns.len(), "a row has a value for each column");
        self.rows += 1;
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum += i128::from(*value);
        }
    }

    /// The sums as plain decimal text.
    pub(crate) fn sums(&self) -> BTreeMap<String, String> {
        self.columns.iter().zip(&self.sums).map(|((name, scale), sum)| ((*name).to_owned(), decimal(*sum, *scale))).collect()
    }
}

/// `value × 10^-scale` in plain digits, always with all its decimals.
pub(crate) fn decimal(value: i128, scale: u8) -> String {
    if scale == 0 {
        return value.to_string();
    }
    let divisor = 10_u128.pow(u32::from(scale));
    let magnitude = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}.{:0width$}", magnitude / divisor, magnitude % divisor, width = usize::from(scale))
}

/// Divides, rounding half away from zero; `divisor` is above 0.
pub(crate) fn divide(dividend: i64, divisor: i64) -> i64 {
    let half = if dividend < 0 { -divisor } else { divisor };
    (2 * dividend + half) / (2 * divisor)
}

/// One bit for each customer.
#[derive(Debug)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(crate) fn new(bits: u64) -> Self {
        let words = usize::try_from(bits.div_ceil(64)).expect("options keep customers below a billion");
        Self { words: vec![0; words] }
    }

    pub(crate) fn get(&self, bit: u64) -> bool {
        (self.words[(bit / 64) as usize] >> (bit % 64)) & 1 == 1
    }

    /// Sets the bit and tells whether it was set before.
    pub(crate) fn set(&mut self, bit: u64) -> bool {
        let before = self.get(bit);
        self.words[(bit / 64) as usize] |= 1 << (bit % 64);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_plain() {
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(123_456, 4), "12.3456");
        assert_eq!(decimal(7, 0), "7");
        assert_eq!(decimal(0, 2), "0.00");
    }

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!(divide(5, 2), 3);
        assert_eq!(divide(-5, 2), -3);
        assert_eq!(divide(4, 3), 1);
        assert_eq!(divide(-4, 3), -1);
        assert_eq!(divide(0, 7), 0);
    }

    #[test]
    fn bits_remember() {
        let mut bitmap = Bitmap::new(65);
        assert!(!bitmap.set(64));
        assert!(bitmap.set(64));
        assert!(!bitmap.get(63));
    }
}
