//! Matrix products, row-major: `C = epilogue(A * B)`.
//!
//! Both operands are read from panels: `A` in panels of as many rows as the register tile has, `B` in panels of as
//! many columns, `k` running slowest in each. Constant operands are packed once ([`PackedLhs`], [`PackedRhs`]);
//! others are packed block by block into scratch memory. The blocking is that of Goto and van de Geijn,
//! "Anatomy of High-Performance Matrix Multiplication" (2008).

mod pack;
mod tile;

pub(crate) use pack::PackColumns;
pub use pack::{Mat, PackedLhs, PackedRhs};

use super::activation::Epilogue;
use super::packed::PackedMatrix;
use super::simd::{Isa, Kernel, Simd};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// Depth of a block: its panels of `A` and `B` stay in the second-level cache.
const KC: usize = 384;
/// Rows of a block of `A` that is packed at once; a multiple of every tile height.
const MC: usize = 96;
/// Columns of a block of `B` that is packed at once; a multiple of every tile width.
const NC: usize = 256;
/// Multiply-adds that are worth waking a thread for.
const GRAIN: usize = 1 << 18;

/// The left operand, `m x k`.
#[derive(Clone, Copy)]
pub enum Lhs<'a> {
    /// Packed while the product runs.
    Plain(Mat<'a>),
    /// Packed before.
    Packed(&'a PackedLhs),
}

/// The right operand, `k x n`.
#[derive(Clone, Copy)]
pub enum Rhs<'a> {
    /// Packed while the product runs.
    Plain(Mat<'a>),
    /// Packed before.
    Packed(&'a PackedRhs),
}

impl Lhs<'_> {
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Plain(a) => (a.rows, a.columns),
            Self::Packed(a) => (a.rows, a.columns),
        }
    }
}

/// Where the panels of `B` come from.
#[derive(Clone, Copy)]
pub(crate) enum Columns<'a, P> {
    Packed(&'a [f32]),
    Pack(&'a P),
}

/// One product; `out` holds `C` from `offset` on, dense.
pub(crate) struct Product<'a, P> {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) lhs: Lhs<'a>,
    pub(crate) rhs: Columns<'a, P>,
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) out: &'a Disjoint<'a, f32>,
    pub(crate) offset: usize,
}

/// Scratch elements that one thread needs for a product with these extents.
pub(crate) fn seat_scratch(m: usize, k: usize, n: usize) -> usize {
    let depth = k.min(KC);
    // Packing columns may write up to a vector past the last panel.
    m.min(MC) * depth + n.next_multiple_of(32).min(NC) * depth + 32
}

/// Scratch elements that [`gemm`] needs.
pub fn gemm_scratch(m: usize, k: usize, n: usize, pool: &Pool) -> usize {
    seat_scratch(m, k, n) * pool.threads()
}

/// `out = epilogue(lhs * rhs)`, `out` being `m x n` dense.
///
/// # Panics
/// When the operands do not fit each other, `out` or `scratch` (see [`gemm_scratch`]), or were packed for
/// different instruction sets.
pub fn gemm(
    lhs: Lhs<'_>,
    rhs: Rhs<'_>,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    scratch: &mut [f32],
    pool: &Pool,
) {
    let (m, k) = lhs.shape();
    let mut isa = pool.isa();
    if let Lhs::Packed(a) = lhs {
        isa = a.isa;
    }
    let (rows, n) = match rhs {
        Rhs::Plain(b) => (b.rows, b.columns),
        Rhs::Packed(b) => {
            assert!(
                b.isa == isa || matches!(lhs, Lhs::Plain(_)),
                "operands packed for different instruction sets"
            );
            isa = b.isa;
            (b.rows, b.columns)
        }
    };
    assert_eq!(rows, k, "rows of the right operand and columns of the left");
    assert_eq!(out.len(), m * n, "elements of the product");
    let out = Disjoint::new(out);
    match &rhs {
        Rhs::Plain(b) => {
            Product { m, k, n, lhs, rhs: Columns::Pack(b), epilogue, out: &out, offset: 0 }
                .run(isa, scratch, pool);
        }
        Rhs::Packed(b) => {
            let rhs = Columns::<Mat<'_>>::Packed(&b.data);
            Product { m, k, n, lhs, rhs, epilogue, out: &out, offset: 0 }.run(isa, scratch, pool);
        }
    }
}

