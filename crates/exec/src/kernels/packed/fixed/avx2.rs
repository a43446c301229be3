//! Kernels for AVX2, whose shuffles look up bytes in tables of 16: the low and the high bytes of entries apart.

use super::rows::{Dot, each_row, prefetch};
use super::{Activations, BLOCK};
use crate::kernels::packed::product::STREAMS;
use crate::kernels::packed::{Code, PackedMatrix};
use std::arch::x86_64::*;
use std::ops::Range;

/// Sums of all lanes, of all rows at once.
#[inline(always)]
fn total(sums: [__m256; STREAMS]) -> [f32; STREAMS] {
    // SAFETY: the callers have the features.
    unsafe {
        let [a, b, c, d] = sums;
        let four = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        std::mem::transmute(_mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four)))
    }
}

macro_rules! sums_256 {
    () => {
        type Sums = __m256;
        #[inline(always)]
        fn zero() -> __m256 {
            // SAFETY: the callers of the kernel have the features.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        fn total(sums: [__m256; STREAMS]) -> [f32; STREAMS] {
            total(sums)
        }
    };
}

/// The activations of block `at`, and of vector `t` from there on.
#[inline(always)]
unsafe fn load(x: &Activations<'_>, at: usize, t: usize) -> __m256i {
    // SAFETY: the contract of a step.
    unsafe { _mm256_loadu_si256(x.numbers.as_ptr().add(at * BLOCK + t * 16).cast()) }
}

/// Two vectors of 32 bits in the halves of one.
#[inline(always)]
fn halves(low: f32, high: f32) -> __m256 {
    // SAFETY: the callers have the features.
    unsafe { _mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low)) }
}

/// Codes of 1, 2 or 4 bits: low and high bytes of the entries, and for codes of 4 bits scales of which half a block
/// has `per_half`.
#[derive(Clone, Copy)]
struct Codes<'a, const BITS: usize> {
    low: __m256i,
    high: __m256i,
    scales: &'a [f32],
    per_half: usize,
}

impl<const BITS: usize> Codes<'_, BITS> {
    /// The factor of load `i` of a step: its units, or its unit and its short scales.
    #[inline(always)]
    unsafe fn factor(&self, x: &Activations<'_>, at: usize, i: usize) -> __m256 {
        // SAFETY: the contract of a step: as many units as blocks.
        unsafe {
            let unit = *x.units.as_ptr().add(at);
            if BITS == 1 {
                return halves(unit, *x.units.as_ptr().add(at + 1));
            }
            if BITS < 4 || self.scales.is_empty() {
                return _mm256_set1_ps(unit);
            }
            // The halves of the sums are those of 32 codes each.
            let at = (at * 2 + i) * self.per_half;
            let (low, high) = (self.scales.get(at), self.scales.get(at + self.per_half - 1));
            halves(low.copied().unwrap_or(0.0) * unit, high.copied().unwrap_or(0.0) * unit)
        }
    }

    /// Products of the lowest codes of bytes with two vectors of activations.
    #[inline(always)]
    unsafe fn pair(&self, codes: __m256i, x: [__m256i; 2]) -> __m256i {
        // SAFETY: the callers have the features.
        unsafe {
            let (low, high) = (_mm256_shuffle_epi8(self.low, codes), _mm256_shuffle_epi8(self.high, codes));
            _mm256_add_epi32(
                _mm256_madd_epi16(_mm256_unpacklo_epi8(low, high), x[0]),
                _mm256_madd_epi16(_mm256_unpackhi_epi8(low, high), x[1]),
            )
        }
    }
}

impl<'w, const BITS: usize> Dot<'w> for Codes<'w, BITS> {
    const BLOCKS: usize = if BITS == 1 { 2 } else { 1 };
    const BYTES: usize = if BITS == 4 { 64 } else { 32 };
    sums_256!();

    #[inline(always)]
    fn of_row(table: &'w [u8], scales: &'w [f32], segment: usize) -> Self {
        assert!(table.len() >= 64);
        // SAFETY: 32 bytes each; the callers have the features.
        let (low, high) = unsafe {
            (_mm256_loadu_si256(table.as_ptr().cast()), _mm256_loadu_si256(table.as_ptr().add(32).cast()))
        };
        Self { low, high, scales, per_half: 64 / segment.min(64) }
    }

    #[inline(always)]
    unsafe fn step(
        rows: &[Self; STREAMS],
        p: [*const u8; STREAMS],
        x: &Activations<'_>,
        at: usize,
        sums: &mut [__m256; STREAMS],
    ) {
        // SAFETY: the contract.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            for i in 0..Self::BYTES / 32 {
                // Four products of pairs at a time: what 32 bits hold.
                for two in 0..4 / BITS {
                    let t = (i + two) * 4;
                    let first = [load(x, at, t), load(x, at, t + 1)];
                    let second = [load(x, at, t + 2), load(x, at, t + 3)];
                    for ((row, p), total) in rows.iter().zip(p).zip(&mut *sums) {
                        let p = p.add(i * 32);
                        if two == 0 {
                            prefetch(p);
                        }
                        let codes = _mm256_loadu_si256(p.cast());
                        let codes = _mm256_srl_epi16(codes, _mm_cvtsi32_si128((two * 2 * BITS) as i32));
                        let next = _mm256_srl_epi16(codes, _mm_cvtsi32_si128(BITS as i32));
                        let sum = _mm256_add_epi32(
                            row.pair(_mm256_and_si256(codes, mask), first),
                            row.pair(_mm256_and_si256(next, mask), second),
                        );
                        let factor = row.factor(x, at, i);
                        *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, *total);
                    }
                }
            }
        }
    }
}

/// 8-bit integers.
#[derive(Clone, Copy)]
struct Bytes<const SIGNED: bool>;

impl<const SIGNED: bool> Dot<'_> for Bytes<SIGNED> {
    const BLOCKS: usize = 1;
    const BYTES: usize = 128;
    sums_256!();

    #[inline(always)]
    fn of_row(_: &[u8], _: &[f32], _: usize) -> Self {
        Self
    }

    #[inline(always)]
    unsafe fn step(
        _: &[Self; STREAMS],
        p: [*const u8; STREAMS],
        x: &Activations<'_>,
        at: usize,
        totals: &mut [__m256; STREAMS],
    ) {
        // SAFETY: the contract.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); STREAMS];
            for t in 0..8 {
                let x = load(x, at, t);
                for (p, sum) in p.into_iter().zip(&mut sums) {
                    let p = p.add(t * 16);
                    prefetch(p);
                    let raw = _mm_loadu_si128(p.cast());
                    let wide = if SIGNED { _mm256_cvtepi8_epi16(raw) } else { _mm256_cvtepu8_epi16(raw) };
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(wide, x));
                }
            }
            let unit = _mm256_set1_ps(*x.units.as_ptr().add(at));
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), unit, *total);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn rows(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
    match w.code {
        Code::Int { bits: 8, signed: true } => each_row::<Bytes<true>>(w, x, rows, out),
        Code::Int { bits: 8, .. } => each_row::<Bytes<false>>(w, x, rows, out),
        Code::Index { bits: 1 } => each_row::<Codes<'_, 1>>(w, x, rows, out),
        Code::Index { bits: 2 } => each_row::<Codes<'_, 2>>(w, x, rows, out),
        _ => each_row::<Codes<'_, 4>>(w, x, rows, out),
    }
}
