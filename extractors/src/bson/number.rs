//! Numbers, converted exactly or not at all.

use std::io::Write as _;

use arrow::datatypes::i256;

use super::element::{Value, kind};
use super::unfit::Unfit;

/// A finite decimal: `± coefficient × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(super) negative: bool,
    pub(super) coefficient: u128,
    pub(super) exponent: i32,
}

/// What sixteen bytes of Decimal128 mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decimal128 {
    Finite(Decimal),
    Infinite { negative: bool },
    NotANumber,
}

/// Digits that Decimal128 holds.
const DECIMAL128_DIGITS: u32 = 34;
/// IEEE 754-2008 decimal128 exponents are stored with this bias.
const DECIMAL128_BIAS: i32 = 6176;

impl Decimal128 {
    /// Reads the binary integer encoding of IEEE 754-2008, little-endian, as BSON has it. Coefficients that are out of range
    /// mean zero, as the standard demands.
    pub(super) fn of(value: Value<'_>) -> Self {
        let bits = value.bytes.first_chunk().copied().map_or(0, u128::from_le_bytes);
        let high = (bits >> 64) as u64;
        let negative = high >> 63 == 1;
        match (high >> 58) & 0x1F {
            0x1F => return Self::NotANumber,
            0x1E => return Self::Infinite { negative },
            _ => {}
        }
        // With both leading bits set the coefficient would exceed 34 digits: it is read as zero.
        let (exponent, coefficient) =
            if (high >> 61) & 3 == 3 { ((high >> 47) & 0x3FFF, 0) } else { ((high >> 49) & 0x3FFF, bits & ((1 << 113) - 1)) };
        let coefficient = if coefficient < 10_u128.pow(DECIMAL128_DIGITS) { coefficient } else { 0 };
        let exponent = i32::try_from(exponent).unwrap_or(0) - DECIMAL128_BIAS;
        Self::Finite(Decimal { negative, coefficient, exponent })
    }

    /// Appends the text that the specification of Extended JSON gives it, for example `12.50`, `1E+3`, `NaN`.
    pub(super) fn write(self, into: &mut Vec<u8>) {
        match self {
            Self::NotANumber => into.extend_from_slice(b"NaN"),
            Self::Infinite { negative } => into.extend_from_slice(if negative { b"-Infinity" } else { b"Infinity" }),
            Self::Finite(decimal) => decimal.write(into),
        }
    }
}

/// Greatest exponent, either way, of a number that is written as text: far beyond every type, and safe to add to.
const TEXT_EXPONENT_MAX: u32 = 100_000;

