//! Matrices, and the panels that the tiles read.

use crate::kernels::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// A matrix over a slice; element `(i, j)` is `data[i * row_step + j * column_step]`.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix at the start of `data`.
    ///
    /// # Panics
    /// When `data` is too short.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns, 1)
    }

    /// `rows x columns`, stored row-major, or transposed: as the `columns x rows` matrix.
    ///
    /// # Panics
    /// When `data` is too short.
    pub fn stored(data: &'a [f32], rows: usize, columns: usize, transposed: bool) -> Self {
        if transposed { Self::strided(data, rows, columns, 1, rows) } else { Self::new(data, rows, columns) }
    }

    /// Any two steps.
    ///
    /// # Panics
    /// When `data` does not hold the last element.
    pub fn strided(
        data: &'a [f32],
        rows: usize,
        columns: usize,
        row_step: usize,
        column_step: usize,
    ) -> Self {
        if rows > 0 && columns > 0 {
            assert!(
                (rows - 1) * row_step + (columns - 1) * column_step < data.len(),
                "matrix outside of its data"
            );
        }
        Self { data, rows, columns, row_step, column_step }
    }

    /// Element `(i, j)`.
    ///
    /// # Panics
    /// When there is none.
    pub fn at(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.row_step + j * self.column_step]
    }

    /// Panels of `height` rows (the last may be lower), in each all rows of a column together.
    #[inline(always)]
    pub(super) fn pack_rows(&self, height: usize, rows: Range<usize>, depth: Range<usize>, out: &mut [f32]) {
        let kc = depth.len();
        if kc == 0 {
            return;
        }
        for i in rows.clone().step_by(height) {
            let mr = height.min(rows.end - i);
            let panel = &mut out[(i - rows.start) * kc..][..mr * kc];
            if self.row_step == 1 {
                for (column, k) in panel.chunks_exact_mut(mr).zip(depth.clone()) {
                    column.copy_from_slice(&self.data[k * self.column_step + i..][..mr]);
                }
                continue;
            }
            for r in 0..mr {
                let row = self.data[(i + r) * self.row_step + depth.start * self.column_step..]
                    .iter()
                    .step_by(self.column_step.max(1));
                panel[r..].iter_mut().step_by(mr).zip(row).for_each(|(o, &x)| *o = x);
            }
        }
    }
}

/// A source of panels of columns.
pub(crate) trait PackColumns: Sync {
    /// Writes rows `depth` of the columns `columns` to `out`, `width` elements a row; `width` is the number of
    /// columns rounded up to whole vectors. The columns beyond may hold anything, and up to a vector behind the
    /// last row may be overwritten.
    fn pack<S: Simd>(&self, s: S, depth: Range<usize>, columns: Range<usize>, width: usize, out: &mut [f32]);
}

impl PackColumns for Mat<'_> {
    #[inline(always)]
    fn pack<S: Simd>(&self, s: S, depth: Range<usize>, columns: Range<usize>, width: usize, out: &mut [f32]) {
        let start = columns.start * self.column_step;
        if self.column_step == 1 {
            for (row, k) in out.chunks_exact_mut(width).zip(depth) {
                let source = &self.data[k * self.row_step + start..][..columns.len()];
                for (o, x) in row.chunks_mut(S::LANES).zip(source.chunks(S::LANES)) {
                    s.store_part(o, s.load_part(x));
                }
            }
            return;
        }
        // Short runs of rows, so that the scattered writes of all columns meet in the cache.
        for k in depth.clone().step_by(16) {
            let run = k..depth.end.min(k + 16);
            let out = &mut out[(k - depth.start) * width..][..run.len() * width];
            for j in 0..columns.len() {
                let column = &self.data[start + j * self.column_step + k * self.row_step..];
                let cells = out[j..].iter_mut().step_by(width);
                if self.row_step == 1 {
                    cells.zip(&column[..run.len()]).for_each(|(o, &x)| *o = x);
                } else {
                    cells.zip(column.iter().step_by(self.row_step.max(1))).for_each(|(o, &x)| *o = x);
                }
            }
        }
    }
}

/// A left operand in panels of rows.
#[derive(Clone, Debug)]
pub struct PackedLhs {
    pub(super) isa: Isa,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(super) data: Vec<f32>,
}

impl PackedLhs {
    /// Packs `a` for the tiles of `isa`.
    pub fn new(a: Mat<'_>, isa: Isa) -> Self {
        let mut data = vec![0.0; a.rows * a.columns];
        a.pack_rows(isa.tile().rows, 0..a.rows, 0..a.columns, &mut data);
        Self { isa, rows: a.rows, columns: a.columns, data }
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

/// A right operand in panels of columns.
#[derive(Clone, Debug)]
pub struct PackedRhs {
    pub(super) isa: Isa,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(super) data: Vec<f32>,
}

struct PackAll<'a>(Mat<'a>, &'a mut [f32]);

impl Kernel for PackAll<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(b, out) = self;
        super::pack_columns(s, &b, 0..b.rows, 0..b.columns, out);
    }
}

impl PackedRhs {
    /// Packs `b` for the tiles of `isa`.
    pub fn new(b: Mat<'_>, isa: Isa) -> Self {
        let mut data = vec![0.0; b.columns.next_multiple_of(isa.tile().lanes) * b.rows];
        isa.run(PackAll(b, &mut data));
        Self { isa, rows: b.rows, columns: b.columns, data }
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}
