//! Reductions over any axes, and the positions of extremes.
//!
//! Sums keep one accumulator per lane and several vectors, so that their error grows with the length over some dozens.

use super::elementwise::GRAIN;
use super::math;
use super::simd::{Isa, Kernel, Simd};
use super::{Misfit, fits};
use crate::pool::Pool;

/// What becomes of the elements; the names of the MIL ops `reduce_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum
    Sum,
    /// Sum over number
    Mean,
    /// Largest, NaN when one is
    Max,
    /// Smallest, NaN when one is
    Min,
    /// Product
    Prod,
    /// Sum of squares
    SumSquare,
    /// Sum of magnitudes
    L1Norm,
    /// Square root of the sum of squares
    L2Norm,
    /// Logarithm of the sum
    LogSum,
    /// Logarithm of the sum of exponentials, computed without overflow
    LogSumExp,
}

/// One associative step, `m` being the largest element for those that ask for it.
pub(crate) trait Fold: Copy + Sync {
    const START: f32;
    fn step<S: Simd>(self, s: S, sum: S::F, x: S::F, m: S::F) -> S::F;
    fn join<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F;
}

macro_rules! folds {
    ($($name:ident $start:expr, |$s:ident, $sum:ident, $x:ident, $m:ident| $step:expr, |$a:ident, $b:ident| $join:expr;)*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $name;
        impl Fold for $name {
            const START: f32 = $start;
            #[inline(always)]
            fn step<S: Simd>(self, $s: S, $sum: S::F, $x: S::F, $m: S::F) -> S::F {
                let _ = $m;
                $step
            }
            #[inline(always)]
            fn join<S: Simd>(self, $s: S, $a: S::F, $b: S::F) -> S::F {
                $join
            }
        }
    )*};
}

folds! {
    Sum 0.0, |s, sum, x, m| s.add(sum, x), |a, b| s.add(a, b);
    Squares 0.0, |s, sum, x, m| s.fma(x, x, sum), |a, b| s.add(a, b);
    Deviations 0.0, |s, sum, x, m| { let d = s.sub(x, m); s.fma(d, d, sum) }, |a, b| s.add(a, b);
    Magnitudes 0.0, |s, sum, x, m| s.add(sum, s.abs(x)), |a, b| s.add(a, b);
    Product 1.0, |s, sum, x, m| s.mul(sum, x), |a, b| s.mul(a, b);
    Exponentials 0.0, |s, sum, x, m| s.add(sum, math::exp(s, s.sub(x, m))), |a, b| s.add(a, b);
    Largest f32::NEG_INFINITY, |s, sum, x, m| s.if_eq(sum, sum, s.max(sum, x), sum),
        |a, b| s.if_eq(a, a, s.max(a, b), a);
    Smallest f32::INFINITY, |s, sum, x, m| s.if_eq(sum, sum, s.min(sum, x), sum),
        |a, b| s.if_eq(a, a, s.min(a, b), a);
}

/// The fold of a contiguous run.
#[inline(always)]
pub(crate) fn fold_run<S: Simd>(s: S, f: impl Fold, x: &[f32], m: f32) -> f32 {
    let (start, m) = (s.splat(f.start()), s.splat(m));
    let mut sums = [start; 4];
    let mut blocks = x.chunks_exact(4 * S::LANES);
    for block in blocks.by_ref() {
        for (sum, x) in sums.iter_mut().zip(block.chunks_exact(S::LANES)) {
            *sum = f.step(s, *sum, s.load_part(x), m);
        }
    }
    let mut vectors = blocks.remainder().chunks_exact(S::LANES);
    for x in vectors.by_ref() {
        sums[0] = f.step(s, sums[0], s.load_part(x), m);
    }
    let total = f.join(s, f.join(s, sums[0], sums[1]), f.join(s, sums[2], sums[3]));
    // Halving keeps the error of sums low; lanes beyond the half are no longer looked at.
    let (mut total, mut lanes, mut n) = (total, [0f32; 32], S::LANES);
    while n > 1 {
        n /= 2;
        // SAFETY: 32 elements hold a vector at 0 and, since `n` is at most 8, one at `n`.
        total = unsafe {
            s.store(lanes.as_mut_ptr(), total);
            f.join(s, total, s.load(lanes.as_ptr().add(n)))
        };
    }
    for &x in vectors.remainder() {
        total = f.step(s, total, s.splat(x), m);
    }
    s.lanes(total)[0]
}

