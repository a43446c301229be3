//! Softmax along any axis.

use super::elementwise::GRAIN;
use super::math;
use super::reduce::{Exponentials, Largest, Sum, fold_columns, fold_run};
use super::simd::{Kernel, Simd};
use crate::pool::{Disjoint, Pool};

/// Columns that are worked on together.
pub(crate) const BLOCK: usize = 64;

/// `out = e^(x - max) / sum of e^(x - max)` along the middle of `[outer, n, inner]`.
///
/// # Panics
/// When the lengths do not fit the extents.
pub fn softmax(x: &[f32], (outer, n, inner): (usize, usize, usize), out: &mut [f32], pool: &Pool) {
    assert_eq!(x.len(), outer * n * inner, "elements of a softmax");
    assert_eq!(out.len(), x.len(), "elements of a softmax's result");
    if inner == 1 {
        pool.rows_mut(out, n, GRAIN / 4, |first, out| {
            pool.isa().run(Rows { x: &x[first * n..first * n + out.len()], n, out });
        });
        return;
    }
    for_columns(pool, out, (outer, n, inner), |start, out| {
        pool.isa().run(Columns { x: &x[start..], n, pitch: inner, out });
    });
}

/// A block of neighbouring columns of a result that one task writes.
pub(crate) struct ColumnBlock<'a> {
    out: &'a Disjoint<'a, f32>,
    start: usize,
    pitch: usize,
    /// Columns of the block.
    pub(crate) columns: usize,
}

impl ColumnBlock<'_> {
    /// Row `i` of the block.
    #[inline(always)]
    pub(crate) fn row(&mut self, i: usize) -> &mut [f32] {
        let start = self.start + i * self.pitch;
        // SAFETY: blocks do not share columns, and `&mut self` keeps the rows of this one apart.
        unsafe { self.out.slice(start..start + self.columns) }
    }
}

/// Calls `f(element where the block begins, block)` for blocks of at most [`BLOCK`] neighbouring columns of
/// `out [outer, n, inner]`.
pub(crate) fn for_columns(
    pool: &Pool,
    out: &mut [f32],
    (outer, n, inner): (usize, usize, usize),
    f: impl Fn(usize, ColumnBlock<'_>) + Sync,
) {
    let blocks = inner.div_ceil(BLOCK);
    let out = Disjoint::new(out);
    pool.parallel_for(outer * blocks, (GRAIN / 4 / (n * BLOCK).max(1)).max(1), |range| {
        for i in range {
            let column = i % blocks * BLOCK;
            let start = i / blocks * n * inner + column;
            f(start, ColumnBlock { out: &out, start, pitch: inner, columns: BLOCK.min(inner - column) });
        }
    });
}

struct Rows<'a> {
    x: &'a [f32],
    n: usize,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, out) in self.x.chunks_exact(self.n).zip(self.out.chunks_exact_mut(self.n)) {
            let largest = s.splat(fold_run(s, Largest, x, 0.0));
            for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
                s.store_part(out, math::exp(s, s.sub(s.load_part(x), largest)));
            }
            let scale = s.splat(1.0 / fold_run(s, Sum, out, 0.0));
            for out in out.chunks_mut(S::LANES) {
                let y = s.mul(s.load_part(out), scale);
                s.store_part(out, y);
            }
        }
    }
}

struct Columns<'a> {
    x: &'a [f32],
    n: usize,
    pitch: usize,
    out: ColumnBlock<'a>,
}

impl Kernel for Columns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, n, pitch, mut out } = self;
        let columns = out.columns;
        let (mut largest, mut sum) = ([0f32; BLOCK], [0f32; BLOCK]);
        let (largest, sum) = (&mut largest[..columns], &mut sum[..columns]);
        let starts = (0..n).map(|i| i * pitch);
        fold_columns(s, Largest, x, starts.clone(), None, largest);
        fold_columns(s, Exponentials, x, starts, Some(largest), sum);
        for i in 0..n {
            let x = &x[i * pitch..i * pitch + columns];
            write_row(s, x, largest, sum, out.row(i));
        }
    }
}

#[inline(always)]
fn write_row<S: Simd>(s: S, x: &[f32], largest: &[f32], sum: &[f32], row: &mut [f32]) {
    for (v, out) in row.chunks_mut(S::LANES).enumerate() {
        let part = v * S::LANES..v * S::LANES + out.len();
        let e = math::exp(s, s.sub(s.load_part(&x[part.clone()]), s.load_part(&largest[part.clone()])));
        s.store_part(out, s.div(e, s.load_part(&sum[part])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    #[test]
    fn softmax_agrees_with_its_formula_along_any_axis() {
        let mut rng = Rng::new(1);
        for (outer, n, inner) in
            [(1, 1, 1), (7, 1000, 1), (3, 5, 1), (2, 10, 7), (3, 21, 130), (1, 4, 5000), (40, 33, 1)]
        {
            let x: Vec<f32> = rng.floats(outer * n * inner).iter().map(|x| x * 30.0).collect();
            let mut want = vec![0f32; x.len()];
            for (o, j) in (0..outer).flat_map(|o| (0..inner).map(move |j| (o, j))) {
                let e = |k: usize| f64::from(x[(o * n + k) * inner + j]).exp();
                let sum: f64 = (0..n).map(e).sum();
                (0..n).for_each(|k| want[(o * n + k) * inner + j] = (e(k) / sum) as f32);
            }
            on_every_pool(|pool| {
                let mut out = vec![f32::NAN; x.len()];
                softmax(&x, (outer, n, inner), &mut out, pool);
                assert_close(&out, &want, 1e-6, &format!("{outer} {n} {inner}"));
            });
        }
    }
}
