//! Kernels for AVX-512.
//!
//! 16-bit entries of a table of at most 32 come from one shuffle of words, which minds no bits above the lowest five:
//! codes of 1, 2 and 4 bits only want shifting. Other codes are brought to bytes, the low and the high bytes of their
//! entries looked up apart and put together.

use super::rows::{Dot, each_row, prefetch};
use super::{Activations, BLOCK};
use crate::kernels::packed::product::STREAMS;
use crate::kernels::packed::{Code, PackedMatrix};
use std::arch::x86_64::*;
use std::ops::Range;

#[inline(always)]
unsafe fn multiply_add<const VNNI: bool>(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller has the features.
    unsafe { if VNNI { dot(sum, a, b) } else { _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)) } }
}

/// `_mm512_dpwssd_epi32`, which LLVM takes apart into a product and a sum where they follow one another: that
/// costs a fifth of the rate.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: one instruction between registers.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {sum}, {a}, {b}",
            sum = inout(zmm_reg) sum,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Sums of all lanes, of all rows at once.
#[inline(always)]
fn total(sums: [__m512; STREAMS]) -> [f32; STREAMS] {
    // SAFETY: the callers have the features.
    unsafe {
        // Loops and no closures wherever intrinsics are: what LLVM leaves a call lacks the features and is slow.
        let mut halves = [_mm256_setzero_ps(); STREAMS];
        for (half, v) in halves.iter_mut().zip(sums) {
            *half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
        }
        let [a, b, c, d] = halves;
        let four = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        std::mem::transmute(_mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four)))
    }
}

macro_rules! sums_512 {
    () => {
        type Sums = __m512;
        #[inline(always)]
        fn zero() -> __m512 {
            // SAFETY: the callers of the kernel have the features.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        fn total(sums: [__m512; STREAMS]) -> [f32; STREAMS] {
            total(sums)
        }
    };
}

/// The activations of block `at`, and of vector `t` from there on.
#[inline(always)]
unsafe fn load(x: &Activations<'_>, at: usize, t: usize) -> __m512i {
    // SAFETY: the contract of a step.
    unsafe { _mm512_loadu_si512(x.numbers.as_ptr().add(at * BLOCK + t * 32).cast()) }
}

/// Codes of 1, 2 or 4 bits and their entries; when `SHORT`, codes of 4 bits with scales of which a block has
/// `per_block`.
#[derive(Clone, Copy)]
struct Words<'a, const BITS: usize, const VNNI: bool, const SHORT: bool> {
    table: __m512i,
    scales: &'a [f32],
    per_block: usize,
}

impl<const BITS: usize, const VNNI: bool, const SHORT: bool> Words<'_, BITS, VNNI, SHORT> {
    /// The units of the blocks of a step, each in the lanes of its codes.
    #[inline(always)]
    unsafe fn units(x: &Activations<'_>, at: usize) -> __m512 {
        // SAFETY: the contract of a step: as many units as blocks.
        unsafe {
            let p = x.units.as_ptr().add(at);
            match BITS {
                4 => _mm512_set1_ps(*p),
                2 => _mm512_insertf32x8::<1>(_mm512_set1_ps(*p), _mm256_set1_ps(*p.add(1))),
                _ => {
                    let spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                    _mm512_permutexvar_ps(spread, _mm512_castps128_ps512(_mm_loadu_ps(p)))
                }
            }
        }
    }

    /// Short scales of block `at`, each in the lanes of its codes.
    #[inline(always)]
    unsafe fn scales(&self, at: usize) -> __m512 {
        // SAFETY: masked lanes are not read.
        unsafe {
            let spread = match self.per_block {
                4 => _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                _ => _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
            };
            let at = at * self.per_block;
            let mask = (1u32 << self.per_block.min(self.scales.len() - at)) - 1;
            let some = _mm512_maskz_loadu_ps(mask as u16, self.scales.as_ptr().add(at));
            _mm512_permutexvar_ps(spread, some)
        }
    }
}