/// `out = epilogue(lhs * weight^T)` with the weight unpacked panel by panel; scratch as for [`gemm`].
///
/// # Panics
/// When the operands do not fit each other, `out` or `scratch`.
pub fn gemm_packed(
    lhs: Mat<'_>,
    weight: &PackedMatrix,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    scratch: &mut [f32],
    pool: &Pool,
) {
    let (m, k, n) = (lhs.rows, lhs.columns, weight.rows());
    assert_eq!(weight.columns(), k, "columns of the weight and of the left operand");
    assert_eq!(out.len(), m * n, "elements of the product");
    let (lhs, rhs, out) = (Lhs::Plain(lhs), Columns::Pack(weight), Disjoint::new(out));
    Product { m, k, n, lhs, rhs, epilogue, out: &out, offset: 0 }.run(pool.isa(), scratch, pool);
}

impl<P: PackColumns> Product<'_, P> {
    /// Runs the product on the threads of `pool`, cut into blocks of rows and columns.
    pub(crate) fn run(&self, isa: Isa, scratch: &mut [f32], pool: &Pool) {
        let seat = seat_scratch(self.m, self.k, self.n);
        let (row_step, column_step) = self.steps(isa, pool.threads());
        let (rows, columns) = (self.m.div_ceil(row_step), self.n.div_ceil(column_step));
        assert!(scratch.len() >= seat * pool.threads(), "scratch of a matrix product");
        let scratch = Disjoint::new(scratch);
        pool.run_seated(rows * columns, |at, i| {
            let (r, c) = (i % rows, i / rows);
            // SAFETY: no two running tasks have the same seat.
            let scratch = unsafe { scratch.slice(at * seat..(at + 1) * seat) };
            let rows = r * row_step..self.m.min((r + 1) * row_step);
            let columns = c * column_step..self.n.min((c + 1) * column_step);
            isa.run(Block { product: self, isa, rows, columns, scratch });
        });
    }

    /// Rows and columns of a task.
    fn steps(&self, isa: Isa, threads: usize) -> (usize, usize) {
        let tile = isa.tile();
        let work = self.m * self.n * self.k;
        let tasks = if threads == 1 { 1 } else { (work / GRAIN).clamp(1, threads * 3) };
        let widest = match self.rhs {
            Columns::Packed(_) => usize::MAX / 2,
            Columns::Pack(_) => NC,
        };
        let panels = self.n.div_ceil(tile.columns).max(1);
        let columns = (panels.div_ceil(tasks) * tile.columns).min(widest);
        let column_tasks = self.n.div_ceil(columns).max(1);
        let row_tasks = tasks.div_ceil(column_tasks).min(threads);
        let rows = self.m.div_ceil(tile.rows).max(1).div_ceil(row_tasks) * tile.rows;
        (rows, columns)
    }
}

/// A block of a product that one thread computes.
struct Block<'a, 'p, P> {
    product: &'a Product<'p, P>,
    isa: Isa,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &'a mut [f32],
}

impl<P: PackColumns> Kernel for Block<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { product: p, isa, rows, columns, scratch } = self;
        let depth = p.k.min(KC);
        let (a_block, b_block) = scratch.split_at_mut(p.m.min(MC) * depth);
        let width = match p.rhs {
            Columns::Packed(_) => columns.len(),
            Columns::Pack(_) => NC,
        };
        for j in columns.clone().step_by(width.max(1)) {
            let columns = j..columns.end.min(j + width);
            // A product of depth 0 has one block, of depth 0.
            for k in (0..p.k.max(1)).step_by(KC) {
                let depth = k..p.k.min(k + KC);
                if let Columns::Pack(source) = p.rhs {
                    pack_columns(s, source, depth.clone(), columns.clone(), b_block);
                }
                for i in rows.clone().step_by(MC) {
                    let rows = i..rows.end.min(i + MC);
                    if let Lhs::Plain(a) = p.lhs {
                        a.pack_rows(S::MR, rows.clone(), depth.clone(), a_block);
                    }
                    p.panels(s, isa, rows, columns.clone(), depth.clone(), a_block, b_block);
                }
            }
        }
    }
}

/// Packs the panels of `columns`, one after the other.
#[inline(always)]
fn pack_columns<S: Simd>(
    s: S,
    source: &impl PackColumns,
    depth: Range<usize>,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let step = S::NV * S::LANES;
    for (p, j) in columns.clone().step_by(step).enumerate() {
        let panel = j..columns.end.min(j + step);
        let width = panel.len().next_multiple_of(S::LANES);
        source.pack(s, depth.clone(), panel, width, &mut out[p * step * depth.len()..]);
    }
}

