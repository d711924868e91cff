//! Numbers, exactly or not at all.
//!
//! Binary form: `numeric_send` (`src/backend/utils/adt/numeric.c`): four 16-bit fields (number of digits, weight of the first one, sign,
//! digits shown after the point), then the digits, each from 0 to 9999. The value is the sum of `digit * 10000^(weight - place)`.

use std::io::Write as _;

use arrow::datatypes::i256;

use super::unfit::Unfit;
use super::wire::{Wire, exactly};
use crate::postgres::types::PostgresType;

const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// Decimal digits in a digit of the wire.
const GROUP: i32 = 4;

/// Powers of ten that fit 64 bits.
const POWERS: [u64; 19] = {
    let mut powers = [1_u64; 19];
    let mut place = 1;
    while place < powers.len() {
        powers[place] = powers[place - 1] * 10;
        place += 1;
    }
    powers
};

/// A numeric on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeric<'a> {
    weight: i32,
    sign: u16,
    /// Digits shown after the point.
    scale: u16,
    /// The digits, two bytes each.
    digits: &'a [u8],
}

/// Integers that decimals are made of.
trait Integer: Copy {
    const ZERO: Self;
    fn times_plus(self, factor: u16, addend: u16) -> Option<Self>;
    fn times(self, factor: u64) -> Option<Self>;
}

impl Integer for i128 {
    const ZERO: Self = 0;
    fn times_plus(self, factor: u16, addend: u16) -> Option<Self> {
        self.checked_mul(Self::from(factor))?.checked_add(Self::from(addend))
    }
    fn times(self, factor: u64) -> Option<Self> {
        self.checked_mul(Self::from(factor))
    }
}

impl Integer for i256 {
    const ZERO: Self = Self::ZERO;
    fn times_plus(self, factor: u16, addend: u16) -> Option<Self> {
        self.checked_mul(Self::from_i128(i128::from(factor)))?.checked_add(Self::from_i128(i128::from(addend)))
    }
    fn times(self, factor: u64) -> Option<Self> {
        self.checked_mul(Self::from_i128(i128::from(factor)))
    }
}