impl<'w, const BITS: usize, const VNNI: bool, const SHORT: bool> Dot<'w> for Words<'w, BITS, VNNI, SHORT> {
    const BLOCKS: usize = 4 / BITS;
    const BYTES: usize = 64;
    sums_512!();

    #[inline(always)]
    fn of_row(table: &'w [u8], scales: &'w [f32], segment: usize) -> Self {
        Self { table: words(table), scales, per_block: BLOCK / segment.min(BLOCK) }
    }

    #[inline(always)]
    unsafe fn step(
        rows: &[Self; STREAMS],
        p: [*const u8; STREAMS],
        x: &Activations<'_>,
        at: usize,
        sums: &mut [__m512; STREAMS],
    ) {
        // SAFETY: the contract.
        unsafe {
            let unit = Self::units(x, at);
            // Four products of pairs at a time: what 32 bits hold.
            for four in 0..4 / BITS {
                let t = four * 4;
                let x = [load(x, at, t), load(x, at, t + 1), load(x, at, t + 2), load(x, at, t + 3)];
                for ((row, p), total) in rows.iter().zip(p).zip(&mut *sums) {
                    if four == 0 {
                        prefetch(p);
                    }
                    let codes = _mm512_loadu_si512(p.cast());
                    let mut sum = _mm512_setzero_si512();
                    for (t, x) in x.into_iter().enumerate() {
                        let n = ((four * 4 + t) * BITS) as u32;
                        let codes = if n == 0 { codes } else { _mm512_srl_epi16(codes, shift(n)) };
                        sum = multiply_add::<VNNI>(sum, _mm512_permutexvar_epi16(codes, row.table), x);
                    }
                    let factor = if SHORT { _mm512_mul_ps(unit, row.scales(at)) } else { unit };
                    *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, *total);
                }
            }
        }
    }
}

/// A number of bits to shift by, which unrolled loops turn into an immediate.
#[inline(always)]
fn shift(n: u32) -> __m128i {
    // SAFETY: the callers have the features.
    unsafe { _mm_cvtsi32_si128(n.cast_signed()) }
}

/// Adds whole numbers in units of block `at`.
#[inline(always)]
unsafe fn settle(totals: &mut [__m512; STREAMS], sums: [__m512i; STREAMS], x: &Activations<'_>, at: usize) {
    // SAFETY: the contract of a step: as many units as blocks.
    unsafe {
        let unit = _mm512_set1_ps(*x.units.as_ptr().add(at));
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), unit, *total);
        }
    }
}

/// 8-bit integers.
#[derive(Clone, Copy)]
struct Bytes<const VNNI: bool, const SIGNED: bool>;

impl<const VNNI: bool, const SIGNED: bool> Dot<'_> for Bytes<VNNI, SIGNED> {
    const BLOCKS: usize = 1;
    const BYTES: usize = 128;
    sums_512!();

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
        totals: &mut [__m512; STREAMS],
    ) {
        // SAFETY: the contract.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); STREAMS];
            for t in 0..4 {
                let x = load(x, at, t);
                for (p, sum) in p.into_iter().zip(&mut sums) {
                    let p = p.add(t * 32);
                    prefetch(p);
                    let raw = _mm256_loadu_si256(p.cast());
                    let wide = if SIGNED { _mm512_cvtepi8_epi16(raw) } else { _mm512_cvtepu8_epi16(raw) };
                    *sum = multiply_add::<VNNI>(*sum, wide, x);
                }
            }
            settle(totals, sums, x, at);
        }
    }
}

/// Indices of 3, 6 or 8 bits into tables of bytes.
#[derive(Clone, Copy)]
struct Indices<'a, const BITS: usize> {
    planes: &'a [u8],
}

