//! Element codecs: packed little-endian bytes to numbers and back.

use crate::{DType, num};
use half::{bf16, f16};

/// Reads `n` bits at bit position `at`, least significant bit first.
fn bits_at(bytes: &[u8], at: usize, n: usize) -> u8 {
    let (byte, shift) = (at / 8, at % 8);
    let low = u16::from(bytes[byte]);
    let high = if shift + n > 8 { u16::from(bytes[byte + 1]) } else { 0 };
    let v = ((high << 8 | low) >> shift) & ((1 << n) - 1);
    v.to_le_bytes()[0]
}

/// Writes the low `n` bits of `v` at bit position `at`; the target bits must be zero.
fn put_bits(bytes: &mut [u8], at: usize, n: usize, v: u8) {
    let (byte, shift) = (at / 8, at % 8);
    let wide = (u16::from(v) & ((1 << n) - 1)) << shift;
    let [low, high] = wide.to_le_bytes();
    bytes[byte] |= low;
    if high != 0 {
        bytes[byte + 1] |= high;
    }
}

fn f8_to_f64(v: u8, exp_bits: i32, man_bits: i32, fn_variant: bool) -> f64 {
    let sign = if v & 0x80 != 0 { -1.0 } else { 1.0 };
    let man_mask = (1i32 << man_bits) - 1;
    let man = i32::from(v) & man_mask;
    let exp = (i32::from(v) >> man_bits) & ((1 << exp_bits) - 1);
    let bias = (1 << (exp_bits - 1)) - 1;
    let top = (1 << exp_bits) - 1;
    if fn_variant && exp == top && man == man_mask {
        return f64::NAN;
    }
    if !fn_variant && exp == top {
        return if man == 0 { sign * f64::INFINITY } else { f64::NAN };
    }
    let scale = f64::from(man) / f64::from(1 << man_bits);
    if exp == 0 { sign * scale * 2f64.powi(1 - bias) } else { sign * (1.0 + scale) * 2f64.powi(exp - bias) }
}

fn f64_to_f8(v: f64, exp_bits: i32, man_bits: i32, fn_variant: bool) -> u8 {
    let sign = if v.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = v.abs();
    let mut best = (f64::INFINITY, 0u8);
    if v.is_nan() {
        return sign | 0x7f;
    }
    for code in 0u8..0x80 {
        let value = f8_to_f64(code, exp_bits, man_bits, fn_variant);
        let gap = if value == magnitude { 0.0 } else { (value - magnitude).abs() };
        if gap < best.0 || (gap == best.0 && code % 2 == 0) {
            best = (gap, code);
        }
    }
    sign | best.1
}

macro_rules! le {
    ($ty:ty, $bytes:expr, $i:expr) => {{
        const N: usize = size_of::<$ty>();
        let mut raw = [0u8; N];
        raw.copy_from_slice(&$bytes[$i * N..$i * N + N]);
        <$ty>::from_le_bytes(raw)
    }};
}

/// Element `i` of packed `bytes` as a number; exact except for 64-bit integers beyond 2^53.
///
/// # Panics
/// When `bytes` is shorter than element `i` needs.
pub fn read_f64(dtype: DType, bytes: &[u8], i: usize) -> f64 {
    match dtype {
        DType::F16 => f16::to_f64(le!(f16, bytes, i)),
        DType::Bf16 => bf16::to_f64(le!(bf16, bytes, i)),
        DType::F32 => f64::from(le!(f32, bytes, i)),
        DType::F64 => le!(f64, bytes, i),
        DType::F8E4M3 => f8_to_f64(bytes[i], 4, 3, true),
        DType::F8E5M2 => f8_to_f64(bytes[i], 5, 2, false),
        _ => num::f64_of(read_i64(dtype, bytes, i)),
    }
}

/// Element `i` of packed `bytes` as an integer; floats are truncated toward zero, `u64` saturates.
///
/// # Panics
/// When `bytes` is shorter than element `i` needs.
pub fn read_i64(dtype: DType, bytes: &[u8], i: usize) -> i64 {
    match dtype {
        DType::Bool => i64::from(bytes[i] != 0),
        DType::I8 => i64::from(le!(i8, bytes, i)),
        DType::U8 => i64::from(bytes[i]),
        DType::I16 => i64::from(le!(i16, bytes, i)),
        DType::U16 => i64::from(le!(u16, bytes, i)),
        DType::I32 => i64::from(le!(i32, bytes, i)),
        DType::U32 => i64::from(le!(u32, bytes, i)),
        DType::I64 => le!(i64, bytes, i),
        DType::U64 => i64::try_from(le!(u64, bytes, i)).unwrap_or(i64::MAX),
        DType::I4 => {
            let v = i64::from(bits_at(bytes, i * 4, 4));
            if v >= 8 { v - 16 } else { v }
        }
        DType::U1 | DType::U2 | DType::U3 | DType::U4 | DType::U6 => {
            i64::from(bits_at(bytes, i * dtype.bits(), dtype.bits()))
        }
        DType::String => 0,
        _ => num::i64_trunc(read_f64(dtype, bytes, i)),
    }
}

