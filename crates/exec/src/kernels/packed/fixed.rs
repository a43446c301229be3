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
        /// AVX-512 VBMI beside it: shuffles of bytes, for codes of any width.
        vbmi: bool,
    },
    /// AVX2.
    Avx2,
}

/// Palettes as multiples of a unit of their own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tables {
    /// Entries of a table, those of the palette repeated so that bits above a code do not matter to a shuffle: 32 for
    /// codes of 4 bits, 64 for others, 256 for those of 8.
    width: usize,
    /// The low bytes of a table, then the high ones, table by table.
    pub(super) planes: Vec<u8>,
    /// The unit of every table.
    pub(super) units: Vec<f32>,
}

impl Tables {
    /// The tables of `entries` numbers each.
    pub(super) fn of_palettes(values: &[f32], entries: usize) -> Self {
        let largest = |t: &[f32]| t.iter().fold(0f32, |m, v| m.max(v.abs()));
        let units: Vec<f32> = values.chunks_exact(entries).map(|t| largest(t) / FINE).collect();
        let width = if entries == 16 { 32 } else { entries.max(64) };
        let mut tables = Self { width, planes: Vec::with_capacity(2 * width * units.len()), units };
        for (i, t) in values.chunks_exact(entries).enumerate() {
            let unit = tables.units[i];
            tables.push(|i| if unit > 0.0 { (t[i % entries] / unit).round() as i16 } else { 0 });
        }
        tables
    }

    /// The one table of integers of 4 bits.
    pub(super) fn of_integers(signed: bool) -> Self {
        let mut tables = Self { width: 32, planes: Vec::new(), units: vec![1.0] };
        tables.push(|i| if signed && i % 16 > 7 { i as i16 % 16 - 16 } else { i as i16 % 16 });
        tables
    }

    fn push(&mut self, entry: impl Fn(usize) -> i16) {
        for byte in 0..2 {
            self.planes.extend((0..self.width).map(|i| entry(i).to_le_bytes()[byte]));
        }
    }

