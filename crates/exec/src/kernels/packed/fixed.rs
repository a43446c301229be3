//! Products in whole numbers, for results that are rounded to f16 anyway.
//!
//! A multiply-add of 16-bit integers does twice the work of one of f32, and a look-up of 16-bit entries likewise, which
//! is what it takes to keep up with memory when a weight is 4 bits. Activations become multiples of a unit of their
//! own per [`BLOCK`] elements, `2^-14` of the largest (`2^-15` beside integers), entries of a palette multiples of
//! `2^-14` of the largest entry. Half a unit is an eighth of the rounding of an f16 as large as the largest, so what this
//! adds is below what the declared type has already lost; integers are exact. A block's sum is exact in 32 bits and is
//! added up in f32.
//!
//! The order of codes is the one in which shifts and shuffles deliver them ([`Unit::place`]).

use super::{Code, PackedMatrix};
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Activations that share a unit.
pub(super) const BLOCK: usize = 128;
/// Largest multiple for entries of palettes, and for activations beside them: eight products stay below `2^31`.
const FINE: f32 = 16_383.0;
/// Largest multiple for activations beside integers of at most 8 bits.
const FINEST: f32 = 32_767.0;

/// The instructions that such a product is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// AVX-512 BW, with its dot product instructions or without.
    Avx512 {
        /// AVX-512 VNNI.
        vnni: bool,
    },
    /// AVX2.
    Avx2,
}

/// Palettes as multiples of a unit of their own: entries, repeated once, and units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tables {
    pub(super) entries: Vec<[i16; 32]>,
    pub(super) units: Vec<f32>,
}

impl Tables {
    /// The tables of 16 numbers each.
    pub(super) fn of_palettes(values: &[f32]) -> Self {
        let largest = |t: &[f32]| t.iter().fold(0f32, |m, v| m.max(v.abs()));
        let units: Vec<f32> = values.chunks_exact(16).map(|t| largest(t) / FINE).collect();
        let table = |(t, &unit): (&[f32], &f32)| {
            std::array::from_fn(|i| if unit > 0.0 { (t[i % 16] / unit).round() as i16 } else { 0 })
        };
        Self { entries: values.chunks_exact(16).zip(&units).map(table).collect(), units }
    }

    /// The one table of integers.
    pub(super) fn of_integers(signed: bool) -> Self {
        let entry = |i: i16| if signed && i > 7 { i - 16 } else { i };
        Self { entries: vec![std::array::from_fn(|i| entry(i as i16 % 16))], units: vec![1.0] }
    }
}

impl Unit {
    /// How an instruction set multiplies this weight in whole numbers, if it can.
    pub(super) fn choose(weight: &PackedMatrix, isa: Isa) -> Option<Self> {
        let unit = Self::of(isa)?;
        let segment = weight.segment();
        let aligned = segment == weight.columns || segment.is_multiple_of(BLOCK);
        let short = weight.tables.is_none() && matches!(segment, 32 | 64) && weight.code.bits() == 4;
        let fits = match weight.code {
            Code::Int { bits: 8, .. } => aligned,
            Code::Int { .. } | Code::Index { bits: 4 } => {
                aligned || (short && matches!(unit, Self::Avx512 { .. }))
            }
            _ => false,
        };
        fits.then_some(unit)
    }