impl Decimal {
    /// A number as JSON writes it, or as `{:e}` does: `-12.50`, `1e-7`.
    pub(crate) fn parse(text: &str) -> Result<Self, Unfit> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        // An exponent that fits no i32 is out of range, unless there is nothing to shift.
        let exponent = exponent.parse::<i32>().ok().filter(|exponent| exponent.unsigned_abs() <= TEXT_EXPONENT_MAX);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let mut coefficient = 0_u128;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(Unfit::Kind);
            }
            coefficient =
                coefficient.checked_mul(10).and_then(|shifted| shifted.checked_add(u128::from(byte - b'0'))).ok_or(Unfit::Range)?;
        }
        if coefficient == 0 {
            return Ok(Self { negative: false, coefficient, exponent: 0 });
        }
        let after_point = i32::try_from(fraction.len()).map_err(|_| Unfit::Range)?;
        Ok(Self { negative, coefficient, exponent: exponent.ok_or(Unfit::Range)? - after_point })
    }

    fn write(self, into: &mut Vec<u8>) {
        let digits = self.coefficient.to_string();
        let digits = digits.as_bytes();
        let adjusted = self.exponent + i32::try_from(digits.len()).unwrap_or(0) - 1;
        if self.negative {
            into.push(b'-');
        }
        if self.exponent > 0 || adjusted < -6 {
            let (first, more) = digits.split_at(1);
            into.extend_from_slice(first);
            if !more.is_empty() {
                into.push(b'.');
                into.extend_from_slice(more);
            }
            into.push(b'E');
            into.push(if adjusted < 0 { b'-' } else { b'+' });
            into.extend_from_slice(adjusted.unsigned_abs().to_string().as_bytes());
        } else {
            let after_point = usize::try_from(-self.exponent).unwrap_or(0);
            if after_point >= digits.len() {
                into.push(b'0');
                if after_point > 0 {
                    into.push(b'.');
                    into.resize(into.len() + after_point - digits.len(), b'0');
                    into.extend_from_slice(digits);
                }
            } else {
                let (before, after) = digits.split_at(digits.len() - after_point);
                into.extend_from_slice(before);
                if !after.is_empty() {
                    into.push(b'.');
                    into.extend_from_slice(after);
                }
            }
        }
    }

    /// The shortest decimal that reads back as `number`; None if it is not finite.
    fn of_double(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        // `{:e}` writes the shortest digits that identify a double, at most 17, as `-d.ddde-ddd`.
        let mut buffer = [0_u8; 40];
        let length = {
            let mut rest: &mut [u8] = &mut buffer;
            write!(rest, "{number:e}").ok()?;
            40 - rest.len()
        };
        let (mut coefficient, mut exponent, mut after_point) = (0_u128, 0_i32, false);
        let mut bytes = buffer.get(..length)?.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'0'..=b'9' => {
                    coefficient = coefficient * 10 + u128::from(byte - b'0');
                    exponent -= i32::from(after_point);
                }
                b'.' => after_point = true,
                b'e' => {
                    let text = std::str::from_utf8(bytes.as_slice()).ok()?;
                    exponent += text.parse::<i32>().ok()?;
                    break;
                }
                _ => {}
            }
        }
        Some(Self { negative: number.is_sign_negative(), coefficient, exponent })
    }

    /// Without trailing zeros, so that equal numbers are equal.
    pub(crate) fn normal(mut self) -> Self {
        if self.coefficient == 0 {
            return Self { negative: false, coefficient: 0, exponent: 0 };
        }
        while self.coefficient.is_multiple_of(10) {
            self.coefficient /= 10;
            self.exponent += 1;
        }
        self
    }

    /// As a whole number of units of `10^-scale`, below `10^precision`.
    pub(crate) fn scaled(self, precision: u8, scale: i8) -> Result<i128, Unfit> {
        let units = self.units(scale)?;
        let (coefficient, shift) = units;
        let power = 10_u128.checked_pow(shift).ok_or(Unfit::Range)?;
        let magnitude = coefficient.checked_mul(power).ok_or(Unfit::Range)?;
        if magnitude >= 10_u128.pow(u32::from(precision.min(38))) {
            return Err(Unfit::Range);
        }
        let magnitude = i128::try_from(magnitude).map_err(|_| Unfit::Range)?;
        Ok(if self.negative { -magnitude } else { magnitude })
    }

    pub(crate) fn scaled_wide(self, precision: u8, scale: i8) -> Result<i256, Unfit> {
        let (coefficient, shift) = self.units(scale)?;
        let ten = i256::from_i128(10);
        let coefficient = i256::from_i128(i128::try_from(coefficient).map_err(|_| Unfit::Range)?);
        let power = ten.checked_pow(shift).ok_or(Unfit::Range)?;
        let magnitude = coefficient.checked_mul(power).ok_or(Unfit::Range)?;
        let limit = ten.checked_pow(u32::from(precision.min(76))).ok_or(Unfit::Range)?;
        if magnitude >= limit {
            return Err(Unfit::Range);
        }
        Ok(if self.negative { magnitude.wrapping_neg() } else { magnitude })
    }

    /// Coefficient and how many zeros to put behind it, so that it counts units of `10^-scale`.
    fn units(self, scale: i8) -> Result<(u128, u32), Unfit> {
        if self.coefficient == 0 {
            return Ok((0, 0));
        }
        let shift = self.exponent + i32::from(scale);
        if shift >= 0 {
            return Ok((self.coefficient, shift.unsigned_abs().min(1000)));
        }
        let divisor = 10_u128.checked_pow(shift.unsigned_abs()).ok_or(Unfit::Fraction)?;
        if self.coefficient.is_multiple_of(divisor) { Ok((self.coefficient / divisor, 0)) } else { Err(Unfit::Fraction) }
    }
}

