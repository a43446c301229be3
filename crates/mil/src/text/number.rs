//! Floats in C's hexadecimal notation (C17, 6.4.4.2 and `%a`).

use anemone_tensor::num::f64_of;
use std::fmt::Write;

const FRACTION_BITS: u32 = 52;

/// Appends a finite or infinite float, or `nan`, as C's `%a` writes it.
pub(super) fn write_hex(out: &mut String, value: f64) {
    let bits = value.to_bits();
    if value.is_nan() {
        return out.push_str("nan");
    }
    if bits >> 63 == 1 {
        out.push('-');
    }
    if value.is_infinite() {
        return out.push_str("inf");
    }
    if value == 0.0 {
        return out.push_str("0x0p+0");
    }
    let (fraction, exponent) = normalised(bits);
    out.push_str("0x1");
    if fraction != 0 {
        let digits = format!("{fraction:013x}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
    let sign = if exponent < 0 { "" } else { "+" };
    write!(out, "p{sign}{exponent}").unwrap_or_default();
}

/// The 52 fraction bits after a leading 1, and the exponent, of a finite non-zero float.
fn normalised(bits: u64) -> (u64, i64) {
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let biased = i64::try_from((bits >> FRACTION_BITS) & 0x7ff).unwrap_or(0);
    if biased > 0 {
        return (fraction, biased - 1023);
    }
    let shift = fraction.leading_zeros().saturating_sub(11);
    let shifted = (fraction << shift) & ((1 << FRACTION_BITS) - 1);
    (shifted, -1022 - i64::from(shift))
}

/// The float of a decimal or hexadecimal text, `inf` and `nan` included.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let value = match magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        Some(hex) => parse_hex(hex)?,
        None => match magnitude {
            "inf" => f64::INFINITY,
            "nan" => f64::NAN,
            _ if magnitude.starts_with(|c: char| c.is_ascii_digit() || c == '.') => magnitude.parse().ok()?,
            _ => return None,
        },
    };
    Some(if negative { -value } else { value })
}

/// Digits beyond 60 bits are rounded to odd, so that one correct rounding follows.
fn parse_hex(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.find(['p', 'P']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut mantissa, mut scale) = (0i64, i64::from(exponent));
    for (i, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = i64::from(c.to_digit(16)?);
        let fractional = i >= whole.len();
        if mantissa >> 56 == 0 {
            mantissa = mantissa * 16 + digit;
            scale -= if fractional { 4 } else { 0 };
        } else {
            mantissa |= i64::from(digit != 0);
            scale += if fractional { 0 } else { 4 };
        }
    }
    Some(scaled(f64_of(mantissa), scale))
}

/// `value * 2^exponent`.
fn scaled(mut value: f64, exponent: i64) -> f64 {
    const STEP: i64 = 1000;
    let mut left = exponent.clamp(-3000, 3000);
    while left != 0 && value != 0.0 {
        let step = left.clamp(-STEP, STEP);
        value *= 2f64.powi(i32::try_from(step).unwrap_or(0));
        left -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(v: f64) -> String {
        let mut s = String::new();
        write_hex(&mut s, v);
        s
    }

    /// Expected texts are those of C's `printf("%a")`.
    #[test]
    fn floats_print_as_c_prints_them() {
        let cases: [(f64, &str); 10] = [
            (2.0, "0x1p+1"),
            (0.0, "0x0p+0"),
            (-0.0, "-0x0p+0"),
            (5.960_464_477_539_063e-8, "0x1p-24"),
            (10000.0, "0x1.388p+13"),
            (-0.1, "-0x1.999999999999ap-4"),
            (f64::NEG_INFINITY, "-inf"),
            (1.0 / 3.0, "0x1.5555555555555p-2"),
            (f64::MAX, "0x1.fffffffffffffp+1023"),
            (f64::MIN_POSITIVE, "0x1p-1022"),
        ];
        for (value, text) in cases {
            assert_eq!(hex(value), text);
            assert_eq!(parse_float(text).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
    }

    #[test]
    fn subnormal_floats_come_back() {
        for bits in [1u64, 3, 0x000f_ffff_ffff_ffff, 0x0008_0000_0000_0001] {
            let v = f64::from_bits(bits);
            assert_eq!(parse_float(&hex(v)).map(f64::to_bits), Some(bits), "{}", hex(v));
        }
        assert_eq!(parse_float("0x0.8p-1022"), Some(f64::MIN_POSITIVE / 2.0));
    }

    #[test]
    fn malformed_numbers_are_refused() {
        for text in
            ["", "-", "0x", "0xp1", "0x1p", "1.2.3", "infinity", "NaN", "0x1.g", "1e", "0x1p+99999999999"]
        {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }
}