impl<'a> Numeric<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Unfit> {
        let mut wire = Wire(bytes);
        let count = usize::from(wire.u16()?);
        let weight = i32::from(wire.i16()?);
        let sign = wire.u16()?;
        let scale = wire.u16()?;
        let digits = wire.bytes(count * 2)?;
        wire.end()?;
        if !matches!(sign, 0 | NEGATIVE | NOT_A_NUMBER | INFINITY | MINUS_INFINITY) {
            return Err(Unfit::Malformed("its sign is unknown"));
        }
        if digits.chunks_exact(2).any(|digit| digit > 9999_u16.to_be_bytes().as_slice()) {
            return Err(Unfit::Malformed("a digit is above 9999"));
        }
        Ok(Self { weight, sign, scale, digits })
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator + Clone + 'a {
        self.digits.chunks_exact(2).map(|digit| digit.first_chunk().copied().map_or(0, u16::from_be_bytes))
    }

    fn finite(&self) -> Result<(), Unfit> {
        if matches!(self.sign, 0 | NEGATIVE) { Ok(()) } else { Err(Unfit::NotFinite) }
    }

    /// The magnitude in units of `10^-scale`.
    fn magnitude<I: Integer>(&self, scale: i32) -> Result<I, Unfit> {
        let mut units = I::ZERO;
        let mut below = 0;
        for (place, digit) in (0..).zip(self.digits()) {
            // The power of ten that one of this digit stands for, in units.
            let power = GROUP * (self.weight - place) + scale;
            below = power;
            if power >= 0 {
                units = units.times_plus(10_000, digit).ok_or(Unfit::Range)?;
            } else if power > -GROUP {
                let (kept, cut) = match power {
                    -1 => (1000, 10),
                    -2 => (100, 100),
                    _ => (10, 1000),
                };
                if digit % cut != 0 {
                    return Err(Unfit::Fraction);
                }
                units = units.times_plus(kept, digit / cut).ok_or(Unfit::Range)?;
            } else if digit != 0 {
                return Err(Unfit::Fraction);
            }
        }
        while below > 0 {
            let step = below.min(18);
            let factor = POWERS.get(usize::try_from(step).unwrap_or(0)).copied().unwrap_or(1);
            units = units.times(factor).ok_or(Unfit::Range)?;
            below -= step;
        }
        Ok(units)
    }

    /// In units of `10^-scale`, if it has at most `precision` digits then.
    pub(super) fn decimal(&self, precision: u8, scale: i8) -> Result<i128, Unfit> {
        self.finite()?;
        let magnitude = match self.quick(i32::from(scale)) {
            Some(magnitude) => magnitude,
            None => self.magnitude::<i128>(i32::from(scale))?,
        };
        limited(magnitude, precision)?;
        Ok(if self.sign == NEGATIVE { -magnitude } else { magnitude })
    }

    /// The usual case in 64 bits: at most four digits of the wire, nothing cut off. None says nothing.
    fn quick(&self, scale: i32) -> Option<i128> {
        if self.digits.len() > 8 {
            return None;
        }
        let mut units = 0_u64;
        for digit in self.digits() {
            units = units * 10_000 + u64::from(digit);
        }
        let count = i32::try_from(self.digits.len() / 2).ok()?;
        let shift = GROUP * (self.weight - count + 1) + scale;
        if shift >= 0 {
            return units.checked_mul(*POWERS.get(usize::try_from(shift).ok()?)?).map(i128::from);
        }
        let divisor = *POWERS.get(usize::try_from(-shift).ok()?)?;
        units.is_multiple_of(divisor).then(|| i128::from(units / divisor))
    }

    /// As [`Self::decimal`], for up to 76 digits.
    pub(super) fn wide_decimal(&self, precision: u8, scale: i8) -> Result<i256, Unfit> {
        self.finite()?;
        let magnitude = self.magnitude::<i256>(i32::from(scale))?;
        limited_wide(magnitude, precision)?;
        Ok(if self.sign == NEGATIVE { magnitude.wrapping_neg() } else { magnitude })
    }

    /// As a double, if it is the shortest decimal that reads back as that double.
    pub(super) fn double(&self) -> Result<f64, Unfit> {
        match self.sign {
            NOT_A_NUMBER => return Ok(f64::NAN),
            INFINITY => return Ok(f64::INFINITY),
            MINUS_INFINITY => return Ok(f64::NEG_INFINITY),
            _ => {}
        }
        let mut text = Vec::new();
        self.write(&mut text);
        let number: f64 = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or(Unfit::Inexact)?;
        if !number.is_finite() {
            return Err(Unfit::Range);
        }
        let mut shortest = Vec::new();
        write_plain(number, &mut shortest);
        if significant(&shortest) == significant(&text) { Ok(number) } else { Err(Unfit::Inexact) }
    }

    /// As PostgreSQL prints it (`numeric_out`).
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        match self.sign {
            NOT_A_NUMBER => return into.extend_from_slice(b"NaN"),
            INFINITY => return into.extend_from_slice(b"Infinity"),
            MINUS_INFINITY => return into.extend_from_slice(b"-Infinity"),
            NEGATIVE => into.push(b'-'),
            _ => {}
        }
        let mut digits = self.digits();
        if self.weight < 0 {
            into.push(b'0');
        } else {
            for place in 0..=self.weight {
                let digit = digits.next().unwrap_or(0);
                if place == 0 {
                    write_number(into, i64::from(digit));
                } else {
                    into.extend_from_slice(&four(digit));
                }
            }
        }
        let scale = usize::from(self.scale);
        if scale == 0 {
            return;
        }
        into.push(b'.');
        let end = into.len() + scale;
        // Digits of a number below 1/10000 begin further right.
        for _ in self.weight + 1..0 {
            if into.len() < end {
                into.extend_from_slice(b"0000");
            }
        }
        while into.len() < end {
            into.extend_from_slice(&four(digits.next().unwrap_or(0)));
        }
        into.truncate(end);
    }

    /// Whether it prints as a number.
    pub(super) fn is_finite(&self) -> bool {
        self.finite().is_ok()
    }
}

fn four(digit: u16) -> [u8; 4] {
    let ascii = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [ascii(digit / 1000), ascii(digit / 100), ascii(digit / 10), ascii(digit)]
}