impl<P> Product<'_, P> {
    /// Adds the products of packed panels into `C`, and applies the epilogue after the last `depth`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // one call site's locals
    fn panels<S: Simd>(
        &self,
        s: S,
        isa: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: Range<usize>,
        a_block: &[f32],
        b_block: &[f32],
    ) {
        let step = S::NV * S::LANES;
        let kc = depth.len();
        let finish = depth.end == self.k && !self.epilogue.is_identity();
        assert!(self.offset + rows.end.saturating_sub(1) * self.n + columns.end <= self.out.len());
        for (q, j) in columns.clone().step_by(step).enumerate() {
            let valid = step.min(columns.end - j);
            let width = valid.next_multiple_of(S::LANES);
            let b = match self.rhs {
                Columns::Packed(data) => &data[j * self.k + depth.start * width..][..kc * width],
                Columns::Pack(_) => &b_block[q * step * kc..][..kc * width],
            };
            for i in rows.clone().step_by(S::MR) {
                let mr = S::MR.min(rows.end - i);
                let a = match self.lhs {
                    Lhs::Packed(packed) => &packed.data[i * self.k + depth.start * mr..][..kc * mr],
                    Lhs::Plain(_) => &a_block[(i - rows.start) * kc..][..kc * mr],
                };
                // SAFETY: the tile lies inside `out` by the assertion above and no other task has its rows and
                // columns; the panels are as long as their slices say.
                unsafe {
                    let c = self.out.as_ptr().add(self.offset + i * self.n + j);
                    tile::multiply(
                        s,
                        isa,
                        mr,
                        a,
                        b,
                        tile::Target { c, pitch: self.n, valid, add: depth.start > 0 },
                    );
                }
            }
            if finish {
                let epilogue = self.epilogue.from(0, j);
                for i in rows.clone() {
                    let start = self.offset + i * self.n + j;
                    // SAFETY: as above.
                    epilogue.apply_row(s, i, unsafe { self.out.slice(start..start + valid) });
                }
            }
        }
    }
}

/// Many products of one shape: `out[b] = epilogue(a[b] * b[b])`.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// Rows of a product.
    pub m: usize,
    /// Depth.
    pub k: usize,
    /// Columns of a product.
    pub n: usize,
    /// The left operands are stored `k x m`.
    pub transpose_a: bool,
    /// The right operands are stored `n x k`.
    pub transpose_b: bool,
    /// Element at which the operands `(a, b)` of each product begin; equal offsets broadcast.
    pub offsets: Vec<(usize, usize)>,
}

impl MatMul {
    fn products_first(&self, pool: &Pool) -> bool {
        self.offsets.len() >= pool.threads()
    }

    /// Scratch elements that [`MatMul::run`] needs.
    pub fn scratch(&self, pool: &Pool) -> usize {
        gemm_scratch(self.m, self.k, self.n, pool)
    }