trait Start: Fold {
    #[inline(always)]
    fn start(self) -> f32 {
        Self::START
    }
}
impl<F: Fold> Start for F {}

/// The folds of neighbouring columns: `out[j]` over `x[r + j]` for all starts `r`; `m` holds one number per column.
#[inline(always)]
pub(crate) fn fold_columns<S: Simd>(
    s: S,
    f: impl Fold,
    x: &[f32],
    starts: impl Iterator<Item = usize> + Clone,
    m: Option<&[f32]>,
    out: &mut [f32],
) {
    let mut j = 0;
    while out.len() - j >= 4 * S::LANES {
        let mut block = [s.splat(0.0); 4];
        for (v, block) in block.iter_mut().enumerate() {
            *block = part(s, m, j + v * S::LANES, S::LANES);
        }
        let mut sums = [s.splat(f.start()); 4];
        for r in starts.clone() {
            let row = &x[r + j..r + j + 4 * S::LANES];
            for (v, x) in row.chunks_exact(S::LANES).enumerate() {
                sums[v] = f.step(s, sums[v], s.load_part(x), block[v]);
            }
        }
        for (v, out) in out[j..j + 4 * S::LANES].chunks_exact_mut(S::LANES).enumerate() {
            s.store_part(out, sums[v]);
        }
        j += 4 * S::LANES;
    }
    while j < out.len() {
        let n = S::LANES.min(out.len() - j);
        let (mut sum, m) = (s.splat(f.start()), part(s, m, j, n));
        for r in starts.clone() {
            sum = f.step(s, sum, s.load_part(&x[r + j..r + j + n]), m);
        }
        s.store_part(&mut out[j..j + n], sum);
        j += n;
    }
}

#[inline(always)]
fn part<S: Simd>(s: S, m: Option<&[f32]>, at: usize, n: usize) -> S::F {
    m.map_or(s.splat(0.0), |m| s.load_part(&m[at..at + n]))
}

/// A reduction of one shape over given axes.
#[derive(Clone, Debug)]
pub struct ReducePlan {
    reduction: Reduction,
    /// Where the kept positions begin, the innermost dimension left out when it is kept.
    kept: Vec<usize>,
    /// Where the reduced positions of each begin, the innermost dimension left out when it is reduced.
    reduced: Vec<usize>,
    /// Extent of the innermost dimension.
    inner: usize,
    inner_reduced: bool,
    input_len: usize,
}

impl ReducePlan {
    /// Reduces `shape` over `axes`.
    ///
    /// # Errors
    /// [`Misfit`] when an axis does not exist.
    pub fn new(reduction: Reduction, shape: &[usize], axes: &[usize]) -> Result<Self, Misfit> {
        for &axis in axes {
            fits!(
                axis < shape.len(),
                "axis {axis} of {shape:?} does not exist; axes are 0 to {}",
                shape.len()
            );
        }
        // Neighbouring dimensions with the same fate are one.
        let mut dims: Vec<(usize, bool)> = Vec::new();
        for (d, &extent) in shape.iter().enumerate() {
            let reduce = axes.contains(&d);
            match dims.last_mut() {
                _ if extent == 1 => {}
                Some((n, fate)) if *fate == reduce => *n *= extent,
                _ => dims.push((extent, reduce)),
            }
        }
        let (inner, inner_reduced) = dims.pop().unwrap_or((1, false));
        let starts = |fate: bool| {
            let (mut list, mut step) = (vec![0], shape.iter().product::<usize>());
            for &(extent, reduce) in &dims {
                step /= extent.max(1);
                if reduce == fate {
                    list = list.iter().flat_map(|&at| (0..extent).map(move |i| at + i * step)).collect();
                }
            }
            list
        };
        let input_len = shape.iter().product();
        Ok(Self { reduction, kept: starts(false), reduced: starts(true), inner, inner_reduced, input_len })
    }