/// The digits of a plain decimal without sign, leading and trailing zeros, and how many of them stand before the point: equal for equal
/// numbers.
fn significant(text: &[u8]) -> (bool, Vec<u8>, i64) {
    let negative = text.first() == Some(&b'-');
    let mut digits = Vec::with_capacity(text.len());
    let (mut before_point, mut after_point) = (0_i64, false);
    for byte in text {
        match byte {
            b'.' => after_point = true,
            b'0'..=b'9' => {
                if digits.is_empty() && *byte == b'0' {
                    before_point -= i64::from(after_point);
                } else {
                    digits.push(*byte);
                    before_point += i64::from(!after_point);
                }
            }
            _ => {}
        }
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() { (false, digits, 0) } else { (negative, digits, before_point) }
}

/// The shortest decimal that reads back as a finite double, without an exponent.
pub(super) fn write_plain(number: f64, into: &mut Vec<u8>) {
    write!(into, "{number}").expect("writing into memory cannot fail");
}

/// Digits, perhaps with a sign, with a point before the last `scale` of them.
pub(super) fn write_pointed(digits: &str, scale: usize, into: &mut Vec<u8>) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    into.extend_from_slice(sign.as_bytes());
    let zeros = (scale + 1).saturating_sub(digits.len());
    let start = into.len();
    into.extend(std::iter::repeat_n(b'0', zeros));
    into.extend_from_slice(digits.as_bytes());
    if scale > 0 {
        into.insert(into.len().saturating_sub(scale).max(start), b'.');
    }
}

/// A whole number.
pub(super) fn write_number(into: &mut Vec<u8>, number: i64) {
    let mut buffer = [0_u8; 20];
    let mut place = buffer.len();
    let mut rest = number.unsigned_abs();
    loop {
        place -= 1;
        if let Some(slot) = buffer.get_mut(place) {
            *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        into.push(b'-');
    }
    into.extend_from_slice(buffer.get(place..).unwrap_or_default());
}

fn limited(magnitude: i128, precision: u8) -> Result<(), Unfit> {
    if magnitude < 10_i128.pow(u32::from(precision.min(38))) { Ok(()) } else { Err(Unfit::Range) }
}

fn limited_wide(magnitude: i256, precision: u8) -> Result<(), Unfit> {
    let limit = i256::from_i128(10).checked_pow(u32::from(precision.min(76))).ok_or(Unfit::Range)?;
    if magnitude < limit { Ok(()) } else { Err(Unfit::Range) }
}

/// A number of any of PostgreSQL's types.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number<'a> {
    /// A whole number.
    Whole(i64),
    /// A binary floating point number of 32 bits.
    Single(f32),
    /// A binary floating point number of 64 bits.
    Double(f64),
    /// A decimal.
    Decimal(Numeric<'a>),
    /// Hundredths.
    Money(i64),
}

/// Reads one type's bytes as a number.
type NumberReader = for<'a> fn(&'a [u8]) -> Result<Number<'a>, Unfit>;

/// How a type is read as a number; None if it is none.
pub(super) fn reader(type_: &PostgresType) -> Option<NumberReader> {
    Some(match type_ {
        PostgresType::Int2 => |bytes| Ok(Number::Whole(i64::from(i16::from_be_bytes(exactly(bytes)?)))),
        PostgresType::Int4 => |bytes| Ok(Number::Whole(i64::from(i32::from_be_bytes(exactly(bytes)?)))),
        PostgresType::Int8 => |bytes| Ok(Number::Whole(i64::from_be_bytes(exactly(bytes)?))),
        PostgresType::Oid => |bytes| Ok(Number::Whole(i64::from(u32::from_be_bytes(exactly(bytes)?)))),
        PostgresType::Float4 => |bytes| Ok(Number::Single(f32::from_be_bytes(exactly(bytes)?))),
        PostgresType::Float8 => |bytes| Ok(Number::Double(f64::from_be_bytes(exactly(bytes)?))),
        PostgresType::Numeric => |bytes| Ok(Number::Decimal(Numeric::of(bytes)?)),
        PostgresType::Money => |bytes| Ok(Number::Money(i64::from_be_bytes(exactly(bytes)?))),
        _ => return None,
    })
}