    /// Low and high bytes of table `i`, and its unit.
    pub(super) fn table(&self, i: usize) -> (&[u8], f32) {
        (&self.planes[i * 2 * self.width..][..2 * self.width], self.units[i])
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
            Code::Int { .. } | Code::Index { bits: 4 } => aligned || short,
            Code::Index { .. } => aligned && matches!(unit, Self::Avx512 { vbmi: true, .. }),
            Code::F32 | Code::F16 => false,
        };
        fits.then_some(unit)
    }

    #[cfg(target_arch = "x86_64")]
    fn of(isa: Isa) -> Option<Self> {
        match isa.name() {
            "avx512" => {
                let vnni = is_x86_feature_detected!("avx512vnni");
                Some(Self::Avx512 { vnni, vbmi: vnni && is_x86_feature_detected!("avx512vbmi") })
            }
            "avx2" => Some(Self::Avx2),
            _ => None,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of(_: Isa) -> Option<Self> {
        None
    }

    /// Where element `i` of a block stands in the order of the codes.
    fn place(self, code: Code, i: usize) -> usize {
        match (self, code) {
            (_, Code::Int { bits: 8, .. }) => i,
            // Four codes to a 16-bit lane.
            (Self::Avx512 { .. }, Code::Int { .. } | Code::Index { bits: 4 }) => i % 4 * 32 + i / 4,
            // Bytes of codes in turn, interleaved by halves of 128-bit lanes.
            (Self::Avx512 { .. }, _) => i / 64 * 64 + i % 16 / 8 * 32 + i % 64 / 16 * 8 + i % 8,
            // Low and high halves of bytes, each interleaved by halves of 128-bit lanes.
            (Self::Avx2, _) => {
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
    let places: [usize; BLOCK] = std::array::from_fn(|i| unit.place(code, i));
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
            Unit::Avx512 { vbmi: true, .. }
                if !matches!(weight.code, Code::Int { .. } | Code::Index { bits: 4 }) =>
            {
                x86::rows_vbmi(weight, x, rows, out);
            }
            Unit::Avx512 { vnni: true, .. } => x86::rows_vnni(weight, x, rows, out),
            Unit::Avx512 { vnni: false, .. } => x86::rows_avx512(weight, x, rows, out),
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

    /// The rows of a weight whose blocks `kind` sums up, given the bytes of the table and the short scales of each.
    #[inline(always)]
    fn each_row<'w, B: Blocks>(
        w: &'w PackedMatrix,
        x: &Activations<'_>,
        rows: Range<usize>,
        out: &mut [f32],
        kind: impl Fn(&'w [u8], Option<&'w [f32]>) -> B,
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

    /// 4-bit codes and their entries, when `SHORT` beside them scales of which a block has `per_block`.
    #[derive(Clone, Copy)]
    struct Nibbles512<'a, const VNNI: bool, const SHORT: bool> {
        table: __m512i,
        scales: &'a [f32],
        per_block: usize,
    }

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

    #[inline(always)]
    fn prefetch(p: *const u8) {
        // SAFETY: a hint, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast()) }
    }

    impl<const VNNI: bool, const SHORT: bool> Blocks for Nibbles512<'_, VNNI, SHORT> {
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
                        let factor = if SHORT {
                            let at = (first + b) * kind.per_block;
                            let mask = (1u32 << kind.per_block.min(kind.scales.len() - at)) - 1;
                            let some = _mm512_maskz_loadu_ps(mask as u16, kind.scales.as_ptr().add(at));
                            _mm512_mul_ps(unit, _mm512_permutexvar_ps(spread, some))
                        } else {
                            unit
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
        // SAFETY: 32 low bytes and 32 high ones; the callers have the features.
        let words = |planes: &[u8]| unsafe {
            let plane = |i: usize| _mm256_loadu_si256(planes[i..i + 32].as_ptr().cast());
            let high = _mm512_slli_epi16::<8>(_mm512_cvtepu8_epi16(plane(32)));
            _mm512_or_si512(_mm512_cvtepu8_epi16(plane(0)), high)
        };
        match w.code {
            Code::Int { bits: 8, signed: true } => {
                each_row(w, x, rows, out, |_, _| Bytes512::<VNNI, true>);
            }
            Code::Int { bits: 8, .. } => each_row(w, x, rows, out, |_, _| Bytes512::<VNNI, false>),
            _ if w.scales.is_some() && w.segment() < BLOCK => each_row(w, x, rows, out, |planes, scales| {
                let (table, scales) = (words(planes), scales.unwrap_or_default());
                Nibbles512::<VNNI, true> { table, scales, per_block }
            }),
            _ => each_row(w, x, rows, out, |planes, _| Nibbles512::<VNNI, false> {
                table: words(planes),
                scales: &[],
                per_block,
            }),
        }
    }

    /// Indices of `BITS` bits into tables of bytes.
    #[derive(Clone, Copy)]
    struct Indices512<'a, const BITS: usize> {
        planes: &'a [u8],
    }

    impl<const BITS: usize> Indices512<'_, BITS> {
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
            // SAFETY: a plane has 64 bytes, or 256 for codes of 8 bits.
            unsafe {
                let part = |i: usize| _mm512_loadu_si512(plane[i * 64..][..64].as_ptr().cast());
                if BITS < 8 {
                    return _mm512_permutexvar_epi8(codes, part(0));
                }
                let lower = _mm512_permutex2var_epi8(part(0), codes, part(1));
                let upper = _mm512_permutex2var_epi8(part(2), codes, part(3));
                _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), lower, upper)
            }
        }

        /// As [`Blocks::sums`]; with `SAME` all rows have the table of the first.
        #[inline(always)]
        unsafe fn each<const SAME: bool>(
            kinds: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS] {
            // SAFETY: the contract; `8 * BITS` bytes and 64 activations to half a block.
            unsafe {
                let mut totals = [_mm512_setzero_ps(); STREAMS];
                for b in 0..blocks {
                    let mut sums = [_mm512_setzero_si512(); STREAMS];
                    for half in 2 * b..2 * b + 2 {
                        let numbers = x.numbers.as_ptr().add(first * BLOCK + half * 64);
                        let x0 = _mm512_loadu_si512(numbers.cast());
                        let x1 = _mm512_loadu_si512(numbers.add(32).cast());
                        for (r, (p, sum)) in p.into_iter().zip(&mut sums).enumerate() {
                            let p = p.add(half * 8 * BITS);
                            prefetch(p);
                            let (kind, codes) = (kinds[if SAME { 0 } else { r }], Self::codes(p));
                            let (low, high) = (kind.look_up(false, codes), kind.look_up(true, codes));
                            *sum = multiply_add::<true>(*sum, _mm512_unpacklo_epi8(low, high), x0);
                            *sum = multiply_add::<true>(*sum, _mm512_unpackhi_epi8(low, high), x1);
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

    impl<const BITS: usize> Blocks for Indices512<'_, BITS> {
        #[inline(always)]
        unsafe fn sums(
            kinds: [Self; STREAMS],
            p: [*const u8; STREAMS],
            x: &Activations<'_>,
            first: usize,
            blocks: usize,
        ) -> [f32; STREAMS] {
            let planes = kinds[0].planes.as_ptr();
            // SAFETY: the contract.
            unsafe {
                if kinds.iter().all(|k| k.planes.as_ptr() == planes) {
                    Self::each::<true>(kinds, p, x, first, blocks)
                } else {
                    Self::each::<false>(kinds, p, x, first, blocks)
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vbmi,avx2,fma")]
    pub(super) fn rows_vbmi(w: &PackedMatrix, x: &Activations<'_>, rows: Range<usize>, out: &mut [f32]) {
        match w.code.bits() {
            1 => each_row(w, x, rows, out, |planes, _| Indices512::<1> { planes }),
            2 => each_row(w, x, rows, out, |planes, _| Indices512::<2> { planes }),
            3 => each_row(w, x, rows, out, |planes, _| Indices512::<3> { planes }),
            6 => each_row(w, x, rows, out, |planes, _| Indices512::<6> { planes }),
            _ => each_row(w, x, rows, out, |planes, _| Indices512::<8> { planes }),
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

    /// 4-bit codes: low and high bytes of the entries, and scales of which half a block has `per_half`.
    #[derive(Clone, Copy)]
    struct Nibbles256<'a> {
        low: __m256i,
        high: __m256i,
        scales: Option<&'a [f32]>,
        per_half: usize,
    }

    impl Blocks for Nibbles256<'_> {
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
                        let factor = match kind.scales {
                            None => unit,
                            // The halves of the sums are those of 32 codes each.
                            Some(scales) => {
                                let at = (first * 2 + b) * kind.per_half;
                                let one = |i: usize| _mm_set1_ps(scales.get(i).copied().unwrap_or(0.0));
                                _mm256_mul_ps(unit, _mm256_set_m128(one(at + kind.per_half - 1), one(at)))
                            }
                        };
                        *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, *total);
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
            _ => each_row(w, x, rows, out, |table, scales| {
                // SAFETY: 32 bytes each; the function has the features.
                let plane = |i: usize| unsafe { _mm256_loadu_si256(table[i..i + 32].as_ptr().cast()) };
                let per_half = 64 / w.segment().min(64);
                Nibbles256 { low: plane(0), high: plane(32), scales, per_half }
            }),
        }
    }
}
