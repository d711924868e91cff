//! Floating point numbers as PostgreSQL prints them: the shortest digits that read back, by the rules of `src/common/d2s.c` and `f2s.c`.
//!
//! The standard library finds the shortest digits too, but settles two rare cases otherwise: where two texts are equally near, PostgreSQL
//! takes the even one; and a text that lies exactly between two numbers does not count for either.

use std::io::Write as _;

/// A number being printed.
struct Number<'a> {
    value: f64,
    /// The next numbers of its own width below and above.
    below: f64,
    above: f64,
    /// Whether a text reads as this number.
    reads_back: &'a dyn Fn(&str) -> bool,
}

/// float.c float8out: with an exponent from 1e15 and below 1e-4.
pub(super) fn write_double(number: f64, into: &mut Vec<u8>) {
    let reads_back = |text: &str| text.parse() == Ok(number);
    let shape = Number { value: number, below: number.next_down(), above: number.next_up(), reads_back: &reads_back };
    write(&shape, format!("{number:e}"), 15, into);
}

/// float.c float4out: with an exponent from 1e6 and below 1e-4.
pub(super) fn write_float(number: f32, into: &mut Vec<u8>) {
    let reads_back = |text: &str| text.parse() == Ok(number);
    let (below, above) = (f64::from(number.next_down()), f64::from(number.next_up()));
    let shape = Number { value: f64::from(number), below, above, reads_back: &reads_back };
    write(&shape, format!("{number:e}"), 6, into);
}

/// Digits of `-d.ddde-dd`, without the point, and the exponent of the first one.
fn parts(scientific: &str) -> (Vec<u8>, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa.bytes().filter(u8::is_ascii_digit).collect(), exponent.parse().unwrap_or(0))
}

fn write(number: &Number<'_>, shortest: String, exponent_max: i32, into: &mut Vec<u8>) {
    if !number.value.is_finite() {
        let text: &[u8] = if number.value.is_nan() {
            b"NaN"
        } else if number.value > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        };
        return into.extend_from_slice(text);
    }
    let (mut digits, mut exponent) = parts(&shortest);
    number.make_even(&mut digits, exponent);
    while number.is_between(&digits, exponent) {
        // One digit more than there are, of which one stands before the point.
        let places = digits.len();
        (digits, exponent) = parts(&format!("{:.places$e}", number.value));
    }
    if number.value.is_sign_negative() {
        into.push(b'-');
    }
    if (-4..0).contains(&exponent) {
        into.extend_from_slice(b"0.");
        into.extend(std::iter::repeat_n(b'0', usize::try_from(-exponent - 1).unwrap_or(0)));
        into.extend_from_slice(&digits);
    } else if (0..exponent_max).contains(&exponent) {
        let whole = usize::try_from(exponent + 1).unwrap_or(0);
        let (before, after) = digits.split_at(whole.min(digits.len()));
        into.extend_from_slice(before);
        into.extend(std::iter::repeat_n(b'0', whole - before.len()));
        if !after.is_empty() {
            into.push(b'.');
            into.extend_from_slice(after);
        }
    } else {
        let (before, after) = digits.split_at(1.min(digits.len()));
        into.extend_from_slice(before);
        if !after.is_empty() {
            into.push(b'.');
            into.extend_from_slice(after);
        }
        write!(into, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()).expect("writing into memory cannot fail");
    }
}

impl Number<'_> {
    /// Whether the digits stand for the very middle between this number and one of its neighbours. Only whole numbers beyond the precision
    /// can have so short a middle; from 2^127 on it would have more digits than the shortest text.
    fn is_between(&self, digits: &[u8], exponent: i32) -> bool {
        // 2^126: twice as much still fits 128 bits.
        const WHOLE_MAX: f64 = 85_070_591_730_234_615_865_843_651_857_942_052_864.0;
        if self.value.abs() >= WHOLE_MAX || [self.below, self.value, self.above].into_iter().any(|number| number.fract() != 0.0) {
            return false;
        }
        let mut shown = 0_u128;
        for digit in digits {
            shown = shown * 10 + u128::from(digit - b'0');
        }
        let zeros = exponent + 1 - i32::try_from(digits.len()).unwrap_or(i32::MAX);
        let Some(shown) = u32::try_from(zeros).ok().and_then(|zeros| 10_u128.checked_pow(zeros)).and_then(|power| shown.checked_mul(power))
        else {
            return false;
        };
        let whole = |number: f64| number.abs() as u128;
        [self.below, self.above].into_iter().any(|neighbour| shown * 2 == whole(self.value) + whole(neighbour))
    }

    /// Takes the even one of two last digits that are equally near.
    fn make_even(&self, digits: &mut [u8], exponent: i32) {
        // The exact decimal expansion of a double has up to 767 digits.
        const DIGITS_MAX: usize = 767;
        let places = digits.len();
        if digits.last().is_none_or(|last| last % 2 == 0) || !format!("{:.places$e}", self.value).contains("5e") {
            return;
        }
        let (exact, _) = parts(&format!("{:.DIGITS_MAX$e}", self.value));
        let beyond = exact.get(places..).unwrap_or_default();
        if beyond.first() != Some(&b'5') || beyond.iter().skip(1).any(|digit| *digit != b'0') {
            return;
        }
        let Some((last, before)) = digits.split_last_mut() else { return };
        // A tie is resolved upwards by the standard library, so the even digit is the one below.
        let text =
            format!("{}{}e{}", String::from_utf8_lossy(before), char::from(*last - 1), exponent + 1 - i32::try_from(places).unwrap_or(0));
        let text = if self.value.is_sign_negative() { format!("-{text}") } else { text };
        if (self.reads_back)(&text) {
            *last -= 1;
        }
    }
}