    /// Runs all products; `out` is `[offsets.len(), m, n]`.
    ///
    /// # Panics
    /// When a slice is shorter than its matrices, or `out` not exactly as long.
    pub fn run(
        &self,
        a: &[f32],
        b: &[f32],
        epilogue: Epilogue<'_>,
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
    ) {
        let size = self.m * self.n;
        assert_eq!(out.len(), size * self.offsets.len(), "elements of the products");
        let operands = |i: usize| {
            let (at_a, at_b) = self.offsets[i];
            let lhs = Mat::stored(&a[at_a..], self.m, self.k, self.transpose_a);
            (lhs, Mat::stored(&b[at_b..], self.k, self.n, self.transpose_b))
        };
        if !self.products_first(pool) {
            for (i, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
                let (lhs, rhs) = operands(i);
                gemm(Lhs::Plain(lhs), Rhs::Plain(rhs), epilogue, out, scratch, pool);
            }
            return;
        }
        let seat = seat_scratch(self.m, self.k, self.n);
        let (out, scratch) = (Disjoint::new(out), Disjoint::new(scratch));
        pool.run_seated(self.offsets.len(), |at, i| {
            let (lhs, rhs) = operands(i);
            // SAFETY: no two running tasks have the same seat.
            let scratch = unsafe { scratch.slice(at * seat..(at + 1) * seat) };
            let product = Product {
                m: self.m,
                k: self.k,
                n: self.n,
                lhs: Lhs::Plain(lhs),
                rhs: Columns::Pack(&rhs),
                epilogue,
                out: &out,
                offset: i * size,
            };
            let isa = pool.isa();
            isa.run(Block { product: &product, isa, rows: 0..self.m, columns: 0..self.n, scratch });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::activation::{Activation, Bias};
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    fn naive(a: Mat<'_>, b: Mat<'_>) -> Vec<f32> {
        let mut out = Vec::new();
        for i in 0..a.rows {
            for j in 0..b.columns {
                out.push(
                    (0..a.columns).map(|k| f64::from(a.at(i, k)) * f64::from(b.at(k, j))).sum::<f64>() as f32
                );
            }
        }
        out
    }

    /// Extents around every tile and block edge.
    fn shapes() -> Vec<(usize, usize, usize)> {
        let mut rng = Rng::new(1);
        let mut shapes =
            vec![(1, 1, 1), (1, 400, 33), (12, 384, 32), (97, 385, 257), (13, 800, 300), (3, 0, 5)];
        shapes.extend((0..25).map(|_| (rng.int(1, 40), rng.int(1, 50), rng.int(1, 90))));
        shapes
    }

    #[test]
    fn products_agree_with_the_definition() {
        for (seed, (m, k, n)) in shapes().into_iter().enumerate() {
            let mut rng = Rng::new(seed as u64);
            let (a, b) = (rng.floats(m * k), rng.floats(k * n));
            let (ta, tb) = (rng.int(0, 1) == 1, rng.int(0, 1) == 1);
            let (a, b) = (Mat::stored(&a, m, k, ta), Mat::stored(&b, k, n, tb));
            let want = naive(a, b);
            on_every_pool(|pool| {
                let (pa, pb) = (PackedLhs::new(a, pool.isa()), PackedRhs::new(b, pool.isa()));
                for (x, lhs) in [Lhs::Plain(a), Lhs::Packed(&pa)].into_iter().enumerate() {
                    for (y, rhs) in [Rhs::Plain(b), Rhs::Packed(&pb)].into_iter().enumerate() {
                        let mut out = vec![f32::NAN; m * n];
                        let mut scratch = vec![f32::NAN; gemm_scratch(m, k, n, pool)];
                        gemm(lhs, rhs, Epilogue::default(), &mut out, &mut scratch, pool);
                        // Rounding of k products and sums of numbers below 1.
                        let what = format!("{} {m}x{k}x{n} packed {x}{y}", pool.isa().name());
                        assert_close(&out, &want, 1e-7 * (k as f32).sqrt() * 8.0 + 1e-7, &what);
                    }
                }
            });
        }
    }

    #[test]
    fn bias_activation_and_rounding_follow_the_product() {
        let (m, k, n) = (37, 20, 70);
        let mut rng = Rng::new(5);
        let (a, b, rows, columns) = (rng.floats(m * k), rng.floats(k * n), rng.floats(m), rng.floats(n));
        let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
        let raw = naive(a, b);
        on_every_pool(|pool| {
            for (bias, by_row) in [(Bias::Row(&rows), true), (Bias::Col(&columns), false)] {
                for half in [false, true] {
                    let epilogue = Epilogue { bias, activation: Activation::LeakyRelu(0.3), half };
                    let round = |v: f32| if half { half::f16::from_f32(v).to_f32() } else { v };
                    let finish = |(i, &v): (usize, &f32)| {
                        let v = round(v + if by_row { rows[i / n] } else { columns[i % n] });
                        round(if v < 0.0 { 0.3 * v } else { v })
                    };
                    let want: Vec<f32> = raw.iter().enumerate().map(finish).collect();
                    let mut out = vec![0.0; m * n];
                    let mut scratch = vec![0.0; gemm_scratch(m, k, n, pool)];
                    gemm(Lhs::Plain(a), Rhs::Plain(b), epilogue, &mut out, &mut scratch, pool);
                    // Half: a last bit of f32 may fall on either side of a rounding boundary of f16.
                    assert_close(&out, &want, if half { 1e-3 } else { 1e-5 }, "epilogue");
                }
            }
        });
    }

    #[test]
    fn batches_broadcast_and_transpose() {
        let (m, k, n) = (17, 24, 19);
        let mut rng = Rng::new(9);
        let (a, b) = (rng.floats(3 * m * k), rng.floats(k * n));
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let offsets: Vec<_> = (0..3).map(|i| (i * m * k, 0)).collect();
            let matmul = MatMul { m, k, n, transpose_a, transpose_b, offsets };
            let want: Vec<f32> = (0..3)
                .flat_map(|i| {
                    naive(Mat::stored(&a[i * m * k..], m, k, transpose_a), Mat::stored(&b, k, n, transpose_b))
                })
                .collect();
            on_every_pool(|pool| {
                let mut out = vec![f32::NAN; 3 * m * n];
                let mut scratch = vec![f32::NAN; matmul.scratch(pool)];
                matmul.run(&a, &b, Epilogue::default(), &mut out, &mut scratch, pool);
                assert_close(&out, &want, 1e-5, "batch");
            });
        }
    }
}