    /// Elements of the result.
    pub fn output_len(&self) -> usize {
        self.kept.len() * if self.inner_reduced { 1 } else { self.inner }
    }

    /// Elements that become one.
    fn count(&self) -> usize {
        self.reduced.len() * if self.inner_reduced { self.inner } else { 1 }
    }

    /// Reduces `x` into `out`.
    ///
    /// # Panics
    /// When `x` does not have the shape of the plan or `out` not [`ReducePlan::output_len`] elements.
    pub fn run(&self, x: &[f32], out: &mut [f32], pool: &Pool) {
        assert_eq!(x.len(), self.input_len, "elements of a reduction");
        assert_eq!(out.len(), self.output_len(), "elements of a reduction's result");
        let row = if self.inner_reduced { 1 } else { self.inner };
        // An output is worth as many elements as go into it.
        let grain = GRAIN / self.count().max(1);
        let rows = self.kept.len();
        if rows >= pool.threads() * 2 || self.inner_reduced {
            pool.rows_mut(out, row, grain, |first, out| {
                pool.isa().run(Part { plan: self, x, first, column: 0, row, out });
            });
            return;
        }
        for (first, out) in out.chunks_exact_mut(row.max(1)).enumerate() {
            let chunk = row.div_ceil(pool.threads() * 2).max(grain).next_multiple_of(64);
            pool.chunks_mut(out, chunk, |i, out| {
                let row = out.len();
                pool.isa().run(Part { plan: self, x, first, column: i * chunk, row, out });
            });
        }
    }
}

/// Rows of the result from `first` on, `row` elements each, from `column` on.
struct Part<'a> {
    plan: &'a ReducePlan,
    x: &'a [f32],
    first: usize,
    column: usize,
    row: usize,
    out: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        match self.plan.reduction {
            Reduction::Sum | Reduction::Mean | Reduction::LogSum => self.fold(s, Sum, None),
            Reduction::Max => self.fold(s, Largest, None),
            Reduction::Min => self.fold(s, Smallest, None),
            Reduction::Prod => self.fold(s, Product, None),
            Reduction::SumSquare | Reduction::L2Norm => self.fold(s, Squares, None),
            Reduction::L1Norm => self.fold(s, Magnitudes, None),
            Reduction::LogSumExp => {
                self.fold(s, Largest, None);
                // An infinite maximum would make a NaN of its difference to itself.
                let largest: Vec<f32> =
                    self.out.iter().map(|m| if m.is_infinite() { 0.0 } else { *m }).collect();
                self.fold(s, Exponentials, Some(&largest));
                self.out.iter_mut().zip(&largest).for_each(|(o, m)| *o = o.ln() + m);
            }
        }
        let count = self.plan.count() as f32;
        match self.plan.reduction {
            Reduction::Mean => self.out.iter_mut().for_each(|o| *o /= count),
            Reduction::L2Norm => self.out.iter_mut().for_each(|o| *o = o.sqrt()),
            Reduction::LogSum => self.out.iter_mut().for_each(|o| *o = o.ln()),
            _ => {}
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn fold<S: Simd>(&mut self, s: S, f: impl Fold, m: Option<&[f32]>) {
        let plan = self.plan;
        for (i, out) in self.out.chunks_exact_mut(self.row.max(1)).enumerate() {
            let x = &self.x[(plan.kept[self.first + i] + self.column).min(self.x.len())..];
            let m = m.map(|m| &m[i * self.row..(i + 1) * self.row]);
            if plan.inner_reduced {
                let m = m.map_or(0.0, |m| m[0]);
                let mut total = s.splat(f.start());
                for &r in &plan.reduced {
                    total = f.join(s, total, s.splat(fold_run(s, f, &x[r..r + plan.inner], m)));
                }
                out[0] = s.lanes(total)[0];
            } else {
                fold_columns(s, f, x, plan.reduced.iter().copied(), m, out);
            }
        }
    }
}

