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
use crate::kernels::simd::{Isa, Kernel, Simd};
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod rows;

/// Activations that share a unit.
pub(super) const BLOCK: usize = 128;
/// Largest multiple for entries of palettes, and for activations beside them: eight products stay below `2^31`, more
/// than that no kernel adds up in 32 bits.
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
    /// codes of at most 4 bits that fill bytes, 64 for others, 256 for those of 8.
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
        let width = if matches!(entries, 2 | 4 | 16) { 32 } else { entries.max(64) };
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
        let aligned = segment == weight.columns || segment.is_multiple_of(unit.span(weight.code));
        let short = weight.tables.is_none() && matches!(segment, 32 | 64) && weight.code.bits() == 4;
        let fits = match weight.code {
            Code::Int { bits: 8, .. } => aligned,
            Code::Int { .. } | Code::Index { bits: 4 } => aligned || short,
            Code::Index { bits: 1 | 2 } => aligned,
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

    /// Elements that are put in order together: whole blocks.
    fn span(self, code: Code) -> usize {
        match (self, code) {
            (Self::Avx512 { .. }, Code::Index { bits: bits @ (1 | 2) }) => 512 / bits as usize,
            (Self::Avx2, Code::Index { bits: 1 }) => 2 * BLOCK,
            _ => BLOCK,
        }
    }

    /// Where every element of a span stands in the order of the codes.
    fn places(self, code: Code) -> &'static [u16] {
        static WORDS: [[u16; LONGEST]; 3] = [in_words(1), in_words(2), in_words(4)];
        static BYTES: [[u16; LONGEST]; 3] = [in_bytes(1), in_bytes(2), in_bytes(4)];
        static WHOLE: [u16; LONGEST] = in_bytes(8);
        static PLAIN: [u16; LONGEST] = in_words(16);
        let narrow = code.bits().ilog2() as usize;
        let places = match (self, code) {
            (_, Code::Int { bits: 8, .. }) => &PLAIN,
            (Self::Avx512 { .. }, Code::Int { .. } | Code::Index { bits: 1 | 2 | 4 }) => &WORDS[narrow],
            (Self::Avx512 { .. }, _) => &WHOLE,
            (Self::Avx2, _) => &BYTES[narrow],
        };
        &places[..self.span(code)]
    }
}

/// The longest span.
const LONGEST: usize = 512;

/// All codes of a 16-bit lane of 512 bits in turn, from the lowest up.
const fn in_words(bits: usize) -> [u16; LONGEST] {
    let (mut places, mut i, per_lane) = ([0; LONGEST], 0, 16 / bits);
    while i < LONGEST {
        let (load, at) = (i / (32 * per_lane), i % (32 * per_lane));
        places[i] = (load * 32 * per_lane + at % per_lane * 32 + at / per_lane) as u16;
        i += 1;
    }
    places
}

/// All codes of a byte in turn, from the lowest up, interleaved by halves of the 128-bit lanes of 256 bits; codes of
/// whole bytes, by those of 512.
const fn in_bytes(bits: usize) -> [u16; LONGEST] {
    let (mut places, mut i, per_byte) = ([0; LONGEST], 0, 8 / bits);
    let lanes = if bits == 8 { 4 } else { 2 };
    while i < LONGEST {
        let (load, at) = (i / (16 * lanes * per_byte), i % (16 * lanes * per_byte));
        let (byte, turn) = (at / per_byte, at % per_byte);
        let (lane, part, word) = (byte / 16, byte % 16 / 8, byte % 8);
        places[i] = (load * 16 * lanes * per_byte + (turn * 2 + part) * 8 * lanes + lane * 8 + word) as u16;
        i += 1;
    }
    places
}

/// Activations as whole numbers.
pub(super) struct Activations<'a> {
    /// Multiples, whole blocks in the order of the codes.
    numbers: &'a [i16],
    /// The unit of every block.
    units: &'a [f32],
}

impl Unit {
    /// Scratch elements that [`Unit::prepare`] needs.
    pub(super) fn scratch(self, code: Code, columns: usize) -> usize {
        let padded = columns.next_multiple_of(self.span(code));
        padded / 2 + padded / BLOCK
    }

    /// Brings activations into whole numbers; `None` when some are not finite.
    pub(super) fn prepare<'s>(
        self,
        code: Code,
        x: &[f32],
        isa: Isa,
        scratch: &'s mut [f32],
    ) -> Option<Activations<'s>> {
        let span = self.span(code);
        let padded = x.len().next_multiple_of(span);
        let (numbers, units) = scratch.split_at_mut(padded / 2);
        let units = &mut units[..padded / BLOCK];
        // SAFETY: two i16 are as large as an f32 and less strictly aligned, and every pattern of bits is one.
        let numbers = unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<i16>(), padded) };
        let most = if matches!(code, Code::Int { .. }) { FINEST } else { FINE };
        if x.len() < padded {
            numbers[padded - span..].fill(0);
            units.fill(0.0);
        }
        let finite = isa.run(Whole { x, most, places: self.places(code), numbers, units });
        finite.then_some(Activations { numbers, units })
    }
}

/// Brings blocks of activations into whole numbers and their order, and tells whether all are finite.
struct Whole<'a> {
    x: &'a [f32],
    most: f32,
    places: &'a [u16],
    numbers: &'a mut [i16],
    units: &'a mut [f32],
}

impl Kernel for Whole<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        // Beside it the lowest bits of a small number are that number, rounded to even, in two's complement.
        const ROUND: f32 = 12_582_912.0;
        let Self { x, most, places, numbers, units } = self;
        for (i, (x, unit)) in x.chunks(BLOCK).zip(units).enumerate() {
            // As bits, so that what is not finite is larger than all that is.
            let largest = x.iter().fold(0, |m, v| m.max(v.to_bits() & 0x7fff_ffff));
            let largest = f32::from_bits(largest);
            *unit = largest / most;
            let inverse = if *unit > 0.0 { most / largest } else { 0.0 };
            if !largest.is_finite() || !inverse.is_finite() {
                return false;
            }
            let mut whole = [0i16; BLOCK];
            whole.iter_mut().zip(x).for_each(|(w, x)| *w = (x * inverse + ROUND).to_bits() as i16);
            let (span, block) = (i * BLOCK / places.len() * places.len(), i * BLOCK % places.len());
            let to = &mut numbers[span..span + places.len()];
            for (w, &place) in whole[..x.len()].iter().zip(&places[block..]) {
                to[usize::from(place)] = *w;
            }
        }
        true
    }
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
            Unit::Avx512 { vbmi: true, .. } if matches!(weight.code, Code::Index { bits: 3 | 6 | 8 }) => {
                avx512::rows_vbmi(weight, x, rows, out);
            }
            Unit::Avx512 { vnni: true, .. } => avx512::rows_vnni(weight, x, rows, out),
            Unit::Avx512 { vnni: false, .. } => avx512::rows_plain(weight, x, rows, out),
            Unit::Avx2 => avx2::rows(weight, x, rows, out),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (unit, weight, x.numbers, x.units);
}