/// Writes `v` as element `i`; floats round to nearest even, integers truncate and saturate.
///
/// Sub-byte targets must still be zero: write each element once.
///
/// # Panics
/// When `bytes` is shorter than element `i` needs.
pub fn write_f64(dtype: DType, bytes: &mut [u8], i: usize, v: f64) {
    match dtype {
        DType::F16 => put(bytes, i, &f16::from_f64(v).to_le_bytes()),
        DType::Bf16 => put(bytes, i, &bf16::from_f64(v).to_le_bytes()),
        DType::F32 => put(bytes, i, &num::f32_of(v).to_le_bytes()),
        DType::F64 => put(bytes, i, &v.to_le_bytes()),
        DType::F8E4M3 => bytes[i] = f64_to_f8(v, 4, 3, true),
        DType::F8E5M2 => bytes[i] = f64_to_f8(v, 5, 2, false),
        DType::Bool => bytes[i] = u8::from(v != 0.0),
        _ => write_i64(dtype, bytes, i, num::i64_trunc(v)),
    }
}

/// Writes integer `v` as element `i`, saturated to the range of `dtype`.
///
/// # Panics
/// When `bytes` is shorter than element `i` needs.
pub fn write_i64(dtype: DType, bytes: &mut [u8], i: usize, v: i64) {
    let Some((low, high)) = dtype.int_range() else {
        if dtype != DType::String {
            write_f64(dtype, bytes, i, num::f64_of(v));
        }
        return;
    };
    let raw = v.clamp(low, high).to_le_bytes();
    match dtype.bits() {
        n @ 1..8 => put_bits(bytes, i * n, n, raw[0]),
        n => put(bytes, i, &raw[..n / 8]),
    }
}

fn put(bytes: &mut [u8], i: usize, raw: &[u8]) {
    bytes[i * raw.len()..(i + 1) * raw.len()].copy_from_slice(raw);
}

/// Converts packed floats to `f32`, with a fast path for `fp16` and `fp32`.
pub fn to_f32(dtype: DType, bytes: &[u8], count: usize) -> Vec<f32> {
    match dtype {
        DType::F32 => bytes.as_chunks::<4>().0.iter().take(count).map(|c| f32::from_le_bytes(*c)).collect(),
        DType::F16 => {
            bytes.as_chunks::<2>().0.iter().take(count).map(|c| f16::from_le_bytes(*c).to_f32()).collect()
        }
        _ => (0..count).map(|i| num::f32_of(read_f64(dtype, bytes, i))).collect(),
    }
}

/// Converts `count` elements from one packed type to another; see [`write_f64`] and [`write_i64`] for
/// rounding and saturation.
pub fn convert(from: DType, to: DType, bytes: &[u8], count: usize) -> Vec<u8> {
    let mut out = vec![0u8; to.packed_len(count).unwrap_or(0)];
    if from == DType::F32 && to == DType::F16 {
        let pairs = bytes.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<2>().0);
        pairs.for_each(|(src, dst)| *dst = f16::from_f32(f32::from_le_bytes(*src)).to_le_bytes());
        return out;
    }
    let through_int = from.is_int() || from == DType::Bool;
    for i in 0..count {
        if to == DType::Bool {
            out[i] = u8::from(read_f64(from, bytes, i) != 0.0);
        } else if through_int && to.is_int() {
            write_i64(to, &mut out, i, read_i64(from, bytes, i));
        } else {
            write_f64(to, &mut out, i, read_f64(from, bytes, i));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_byte_values_are_packed_least_significant_bit_first() {
        let mut out = vec![0u8; 3];
        for (i, v) in [1i64, 2, 3, 4, 5, 6, 7, 0].into_iter().enumerate() {
            write_i64(DType::U3, &mut out, i, v);
        }
        assert_eq!(out, [0b1101_0001, 0b0101_1000, 0b0001_1111]);
        let back: Vec<i64> = (0..8).map(|i| read_i64(DType::U3, &out, i)).collect();
        assert_eq!(back, [1, 2, 3, 4, 5, 6, 7, 0]);
    }

    #[test]
    fn every_integer_type_round_trips_its_range() {
        for dtype in DType::ALL.into_iter().filter(|d| d.is_int()) {
            let (low, high) = dtype.int_range().unwrap_or_default();
            let values = [low, low + 1, 0, 1, high - i64::from(high > 1), high];
            let mut out = vec![0u8; dtype.packed_len(values.len()).unwrap_or(0)];
            values.iter().enumerate().for_each(|(i, &v)| write_i64(dtype, &mut out, i, v));
            let back: Vec<i64> = (0..values.len()).map(|i| read_i64(dtype, &out, i)).collect();
            assert_eq!(back, values.map(|v| v.clamp(low, high)), "{dtype}");
        }
    }

    #[test]
    fn eight_bit_floats_match_their_published_extremes() {
        assert_eq!(read_f64(DType::F8E4M3, &[0x7e], 0), 448.0);
        assert_eq!(read_f64(DType::F8E5M2, &[0x7b], 0), 57344.0);
        let mut byte = [0u8];
        write_f64(DType::F8E4M3, &mut byte, 0, -1.5);
        assert_eq!(read_f64(DType::F8E4M3, &byte, 0), -1.5);
    }
}