/// Which extreme [`arg_extreme`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The largest element.
    Max,
    /// The smallest element.
    Min,
}

/// Positions of the extremes along the middle of `x [outer, n, inner]`, the first of equals and of NaNs:
/// `out [outer, inner]`, as `put` writes them.
///
/// # Panics
/// When the lengths do not fit the extents, or `n` is 0.
pub fn arg_extreme<T: Send>(
    extreme: Extreme,
    x: &[f32],
    (outer, n, inner): (usize, usize, usize),
    out: &mut [T],
    pool: &Pool,
    put: impl Fn(usize) -> T + Sync,
) {
    assert!(n > 0, "position of an extreme among 0 elements");
    assert_eq!(x.len(), outer * n * inner, "elements of an extreme");
    assert_eq!(out.len(), outer * inner, "elements of an extreme's result");
    if inner == 1 {
        pool.rows_mut(out, 1, GRAIN / n, |first, out| {
            let lines = x[first * n..].chunks_exact(n);
            out.iter_mut().zip(lines).for_each(|(o, x)| *o = put(first_extreme(pool.isa(), extreme, x)));
        });
        return;
    }
    pool.row_parts_mut(out, inner, GRAIN / n, |o, first, out| {
        for (i, out) in out.chunks_mut(COLUMNS).enumerate() {
            let x = &x[o * n * inner + first + i * COLUMNS..];
            let found = match extreme {
                Extreme::Max => extreme_columns(x, n, inner, out.len(), |a, b| a > b),
                Extreme::Min => extreme_columns(x, n, inner, out.len(), |a, b| a < b),
            };
            out.iter_mut().zip(found).for_each(|(o, i)| *o = put(i as usize));
        }
    });
}

/// Columns that are searched side by side.
const COLUMNS: usize = 64;

/// In which of `n` rows, `step` apart, each of the first `width` columns of `x` has its extreme.
fn extreme_columns(
    x: &[f32],
    n: usize,
    step: usize,
    width: usize,
    before: impl Fn(f32, f32) -> bool,
) -> [u32; COLUMNS] {
    let (mut best, mut found) = ([0.0; COLUMNS], [0; COLUMNS]);
    best[..width].copy_from_slice(&x[..width]);
    for k in 1..n {
        for ((best, found), &x) in best.iter_mut().zip(&mut found).zip(&x[k * step..k * step + width]) {
            if before(x, *best) || (x.is_nan() && !best.is_nan()) {
                (*best, *found) = (x, k as u32);
            }
        }
    }
    found
}

struct Run<'a, F>(F, &'a [f32]);

impl<F: Fold> Kernel for Run<'_, F> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        fold_run(s, self.0, self.1, 0.0)
    }
}