    #[cfg(target_arch = "x86_64")]
    fn of(isa: Isa) -> Option<Self> {
        match isa.name() {
            "avx512" => Some(Self::Avx512 { vnni: is_x86_feature_detected!("avx512vnni") }),
            "avx2" => Some(Self::Avx2),
            _ => None,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of(_: Isa) -> Option<Self> {
        None
    }

    /// Where element `i` of a block stands in the order of the codes.
    fn place(self, bits: u32, i: usize) -> usize {
        match self {
            _ if bits == 8 => i,
            // Four codes to a 16-bit lane.
            Self::Avx512 { .. } => i % 4 * 32 + i / 4,
            // Low and high halves of bytes, each interleaved by halves of 128-bit lanes.
            Self::Avx2 => {
                let (load, byte, high) = (i / 64, i % 64 / 2, i % 2);
                let (lane, part, word) = (byte / 16, byte % 16 / 8, byte % 8);
                load * 64 + (high * 2 + part) * 16 + lane * 8 + word
            }
        }
    }
}

/// Activations as whole numbers.
pub(super) struct Activations<'a> {
    /// Multiples, whole blocks in the order of the codes.
    numbers: &'a [i16],
    /// The unit of every block.
    units: &'a [f32],
}

/// Scratch elements that [`prepare`] needs.
pub(super) fn scratch(columns: usize) -> usize {
    let blocks = columns.div_ceil(BLOCK);
    blocks * BLOCK / 2 + blocks
}

/// Brings activations into whole numbers; `None` when some are not finite.
pub(super) fn prepare<'s>(
    unit: Unit,
    code: Code,
    x: &[f32],
    scratch: &'s mut [f32],
) -> Option<Activations<'s>> {
    let blocks = x.len().div_ceil(BLOCK);
    let (numbers, units) = scratch.split_at_mut(blocks * BLOCK / 2);
    // SAFETY: two i16 are as large as an f32 and less strictly aligned, and every pattern of bits is one.
    let numbers =
        unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<i16>(), blocks * BLOCK) };
    let most = if matches!(code, Code::Int { .. }) { FINEST } else { FINE };
    let places: [usize; BLOCK] = std::array::from_fn(|i| unit.place(code.bits(), i));
    for ((x, to), scale) in x.chunks(BLOCK).zip(numbers.chunks_exact_mut(BLOCK)).zip(&mut *units) {
        let largest = x.iter().fold(0f32, |m, v| m.max(v.abs()));
        // The comparison of `max` passes over NaN.
        if !largest.is_finite() || x.iter().any(|v| v.is_nan()) {
            return None;
        }
        *scale = largest / most;
        let inverse = if *scale > 0.0 { most / largest } else { 0.0 };
        if !inverse.is_finite() {
            return None;
        }
        if x.len() < BLOCK {
            to.fill(0);
        }
        for (x, &place) in x.iter().zip(&places) {
            to[place] = (x * inverse).round_ties_even() as i16;
        }
    }
    Some(Activations { numbers, units: &units[..blocks] })
}