fn decimal(value: Value<'_>) -> Result<Decimal, Unfit> {
    let whole = |number: i64| Decimal { negative: number < 0, coefficient: u128::from(number.unsigned_abs()), exponent: 0 };
    match value.kind {
        kind::INT32 => Ok(whole(i64::from(value.int32()))),
        kind::INT64 => Ok(whole(value.int64())),
        kind::DOUBLE => Decimal::of_double(value.double()).ok_or(Unfit::NotFinite),
        kind::DECIMAL128 => match Decimal128::of(value) {
            Decimal128::Finite(decimal) => Ok(decimal),
            Decimal128::Infinite { .. } | Decimal128::NotANumber => Err(Unfit::NotFinite),
        },
        _ => Err(Unfit::Kind),
    }
}

/// As units of `10^-scale`, for up to 38 digits. A double counts as the shortest decimal that reads back as itself.
pub(super) fn to_decimal(value: Value<'_>, precision: u8, scale: i8) -> Result<i128, Unfit> {
    if value.kind == kind::DOUBLE
        && let Some(units) = units_of_double(value.double(), scale)
        && units.unsigned_abs() < 10_u128.pow(u32::from(precision.min(38)))
    {
        return Ok(units);
    }
    decimal(value)?.scaled(precision, scale)
}

/// The quick way for doubles that are decimals of at most 15 digits: such a decimal is the only one of its length that reads
/// as this double, so it is the shortest. None says nothing.
fn units_of_double(number: f64, scale: i8) -> Option<i128> {
    const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    let power = POWERS.get(usize::try_from(scale).ok()?)?;
    let units = (number * power).round();
    // Both are exact, and division rounds correctly: equality means that `units / power` reads as `number`.
    if units.abs() < 1e15 && units / power == number { Some(units as i128) } else { None }
}

/// As units of `10^-scale`, for up to 76 digits.
pub(super) fn to_wide_decimal(value: Value<'_>, precision: u8, scale: i8) -> Result<i256, Unfit> {
    decimal(value)?.scaled_wide(precision, scale)
}

/// As a whole number of 64 bits.
pub(super) fn to_int64(value: Value<'_>) -> Result<i64, Unfit> {
    match value.kind {
        kind::INT32 => Ok(i64::from(value.int32())),
        kind::INT64 => Ok(value.int64()),
        kind::DOUBLE => {
            const LIMIT: f64 = 9_223_372_036_854_775_808.0;
            let number = value.double();
            if !number.is_finite() {
                Err(Unfit::NotFinite)
            } else if number.fract() != 0.0 {
                Err(Unfit::Fraction)
            } else if (-LIMIT..LIMIT).contains(&number) {
                Ok(number as i64)
            } else {
                Err(Unfit::Range)
            }
        }
        _ => i64::try_from(decimal(value)?.scaled(38, 0)?).map_err(|_| Unfit::Range),
    }
}

/// As a double. Whole numbers must be exact; a Decimal128 must be the shortest decimal of the double it becomes.
pub(super) fn to_double(value: Value<'_>) -> Result<f64, Unfit> {
    match value.kind {
        kind::DOUBLE => Ok(value.double()),
        kind::INT32 => Ok(f64::from(value.int32())),
        kind::INT64 => {
            let number = value.int64() as f64;
            // Compared as wider integers, since the conversion back would saturate at the ends.
            if number as i128 == i128::from(value.int64()) { Ok(number) } else { Err(Unfit::Inexact) }
        }
        kind::DECIMAL128 => match Decimal128::of(value) {
            Decimal128::NotANumber => Ok(f64::NAN),
            Decimal128::Infinite { negative } => Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
            Decimal128::Finite(decimal) => {
                let mut text = Vec::new();
                decimal.write(&mut text);
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<f64>().ok()).ok_or(Unfit::Inexact)?;
                match Decimal::of_double(number) {
                    Some(back) if back.normal() == decimal.normal() => Ok(number),
                    Some(_) => Err(Unfit::Inexact),
                    None => Err(Unfit::Range),
                }
            }
        },
        _ => Err(Unfit::Kind),
    }
}