fn first_extreme(isa: Isa, extreme: Extreme, x: &[f32]) -> usize {
    let value = match extreme {
        Extreme::Max => isa.run(Run(Largest, x)),
        Extreme::Min => isa.run(Run(Smallest, x)),
    };
    let found = x.iter().position(|&x| x == value || (x.is_nan() && value.is_nan()));
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    fn naive(shape: &[usize], axes: &[usize], x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f32> {
        let outputs: usize =
            shape.iter().enumerate().filter(|(d, _)| !axes.contains(d)).map(|(_, n)| n).product();
        let mut groups = vec![Vec::new(); outputs];
        for (i, &x) in x.iter().enumerate() {
            let (mut rest, mut at, mut step) = (i, 0, 1);
            for (d, &extent) in shape.iter().enumerate().rev() {
                if !axes.contains(&d) {
                    at += rest % extent * step;
                    step *= extent;
                }
                rest /= extent;
            }
            groups[at].push(f64::from(x));
        }
        groups.iter().map(|g| f(g) as f32).collect()
    }

    fn formula(reduction: Reduction, x: &[f64]) -> f64 {
        let sum: f64 = x.iter().sum();
        let squares: f64 = x.iter().map(|x| x * x).sum();
        match reduction {
            Reduction::Sum => sum,
            Reduction::Mean => sum / x.len() as f64,
            Reduction::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduction::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
            Reduction::Prod => x.iter().product(),
            Reduction::SumSquare => squares,
            Reduction::L1Norm => x.iter().map(|x| x.abs()).sum(),
            Reduction::L2Norm => squares.sqrt(),
            Reduction::LogSum => sum.ln(),
            Reduction::LogSumExp => x.iter().map(|x| x.exp()).sum::<f64>().ln(),
        }
    }

    const ALL: [Reduction; 10] = [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Max,
        Reduction::Min,
        Reduction::Prod,
        Reduction::SumSquare,
        Reduction::L1Norm,
        Reduction::L2Norm,
        Reduction::LogSum,
        Reduction::LogSumExp,
    ];

    #[test]
    fn reductions_over_any_axes_agree_with_their_formulas() {
        let mut rng = Rng::new(1);
        for i in 0..80 {
            let reduction = ALL[i % ALL.len()];
            let rank = rng.int(1, 5);
            let shape: Vec<usize> = (0..rank).map(|_| rng.int(1, [150, 40, 16, 9, 7][rank - 1])).collect();
            let axes: Vec<usize> = (0..shape.len()).filter(|_| rng.int(0, 1) == 0).collect();
            let n: usize = shape.iter().product();
            let x: Vec<f32> = rng.floats(n).iter().map(|x| x * 0.1 + 1.0).collect();
            let want = naive(&shape, &axes, &x, |g| formula(reduction, g));
            on_every_pool(|pool| {
                let plan = ReducePlan::new(reduction, &shape, &axes).unwrap();
                let mut out = vec![f32::NAN; want.len()];
                plan.run(&x, &mut out, pool);
                // Products of hundreds of factors gather half a unit each.
                let tolerance = if reduction == Reduction::Prod { 1e-3 } else { 1e-5 };
                assert_close(&out, &want, tolerance, &format!("{reduction:?} {shape:?} {axes:?}"));
            });
        }
    }

    #[test]
    fn infinities_and_nan_survive() {
        let x = [1.0, f32::NAN, 3.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        on_every_pool(|pool| {
            for (reduction, want) in [
                (Reduction::Max, [f32::NAN, f32::NEG_INFINITY]),
                (Reduction::Min, [f32::NAN, f32::NEG_INFINITY]),
                (Reduction::LogSumExp, [f32::NAN, f32::NEG_INFINITY]),
            ] {
                let mut out = [0.0; 2];
                ReducePlan::new(reduction, &[2, 3], &[1]).unwrap().run(&x, &mut out, pool);
                assert_close(&out, &want, 0.0, &format!("{reduction:?}"));
            }
        });
        assert!(ReducePlan::new(Reduction::Sum, &[2, 3], &[2]).is_err());
    }

    #[test]
    fn extremes_are_found_at_their_first_position() {
        let mut rng = Rng::new(2);
        for (outer, n, inner) in [(3, 1, 1), (5, 100, 1), (2, 7, 33), (1, 1000, 1), (4, 9, 2), (2, 5, 20_001)]
        {
            let x: Vec<f32> = (0..outer * n * inner).map(|_| rng.int(0, 20) as f32).collect();
            for (extreme, sign) in [(Extreme::Max, 1.0), (Extreme::Min, -1.0)] {
                let mut want = Vec::new();
                for (o, j) in (0..outer).flat_map(|o| (0..inner).map(move |j| (o, j))) {
                    let at = |k: usize| sign * x[(o * n + k) * inner + j];
                    want.push((0..n).fold(0, |best, k| if at(k) > at(best) { k } else { best }) as i32);
                }
                on_every_pool(|pool| {
                    let mut out = vec![-1; outer * inner];
                    arg_extreme(extreme, &x, (outer, n, inner), &mut out, pool, |i| i as i32);
                    assert_eq!(out, want);
                });
            }
        }
    }
}