/// The outputs `rows`, without offsets and epilogue.
pub(super) fn rows(
    unit: Unit,
    weight: &PackedMatrix,
    x: &Activations<'_>,
    rows: Range<usize>,
    out: &mut [f32],
) {
    assert_eq!(rows.len(), out.len(), "outputs of a range of rows");
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a unit is chosen only where its instructions are.
    unsafe {
        match unit {
            Unit::Avx512 { vnni: true } => x86::rows_vnni(weight, x, rows, out),
            Unit::Avx512 { vnni: false } => x86::rows_avx512(weight, x, rows, out),
            Unit::Avx2 => x86::rows_avx2(weight, x, rows, out),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (unit, weight, x.numbers, x.units);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Activations, BLOCK};
    use crate::kernels::packed::product::{AHEAD, STREAMS, apart};
    use crate::kernels::packed::{Code, PackedMatrix};
    use std::arch::x86_64::*;
    use std::ops::Range;

    /// Sums of blocks that follow one another.
    trait Blocks: Copy {
        /// The sums over whole blocks of rows, units of the activations included.
        ///
        /// # Safety
        /// The bytes of `blocks` blocks at every `p` are readable; the activations have as many from `first` on.
        unsafe fn sums(
            kinds: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS];
    }

    /// The rows of a weight whose blocks `kind` sums up, given the table and the short scales of each.
    #[inline(always)]
    fn each_row<'w, B: Blocks>(
        w: &'w PackedMatrix,
        x: &Activations<'_>,
        rows: Range<usize>,
        out: &mut [f32],
        kind: impl Fn(&[i16; 32], Option<&'w [f32]>) -> B,
    ) {
        let bits = w.code.bits() as usize;
        let short = w.segment() < w.columns && !w.segment().is_multiple_of(BLOCK);
        let segment = if short { w.columns } else { w.segment() };
        let block_bytes = BLOCK * bits / 8;
        for group in 0..rows.len().div_ceil(STREAMS) {
            let j = apart::<STREAMS>(&rows, group);
            let mut total = [0f32; STREAMS];
            for first in (0..w.columns).step_by(segment) {
                let columns = segment.min(w.columns - first);
                let kinds = j.map(|j| {
                    let scales = w.scales.as_ref().filter(|_| short).map(|g| g.row(j, w.rows));
                    kind(w.fixed_table(j, first).0, scales)
                });
                let bytes = j.map(|j| &w.row(j)[first * bits / 8..]);
                let blocks = columns / BLOCK;
                assert!(bytes.iter().all(|b| b.len() >= blocks * block_bytes));
                let p = bytes.map(<[u8]>::as_ptr);
                // SAFETY: as many bytes are there by the assertion, and as many activations as columns.
                let mut sums = unsafe { B::sums(kinds, p, x, first / BLOCK, blocks) };
                if columns % BLOCK > 0 {
                    let mut tails = [[0u8; BLOCK]; STREAMS];
                    for (tail, bytes) in tails.iter_mut().zip(bytes) {
                        let rest = &bytes[blocks * block_bytes..];
                        tail[..rest.len()].copy_from_slice(rest);
                    }
                    let p = std::array::from_fn(|r| tails[r].as_ptr());
                    // SAFETY: a block of bytes each, and the last block of activations, zero beyond the columns.
                    let more = unsafe { B::sums(kinds, p, x, first / BLOCK + blocks, 1) };
                    sums.iter_mut().zip(more).for_each(|(s, m)| *s += m);
                }
                for ((total, sum), j) in total.iter_mut().zip(sums).zip(j) {
                    let scale = match &w.scales {
                        Some(g) if !short => g.row(j, w.rows)[first * g.across / w.columns],
                        _ => 1.0,
                    };
                    *total += sum * scale * w.fixed_table(j, first).1;
                }
            }
            j.into_iter().zip(total).for_each(|(j, total)| out[j - rows.start] = total);
        }
    }

    /// 4-bit codes and their entries, beside them scales of which a block has `per_block`.
    #[derive(Clone, Copy)]
    struct Nibbles512<'a, const VNNI: bool> {
        table: __m512i,
        scales: Option<&'a [f32]>,
        per_block: usize,
    }

    #[inline(always)]
    unsafe fn multiply_add<const VNNI: bool>(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the features.
        unsafe {
            if VNNI { _mm512_dpwssd_epi32(sum, a, b) } else { _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)) }
        }
    }

    #[inline(always)]
    fn prefetch(p: *const u8) {
        // SAFETY: a hint, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast()) }
    }

    impl<const VNNI: bool> Blocks for Nibbles512<'_, VNNI> {
        #[inline(always)]
        unsafe fn sums(
            kinds: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS] {
            // SAFETY: the contract; 64 bytes and 128 activations to a block; masked lanes are not read.
            unsafe {
                let spread = match kinds[0].per_block {
                    4 => _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                    _ => _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                };
                let mut totals = [_mm512_setzero_ps(); STREAMS];
                for b in 0..blocks {
                    let numbers = x.numbers.as_ptr().add((first + b) * BLOCK);
                    let x0 = _mm512_loadu_si512(numbers.cast());
                    let x1 = _mm512_loadu_si512(numbers.add(32).cast());
                    let x2 = _mm512_loadu_si512(numbers.add(64).cast());
                    let x3 = _mm512_loadu_si512(numbers.add(96).cast());
                    let unit = _mm512_set1_ps(*x.units.as_ptr().add(first + b));
                    for ((p, kind), total) in p.into_iter().zip(kinds).zip(&mut totals) {
                        let p = p.add(b * 64);
                        prefetch(p);
                        let codes = _mm512_loadu_si512(p.cast());
                        let look_up = |codes| _mm512_permutexvar_epi16(codes, kind.table);
                        let sum = multiply_add::<VNNI>(_mm512_setzero_si512(), look_up(codes), x0);
                        let sum = multiply_add::<VNNI>(sum, look_up(_mm512_srli_epi16::<4>(codes)), x1);
                        let sum = multiply_add::<VNNI>(sum, look_up(_mm512_srli_epi16::<8>(codes)), x2);
                        let sum = multiply_add::<VNNI>(sum, look_up(_mm512_srli_epi16::<12>(codes)), x3);
                        let factor = match kind.scales {
                            None => unit,
                            Some(scales) => {
                                let at = (first + b) * kind.per_block;
                                let mask = (1u32 << kind.per_block.min(scales.len() - at)) - 1;
                                let some = _mm512_maskz_loadu_ps(mask as u16, scales.as_ptr().add(at));
                                _mm512_mul_ps(unit, _mm512_permutexvar_ps(spread, some))
                            }
                        };
                        *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, *total);
                    }
                }
                totals.map(|t| _mm512_reduce_add_ps(t))
            }
        }
    }

    /// 8-bit integers.
    #[derive(Clone, Copy)]
    struct Bytes512<const VNNI: bool, const SIGNED: bool>;

    impl<const VNNI: bool, const SIGNED: bool> Blocks for Bytes512<VNNI, SIGNED> {
        #[inline(always)]
        unsafe fn sums(
            _: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS] {
            // SAFETY: the contract; 128 bytes and 128 activations to a block.
            unsafe {
                let mut totals = [_mm512_setzero_ps(); STREAMS];
                for b in 0..blocks {
                    let numbers = x.numbers.as_ptr().add((first + b) * BLOCK);
                    let mut sums = [_mm512_setzero_si512(); STREAMS];
                    for t in 0..4 {
                        let x = _mm512_loadu_si512(numbers.add(t * 32).cast());
                        for (p, sum) in p.into_iter().zip(&mut sums) {
                            let p = p.add(b * 128 + t * 32);
                            prefetch(p);
                            let raw = _mm256_loadu_si256(p.cast());
                            let wide =
                                if SIGNED { _mm512_cvtepi8_epi16(raw) } else { _mm512_cvtepu8_epi16(raw) };
                            *sum = multiply_add::<VNNI>(*sum, wide, x);
                        }
                    }
                    let unit = _mm512_set1_ps(*x.units.as_ptr().add(first + b));
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), unit, *total);
                    }
                }
                totals.map(|t| _mm512_reduce_add_ps(t))
            }
        }
    }

    #[inline(always)]
    fn rows_512<const VNNI: bool>(
        w: &PackedMatrix,
        x: &Activations<'_>,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let per_block = BLOCK / w.segment().min(BLOCK);
        match w.code {
            Code::Int { bits: 8, signed: true } => {
                each_row(w, x, rows, out, |_, _| Bytes512::<VNNI, true>);
            }
            Code::Int { bits: 8, .. } => each_row(w, x, rows, out, |_, _| Bytes512::<VNNI, false>),
            _ => each_row(w, x, rows, out, |table, scales| {
                // SAFETY: 32 entries of 16 bits; the callers have the features.
                let table = unsafe { _mm512_loadu_si512(table.as_ptr().cast()) };
                Nibbles512::<VNNI> { table, scales, per_block }
            }),
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
    pub(super) fn rows_vnni(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
        rows_512::<true>(w, x, rows, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
    pub(super) fn rows_avx512(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
        rows_512::<false>(w, x, rows, out);
    }

    /// 4-bit codes: low and high bytes of the entries.
    #[derive(Clone, Copy)]
    struct Nibbles256 {
        low: __m256i,
        high: __m256i,
    }

    impl Blocks for Nibbles256 {
        #[inline(always)]
        unsafe fn sums(
            kinds: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS] {
            // SAFETY: the contract; 64 bytes and 128 activations to a block.
            unsafe {
                let mut totals = [_mm256_setzero_ps(); STREAMS];
                let mask = _mm256_set1_epi8(15);
                for b in 0..blocks * 2 {
                    let numbers = x.numbers.as_ptr().add(first * BLOCK + b * 64);
                    let load = |t: usize| _mm256_loadu_si256(numbers.add(t * 16).cast());
                    let unit = _mm256_set1_ps(*x.units.as_ptr().add(first + b / 2));
                    let x = [load(0), load(1), load(2), load(3)];
                    for ((p, kind), total) in p.into_iter().zip(kinds).zip(&mut totals) {
                        let p = p.add(b * 32);
                        prefetch(p);
                        let codes = _mm256_loadu_si256(p.cast());
                        let pair = |codes, x: &[__m256i]| {
                            let low = _mm256_shuffle_epi8(kind.low, codes);
                            let high = _mm256_shuffle_epi8(kind.high, codes);
                            _mm256_add_epi32(
                                _mm256_madd_epi16(_mm256_unpacklo_epi8(low, high), x[0]),
                                _mm256_madd_epi16(_mm256_unpackhi_epi8(low, high), x[1]),
                            )
                        };
                        let sum = _mm256_add_epi32(
                            pair(_mm256_and_si256(codes, mask), &x[..2]),
                            pair(_mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask), &x[2..]),
                        );
                        *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), unit, *total);
                    }
                }
                totals.map(|t| lanes(t))
            }
        }
    }

    /// 8-bit integers.
    #[derive(Clone, Copy)]
    struct Bytes256<const SIGNED: bool>;

    impl<const SIGNED: bool> Blocks for Bytes256<SIGNED> {
        #[inline(always)]
        unsafe fn sums(
            _: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS] {
            // SAFETY: the contract; 128 bytes and 128 activations to a block.
            unsafe {
                let mut totals = [_mm256_setzero_ps(); STREAMS];
                for b in 0..blocks {
                    let numbers = x.numbers.as_ptr().add((first + b) * BLOCK);
                    let mut sums = [_mm256_setzero_si256(); STREAMS];
                    for t in 0..8 {
                        let x = _mm256_loadu_si256(numbers.add(t * 16).cast());
                        for (p, sum) in p.into_iter().zip(&mut sums) {
                            let p = p.add(b * 128 + t * 16);
                            prefetch(p);
                            let raw = _mm_loadu_si128(p.cast());
                            let wide =
                                if SIGNED { _mm256_cvtepi8_epi16(raw) } else { _mm256_cvtepu8_epi16(raw) };
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(wide, x));
                        }
                    }
                    let unit = _mm256_set1_ps(*x.units.as_ptr().add(first + b));
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), unit, *total);
                    }
                }
                totals.map(|t| lanes(t))
            }
        }
    }

    #[inline(always)]
    unsafe fn lanes(v: __m256) -> f32 {
        // SAFETY: the caller has the features.
        let lanes: [f32; 8] = unsafe { std::mem::transmute(v) };
        lanes.iter().sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn rows_avx2(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
        match w.code {
            Code::Int { bits: 8, signed: true } => each_row(w, x, rows, out, |_, _| Bytes256::<true>),
            Code::Int { bits: 8, .. } => each_row(w, x, rows, out, |_, _| Bytes256::<false>),
            _ => each_row(w, x, rows, out, |table, _| {
                let byte = |n: usize| -> [u8; 32] { std::array::from_fn(|i| table[i].to_le_bytes()[n]) };
                // SAFETY: 32 bytes each; the function has the features.
                unsafe {
                    let load = |bytes: [u8; 32]| _mm256_loadu_si256(bytes.as_ptr().cast());
                    Nibbles256 { low: load(byte(0)), high: load(byte(1)) }
                }
            }),
        }
    }
}
