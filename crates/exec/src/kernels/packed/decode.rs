//! Packed rows back to numbers.

use super::{Code, Grid, PackedMatrix, fixed};
use crate::kernels::gemm::PackColumns;
use crate::kernels::simd::Simd;
use anemone_tensor::Bytes;
use std::ops::Range;

/// Rows of `row_bits` bits, moved apart so that each begins on a byte.
pub(super) fn part_rows(bytes: &[u8], rows: usize, row_bits: usize) -> Bytes {
    let pitch = row_bits.div_ceil(8);
    let mut out = vec![0u8; rows * pitch];
    for (j, row) in out.chunks_exact_mut(pitch).enumerate() {
        let (first, shift) = (j * row_bits / 8, j * row_bits % 8);
        for (i, o) in row.iter_mut().enumerate() {
            let low = bytes.get(first + i).copied().unwrap_or(0);
            let high = bytes.get(first + i + 1).copied().unwrap_or(0);
            *o = (u16::from_le_bytes([low, high]) >> shift).to_le_bytes()[0];
        }
        let used = row_bits % 8;
        if let Some(last) = row.last_mut() {
            *last &= (1 << used) - 1;
        }
    }
    out.into()
}

/// Bits of the element `i` of a row; at most 8.
#[inline(always)]
fn bits_at(row: &[u8], i: usize, bits: usize) -> usize {
    let at = i * bits;
    let (byte, shift) = (at / 8, at % 8);
    let low = usize::from(row[byte]) >> shift;
    let spans = shift + bits > 8;
    let high = if spans { usize::from(row[byte + 1]) << (8 - shift) } else { 0 };
    (low | high) & ((1 << bits) - 1)
}

/// The number of an integer code.
#[inline(always)]
fn integer(raw: usize, bits: u32, signed: bool) -> f32 {
    let half = 1i32 << (bits - 1);
    let raw = raw as i32;
    (if signed && raw >= half { raw - 2 * half } else { raw }) as f32
}

impl PackedMatrix {
    /// The columns `columns` of row `j` as numbers.
    pub(crate) fn decode(&self, j: usize, columns: Range<usize>, out: &mut [f32]) {
        let row = self.row(j);
        let segment = self.segment();
        let mut at = columns.start;
        while at < columns.end {
            let end = columns.end.min((at / segment + 1) * segment);
            let part = &mut out[at - columns.start..end - columns.start];
            self.numbers(j, row, at..end, part);
            self.shift_scale(j, at, part);
            at = end;
        }
    }

    /// The numbers that the codes stand for, within a segment.
    fn numbers(&self, j: usize, row: &[u8], columns: Range<usize>, out: &mut [f32]) {
        match self.code {
            Code::F32 => {
                let raw = row[columns.start * 4..columns.end * 4].chunks_exact(4);
                out.iter_mut().zip(raw).for_each(|(o, b)| *o = f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            }
            Code::F16 => {
                let raw = row[columns.start * 2..columns.end * 2].chunks_exact(2);
                let number = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
                out.iter_mut().zip(raw).for_each(|(o, b)| *o = number(b));
            }
            Code::Int { bits: 8, signed } => {
                let raw = &row[columns];
                if signed {
                    out.iter_mut().zip(raw).for_each(|(o, b)| *o = f32::from(b.cast_signed()));
                } else {
                    out.iter_mut().zip(raw).for_each(|(o, b)| *o = f32::from(*b));
                }
            }
            Code::Int { bits, signed } => {
                let table: [f32; 16] = std::array::from_fn(|i| integer(i, bits, signed));
                look_up(row, 4, columns, &table, out);
            }
            Code::Index { bits } => {
                let table = self.at(&self.tables, j, columns.start).unwrap_or(&[]);
                match bits {
                    1 => look_up(row, 1, columns, table, out),
                    2 => look_up(row, 2, columns, table, out),
                    3 => look_up(row, 3, columns, table, out),
                    4 => look_up(row, 4, columns, table, out),
                    6 => look_up(row, 6, columns, table, out),
                    _ => look_up(row, 8, columns, table, out),
                }
            }
        }
    }

    /// Offset and scale of the segment of column `at`.
    fn shift_scale(&self, j: usize, at: usize, numbers: &mut [f32]) {
        let one = |grid: &Option<Grid>| self.at(grid, j, at).and_then(|v| v.first().copied());
        match (one(&self.scales), one(&self.offsets)) {
            (Some(scale), Some(offset)) => numbers.iter_mut().for_each(|v| *v = scale * (*v - offset)),
            (Some(scale), None) => numbers.iter_mut().for_each(|v| *v *= scale),
            (None, Some(offset)) => numbers.iter_mut().for_each(|v| *v -= offset),
            (None, None) => {}
        }
    }

    /// What a grid holds for an element.
    fn at<'g>(&self, grid: &'g Option<Grid>, j: usize, column: usize) -> Option<&'g [f32]> {
        let grid = grid.as_ref()?;
        let block = column / (self.columns / grid.across);
        grid.row(j, self.rows).get(block * grid.width..(block + 1) * grid.width)
    }

    /// The whole matrix as numbers, row-major.
    pub fn to_f32s(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.columns];
        for (j, row) in out.chunks_exact_mut(self.columns).enumerate() {
            self.decode(j, 0..self.columns, row);
        }
        out
    }
}