impl Number<'_> {
    pub(super) fn int64(self) -> Result<i64, Unfit> {
        match self {
            Self::Whole(number) => Ok(number),
            Self::Money(cents) if cents % 100 == 0 => Ok(cents / 100),
            Self::Money(_) => Err(Unfit::Fraction),
            Self::Decimal(numeric) => i64::try_from(numeric.decimal(38, 0)?).map_err(|_| Unfit::Range),
            Self::Single(number) => Self::Double(f64::from(number)).int64(),
            Self::Double(number) => {
                const LIMIT: f64 = 9_223_372_036_854_775_808.0;
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
        }
    }

    pub(super) fn double(self) -> Result<f64, Unfit> {
        match self {
            Self::Double(number) => Ok(number),
            Self::Single(number) => Ok(f64::from(number)),
            Self::Whole(whole) => {
                let number = whole as f64;
                // Compared as wider integers, since the conversion back would saturate at the ends.
                if number as i128 == i128::from(whole) { Ok(number) } else { Err(Unfit::Inexact) }
            }
            Self::Decimal(numeric) => numeric.double(),
            Self::Money(cents) => {
                let number = cents as f64 / 100.0;
                if cents.unsigned_abs() < 1_000_000_000_000_000 { Ok(number) } else { Err(Unfit::Inexact) }
            }
        }
    }

    pub(super) fn float(self) -> Result<f32, Unfit> {
        let number = self.double()?;
        let narrow = number as f32;
        if f64::from(narrow) == number || number.is_nan() { Ok(narrow) } else { Err(Unfit::Inexact) }
    }

    pub(super) fn decimal(self, precision: u8, scale: i8) -> Result<i128, Unfit> {
        match self {
            Self::Decimal(numeric) => numeric.decimal(precision, scale),
            other => {
                let wide = other.wide_decimal(precision, scale)?;
                wide.to_i128().ok_or(Unfit::Range)
            }
        }
    }

    pub(super) fn wide_decimal(self, precision: u8, scale: i8) -> Result<i256, Unfit> {
        let units = match self {
            Self::Decimal(numeric) => return numeric.wide_decimal(precision, scale),
            Self::Whole(number) => scaled(i256::from_i128(i128::from(number)), i32::from(scale))?,
            Self::Money(cents) => scaled(i256::from_i128(i128::from(cents)), i32::from(scale) - 2)?,
            // The shortest text of a binary number is what it means: 0.1 as a float is 0.1, not 0.100000001490116.
            Self::Single(_) | Self::Double(_) => {
                let mut text = Vec::new();
                match self {
                    Self::Single(number) if number.is_finite() => write!(text, "{number}").expect("writing into memory cannot fail"),
                    Self::Double(number) if number.is_finite() => write_plain(number, &mut text),
                    _ => return Err(Unfit::NotFinite),
                }
                let (negative, digits, before_point) = significant(&text);
                let mut units = i256::ZERO;
                for digit in &digits {
                    units = units.times_plus(10, u16::from(digit - b'0')).ok_or(Unfit::Range)?;
                }
                let exponent = before_point - i64::try_from(digits.len()).unwrap_or(i64::MAX);
                let units = scaled(units, i32::try_from(exponent).map_err(|_| Unfit::Range)? + i32::from(scale))?;
                if negative { units.wrapping_neg() } else { units }
            }
        };
        limited_wide(units.wrapping_abs(), precision)?;
        Ok(units)
    }
}

/// `number * 10^shift`, if that is whole.
fn scaled(number: i256, shift: i32) -> Result<i256, Unfit> {
    if number == i256::ZERO {
        return Ok(number);
    }
    // A double has up to 17 digits, and up to 308 zeros behind them.
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs());
    if shift >= 0 {
        return number.checked_mul(power.ok_or(Unfit::Range)?).ok_or(Unfit::Range);
    }
    let power = power.ok_or(Unfit::Fraction)?;
    if number.checked_rem(power) == Some(i256::ZERO) { number.checked_div(power).ok_or(Unfit::Range) } else { Err(Unfit::Fraction) }
}