impl<const BITS: usize> Indices<'_, BITS> {
    /// 64 codes that start at `p`, each the low bits of a byte.
    ///
    /// # Safety
    /// `p` is readable for as many.
    #[inline(always)]
    unsafe fn codes(p: *const u8) -> __m512i {
        // SAFETY: the contract; masked bytes are not read.
        unsafe {
            if BITS == 8 {
                return _mm512_loadu_si512(p.cast());
            }
            // The bytes of eight codes to every 64 bits, then the codes to bytes.
            let spread: [u8; 64] = std::array::from_fn(|i| (i / 8 * BITS + (i % 8).min(BITS - 1)) as u8);
            let first: [u8; 64] = std::array::from_fn(|i| (i % 8 * BITS) as u8);
            let raw = _mm512_maskz_loadu_epi8(u64::MAX >> (64 - 8 * BITS), p.cast());
            let parted = _mm512_permutexvar_epi8(_mm512_loadu_si512(spread.as_ptr().cast()), raw);
            _mm512_multishift_epi64_epi8(_mm512_loadu_si512(first.as_ptr().cast()), parted)
        }
    }

    /// The low or the high bytes of the entries of codes.
    #[inline(always)]
    unsafe fn look_up(self, high: bool, codes: __m512i) -> __m512i {
        let plane = &self.planes[if high { self.planes.len() / 2 } else { 0 }..];
        assert!(plane.len() >= if BITS < 8 { 64 } else { 256 });
        let p = plane.as_ptr();
        // SAFETY: as many bytes are there.
        unsafe {
            let part = _mm512_loadu_si512(p.cast());
            if BITS < 8 {
                return _mm512_permutexvar_epi8(codes, part);
            }
            let lower = _mm512_permutex2var_epi8(part, codes, _mm512_loadu_si512(p.add(64).cast()));
            let part = _mm512_loadu_si512(p.add(128).cast());
            let upper = _mm512_permutex2var_epi8(part, codes, _mm512_loadu_si512(p.add(192).cast()));
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), lower, upper)
        }
    }
}

impl<'w, const BITS: usize> Dot<'w> for Indices<'w, BITS> {
    const BLOCKS: usize = 1;
    const BYTES: usize = 16 * BITS;
    sums_512!();

    #[inline(always)]
    fn of_row(planes: &'w [u8], _: &[f32], _: usize) -> Self {
        Self { planes }
    }

    #[inline(always)]
    unsafe fn step(
        rows: &[Self; STREAMS],
        p: [*const u8; STREAMS],
        x: &Activations<'_>,
        at: usize,
        totals: &mut [__m512; STREAMS],
    ) {
        // SAFETY: the contract.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); STREAMS];
            for half in 0..2 {
                let x = [load(x, at, 2 * half), load(x, at, 2 * half + 1)];
                for ((row, p), sum) in rows.iter().zip(p).zip(&mut sums) {
                    let p = p.add(half * 8 * BITS);
                    prefetch(p);
                    let codes = Self::codes(p);
                    let (low, high) = (row.look_up(false, codes), row.look_up(true, codes));
                    *sum = multiply_add::<true>(*sum, _mm512_unpacklo_epi8(low, high), x[0]);
                    *sum = multiply_add::<true>(*sum, _mm512_unpackhi_epi8(low, high), x[1]);
                }
            }
            settle(totals, sums, x, at);
        }
    }
}

/// 32 words of a table, from its low and its high bytes.
#[inline(always)]
fn words(planes: &[u8]) -> __m512i {
    assert!(planes.len() >= 64);
    // SAFETY: 32 bytes each; the callers have the features.
    unsafe {
        let low = _mm512_cvtepu8_epi16(_mm256_loadu_si256(planes.as_ptr().cast()));
        let high = _mm512_cvtepu8_epi16(_mm256_loadu_si256(planes.as_ptr().add(32).cast()));
        _mm512_or_si512(low, _mm512_slli_epi16::<8>(high))
    }
}

#[inline(always)]
fn any<const VNNI: bool>(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
    match w.code {
        Code::Int { bits: 8, signed: true } => each_row::<Bytes<VNNI, true>>(w, x, rows, out),
        Code::Int { bits: 8, .. } => each_row::<Bytes<VNNI, false>>(w, x, rows, out),
        Code::Index { bits: 1 } => each_row::<Words<'_, 1, VNNI, false>>(w, x, rows, out),
        Code::Index { bits: 2 } => each_row::<Words<'_, 2, VNNI, false>>(w, x, rows, out),
        _ if w.scales.is_some() && w.segment() < BLOCK => {
            each_row::<Words<'_, 4, VNNI, true>>(w, x, rows, out);
        }
        _ => each_row::<Words<'_, 4, VNNI, false>>(w, x, rows, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni,avx512vbmi,avx2,fma")]
pub(super) fn rows_vbmi(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
    match w.code.bits() {
        3 => each_row::<Indices<'_, 3>>(w, x, rows, out),
        6 => each_row::<Indices<'_, 6>>(w, x, rows, out),
        _ => each_row::<Indices<'_, 8>>(w, x, rows, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vnni,avx2,fma")]
pub(super) fn rows_vnni(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
    any::<true>(w, x, rows, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx2,fma")]
pub(super) fn rows_plain(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
    any::<false>(w, x, rows, out);
}