impl PackedMatrix {
    /// The matrix with rows and columns exchanged, as tightly packed.
    pub fn transposed(&self) -> PackedMatrix {
        let bits = self.code.bits() as usize;
        let pitch = (self.rows * bits).div_ceil(8);
        let mut bytes = vec![0u8; self.columns * pitch];
        // Some columns at a time, so that the rows they are taken from are read in whole lines.
        for first in (0..self.columns).step_by(RUN) {
            for i in 0..self.rows {
                let row = self.row(i);
                for j in first..self.columns.min(first + RUN) {
                    let out = &mut bytes[j * pitch..][..pitch];
                    if bits < 8 {
                        let (at, raw) = (i * bits, bits_at(row, j, bits) << (i * bits % 8));
                        let [low, high, ..] = raw.to_le_bytes();
                        out[at / 8] |= low;
                        if high != 0 {
                            out[at / 8 + 1] |= high;
                        }
                    } else {
                        let n = bits / 8;
                        out[i * n..(i + 1) * n].copy_from_slice(&row[j * n..(j + 1) * n]);
                    }
                }
            }
        }
        let turn = |grid: &Option<Grid>| grid.as_ref().map(Grid::transposed);
        let tables = turn(&self.tables);
        let fixed = match &tables {
            Some(t) => Some(fixed::Tables::of_palettes(&t.values, t.width)),
            None => self.fixed.clone(),
        };
        PackedMatrix {
            fixed,
            rows: self.columns,
            columns: self.rows,
            code: self.code,
            bytes: bytes.into(),
            pitch,
            tables,
            scales: turn(&self.scales),
            offsets: turn(&self.offsets),
        }
    }
}

impl Grid {
    fn transposed(&self) -> Grid {
        let block = |i: usize| &self.values[i * self.width..][..self.width];
        let order = (0..self.across).flat_map(|a| (0..self.down).map(move |d| d * self.across + a));
        let values = order.flat_map(|i| block(i).iter().copied()).collect();
        Grid { down: self.across, across: self.down, width: self.width, values }
    }
}

#[inline(always)]
fn look_up(row: &[u8], bits: usize, columns: Range<usize>, table: &[f32], out: &mut [f32]) {
    assert!(table.len() == 1 << bits, "a look-up table has an entry for every index");
    for (o, i) in out.iter_mut().zip(columns) {
        *o = table[bits_at(row, i, bits)];
    }
}

/// Elements of a row that are unpacked at a time.
const RUN: usize = 64;

/// The right operand of a product: its columns are the rows of the packed matrix.
impl PackColumns for PackedMatrix {
    #[inline(always)]
    fn pack<S: Simd>(&self, _: S, depth: Range<usize>, columns: Range<usize>, width: usize, out: &mut [f32]) {
        let mut run = [0f32; RUN];
        for k in depth.clone().step_by(RUN) {
            let part = k..depth.end.min(k + RUN);
            let out = &mut out[(k - depth.start) * width..][..part.len() * width];
            for (c, j) in columns.clone().enumerate() {
                let run = &mut run[..part.len()];
                self.decode(j, part.clone(), run);
                out[c..].iter_mut().step_by(width).zip(run).for_each(|(o, v)| *o = *v);
            }
        }
    }
}