/// As a 32-bit float, if it is one exactly.
pub(super) fn to_float(value: Value<'_>) -> Result<f32, Unfit> {
    let number = to_double(value)?;
    let narrow = number as f32;
    if f64::from(narrow) == number || number.is_nan() { Ok(narrow) } else { Err(Unfit::Inexact) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn decimal128(text: &str) -> [u8; 16] {
        ::bson::Decimal128::from_str(text).unwrap().bytes()
    }

    #[test]
    fn a_double_is_the_decimal_people_see() {
        for (number, units) in [(12.5, Ok(1250)), (0.1 + 0.2, Err(Unfit::Fraction)), (-0.01, Ok(-1)), (1e15, Ok(100_000_000_000_000_000))] {
            let bytes = f64::to_le_bytes(number);
            assert_eq!(to_decimal(Value { kind: kind::DOUBLE, bytes: &bytes }, 18, 2), units, "{number}");
        }
        for number in [f64::NAN, f64::INFINITY] {
            let bytes = f64::to_le_bytes(number);
            assert_eq!(to_decimal(Value { kind: kind::DOUBLE, bytes: &bytes }, 18, 2), Err(Unfit::NotFinite));
        }
    }

    #[test]
    fn the_quick_way_agrees_with_the_shortest_text() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..200_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = if round % 2 == 0 { f64::from_bits(state) } else { (state >> 24) as f64 / 100.0 };
            let Some(units) = units_of_double(number, 2) else { continue };
            assert_eq!(Decimal::of_double(number).unwrap().scaled(38, 2), Ok(units), "{number:?}");
        }
    }

    #[test]
    fn decimal128_is_exact_and_has_the_specified_text() {
        for (text, units) in [
            ("12.50", Ok(1250)),
            ("12.5", Ok(1250)),
            ("12.505", Err(Unfit::Fraction)),
            ("12.500000000000000000000000000000000", Ok(1250)),
            ("1E+3", Ok(100_000)),
            ("-0", Ok(0)),
            ("9999999999999999.99", Ok(999_999_999_999_999_999)),
            ("10000000000000000", Err(Unfit::Range)),
            ("1E+6144", Err(Unfit::Range)),
            ("1E-6176", Err(Unfit::Fraction)),
            ("0E-6176", Ok(0)),
            ("NaN", Err(Unfit::NotFinite)),
            ("-Infinity", Err(Unfit::NotFinite)),
        ] {
            let bytes = decimal128(text);
            let value = Value { kind: kind::DECIMAL128, bytes: &bytes };
            assert_eq!(to_decimal(value, 18, 2), units, "{text}");
            let mut written = Vec::new();
            Decimal128::of(value).write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), ::bson::Decimal128::from_bytes(bytes).to_string(), "{text}");
        }
        let bytes = decimal128("9999999999999999999999999999999999");
        let wide = to_wide_decimal(Value { kind: kind::DECIMAL128, bytes: &bytes }, 76, 40).unwrap();
        assert_eq!(wide.to_string(), format!("{}{}", "9".repeat(34), "0".repeat(40)));
    }

    #[test]
    fn whole_numbers_and_doubles_lose_nothing() {
        let bytes = i64::MAX.to_le_bytes();
        assert_eq!(to_double(Value { kind: kind::INT64, bytes: &bytes }), Err(Unfit::Inexact));
        let bytes = (1_i64 << 60).to_le_bytes();
        assert_eq!(to_double(Value { kind: kind::INT64, bytes: &bytes }), Ok((1_i64 << 60) as f64));
        for (number, whole) in
            [(2.0, Ok(2)), (2.5, Err(Unfit::Fraction)), (9.3e18, Err(Unfit::Range)), (-9_223_372_036_854_775_808.0, Ok(i64::MIN))]
        {
            let bytes = f64::to_le_bytes(number);
            assert_eq!(to_int64(Value { kind: kind::DOUBLE, bytes: &bytes }), whole);
        }
        for (text, number) in [("0.1", Ok(0.1)), ("0.10", Ok(0.1)), ("0.1000000000000000055511151231257827", Err(Unfit::Inexact))] {
            let bytes = decimal128(text);
            assert_eq!(to_double(Value { kind: kind::DECIMAL128, bytes: &bytes }), number, "{text}");
        }
        let bytes = 0.1_f64.to_le_bytes();
        assert_eq!(to_float(Value { kind: kind::DOUBLE, bytes: &bytes }), Err(Unfit::Inexact));
    }
}
