//! Sums of products in the fixed-point accumulator.
//!
//! A product of two `fp16` numbers has at most 22 digits, so `f32` holds it exactly, and so it does with half a step
//! added: rounding to steps is `trunc(product + half)` without a branch. A product whose exponents sum to -17 or less
//! counts nothing: for a factor of exponent `e` that are the other factors below `2^(-16 - e)`, one comparison.
//!
//! Where the largest factor times the sum of the others' magnitudes is below the limit, no running sum reaches it, and
//! sums are kept in 32-bit integers. All others are kept in `f64`, which holds any running sum below 2^53 exactly, with
//! the largest and smallest sum on the way; those that met both ends of the range are added again one by one.

use super::number::{LIMIT, STEPS, from_steps};
use crate::kernels::simd::{Kernel, Simd};
use crate::pool::{Disjoint, Pool};
use std::sync::atomic::{AtomicU64, Ordering};

/// Columns that are computed side by side.
pub(crate) const LANES: usize = 16;

/// One row of [`LANES`] columns.
pub(crate) type Lanes = [f32; LANES];

/// Blocks of columns that meet a pair of rows while it is in the cache.
const BLOCKS: usize = 4;

/// Elements that the columns of a task have at most, where one block has fewer.
const PANEL: usize = 1 << 18;

/// A factor that every column of a row is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factor {
    /// The number, in steps.
    steps: f32,
    /// The least magnitude of the other factor at which the product counts.
    least: f32,
}

impl Factor {
    /// A decoded `fp16` number.
    pub(crate) fn fixed(x: f32) -> Factor {
        // The exponent of fp16: subnormal numbers and 0 count as -14.
        let exponent = ((x.to_bits() >> 23 & 0xff) as i32 - 127).max(-14);
        let least = if exponent >= -2 { 0.0 } else { super::number::power_of_two(-16 - exponent) as f32 };
        Factor { steps: x * STEPS as f32, least }
    }

    /// A small integer, which is a step by itself.
    pub(crate) fn integer(x: f32) -> Factor {
        Factor { steps: x, least: 0.0 }
    }
}

/// Rows of factors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    factors: Vec<Factor>,
    /// Sum of the magnitudes of each row, in steps.
    sizes: Vec<f64>,
    terms: usize,
}

/// Bytes of a row of `terms` factors.
pub(crate) fn row_bytes(terms: usize) -> usize {
    terms * size_of::<Factor>() + size_of::<f64>()
}

/// Bytes of the columns that a task holds at most.
pub(crate) fn panel_bytes(terms: usize) -> usize {
    PANEL.max(terms * LANES) * size_of::<f32>()
}

impl Rows {
    /// Rows of `terms` factors each.
    pub(crate) fn new(factors: Vec<Factor>, terms: usize) -> Rows {
        let size = |row: &[Factor]| row.iter().map(|f| f64::from(f.steps.abs())).sum();
        let sizes = factors.chunks_exact(terms.max(1)).map(size).collect();
        Rows { factors, sizes, terms }
    }

    fn row(&self, r: usize) -> &[Factor] {
        &self.factors[r * self.terms..(r + 1) * self.terms]
    }
}

/// Sums to be made: for every `outer`, rows times columns.
pub(crate) trait Sums: Sync {
    /// How often rows meet columns.
    fn outer(&self) -> usize;
    /// Rows for one of these, and the first row of them.
    fn rows(&self, outer: usize) -> (&Rows, usize);
    /// How many rows there are for each.
    fn row_count(&self) -> usize;
    /// How many columns there are for each.
    fn columns(&self) -> usize;
    /// Largest magnitude in a column.
    fn largest(&self) -> f32;
    /// Columns `at..at + count` term by term, `count` at most [`LANES`]; the lanes after them are 0.
    fn fill(&self, outer: usize, at: usize, count: usize, panel: &mut [Lanes]);
    /// What a sum begins with, in steps.
    fn start(&self, outer: usize, row: usize, column: usize) -> f64;
    /// Where a result goes, and what it is when it has not left the range.
    fn finish(&self, outer: usize, row: usize, column: usize, sum: f64) -> (usize, f32);
}

/// How near the sums of an op have come to the limit, over all predictions.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    largest: AtomicU64,
    any_order: AtomicU64,
    infinite: AtomicU64,
    results: AtomicU64,
}

impl Gauge {
    fn add(&self, seen: &Seen) {
        // Magnitudes are not negative, and such floats are ordered as their bits are.
        self.largest.fetch_max(seen.largest.to_bits(), Ordering::Relaxed);
        self.any_order.fetch_max(seen.any_order.to_bits(), Ordering::Relaxed);
        self.infinite.fetch_add(seen.infinite, Ordering::Relaxed);
        self.results.fetch_add(seen.results, Ordering::Relaxed);
    }

    /// Largest running sum, as it would be without a limit, and the largest that some order of addition would have, in
    /// steps.
    pub(crate) fn largest(&self) -> (f64, f64) {
        let of = |a: &AtomicU64| f64::from_bits(a.load(Ordering::Relaxed));
        (of(&self.largest), of(&self.any_order))
    }

    /// Infinite results, and all of them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.infinite.load(Ordering::Relaxed), self.results.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Seen {
    largest: f64,
    any_order: f64,
    infinite: u64,
    results: u64,
}

/// Makes all sums; `gauge` is told how near they come to the limit.
pub(crate) fn run<S: Sums>(sums: &S, out: &mut [f32], gauge: Option<&Gauge>, pool: &Pool) {
    let (rows, columns) = (sums.row_count(), sums.columns());
    if rows == 0 || columns == 0 || sums.outer() == 0 {
        return;
    }
    let terms = sums.rows(0).0.terms;
    let blocks = (PANEL / (terms.max(1) * LANES)).clamp(1, BLOCKS);
    let chunk = blocks * LANES;
    let chunks = columns.div_ceil(chunk);
    let wanted = (2 * pool.threads()).div_ceil(chunks * sums.outer());
    let parts = if pool.threads() > 1 { wanted.clamp(1, rows.div_ceil(8)) } else { 1 };
    let out = Disjoint::new(out);
    pool.run(sums.outer() * chunks * parts, |task| {
        let (outer, rest) = (task / (chunks * parts), task % (chunks * parts));
        let (at, part) = (rest / parts * chunk, rest % parts);
        let piece = Piece {
            sums,
            outer,
            rows: rows * part / parts..rows * (part + 1) / parts,
            columns: at..columns.min(at + chunk),
            terms,
            out: &out,
        };
        match gauge {
            Some(gauge) => gauge.add(&pool.isa().run(Measured(piece))),
            None => pool.isa().run(Plain(piece)),
        }
    });
}

struct Piece<'a, S> {
    sums: &'a S,
    outer: usize,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    terms: usize,
    out: &'a Disjoint<'a, f32>,
}

struct Plain<'a, S>(Piece<'a, S>);
struct Measured<'a, S>(Piece<'a, S>);

impl<S: Sums> Kernel for Plain<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        self.0.go::<false, 4>();
    }
}

impl<S: Sums> Kernel for Measured<'_, S> {
    type Output = Seen;
    #[inline(always)]
    fn run<V: Simd>(self, _: V) -> Seen {
        self.0.go::<true, 2>()
    }
}

impl<S: Sums> Piece<'_, S> {
    /// All sums of the piece, `R` rows at a time.
    #[inline(always)]
    fn go<const MEASURE: bool, const R: usize>(&self) -> Seen {
        let (rows, first) = self.sums.rows(self.outer);
        let blocks = self.columns.len().div_ceil(LANES);
        let mut panel = vec![[0.0; LANES]; self.terms * blocks];
        for (b, panel) in panel.chunks_exact_mut(self.terms.max(1)).enumerate() {
            let at = self.columns.start + b * LANES;
            self.sums.fill(self.outer, at, LANES.min(self.columns.end - at), panel);
        }
        let largest = f64::from(self.sums.largest());
        let mut seen = Seen::default();
        let mut r = self.rows.start;
        while r < self.rows.end {
            // Each product is rounded by half a step at most.
            let fits =
                |r: usize| rows.sizes[first + r] * largest + (self.terms as f64) < LIMIT - self.start_most(r);
            let together = r + R <= self.rows.end && (r..r + R).all(fits);
            for b in 0..blocks {
                let panel = &panel[b * self.terms..(b + 1) * self.terms];
                let at = self.columns.start + b * LANES;
                if together {
                    let some: [&[Factor]; R] = std::array::from_fn(|i| rows.row(first + r + i));
                    self.narrow::<MEASURE, R>(some, r, at, panel, &mut seen);
                } else if fits(r) {
                    self.narrow::<MEASURE, 1>([rows.row(first + r)], r, at, panel, &mut seen);
                } else {
                    self.wide(rows.row(first + r), r, at, panel, &mut seen);
                }
            }
            r += if together { R } else { 1 };
        }
        seen
    }

    /// Largest magnitude that a sum of the row begins with.
    #[inline(always)]
    fn start_most(&self, r: usize) -> f64 {
        self.columns.clone().map(|c| self.sums.start(self.outer, r, c).abs()).fold(0.0, f64::max)
    }

    /// Sums that cannot leave the range.
    #[allow(clippy::needless_range_loop, reason = "loops over lanes, which become vectors")]
    #[inline(always)]
    fn narrow<const MEASURE: bool, const R: usize>(
        &self,
        rows: [&[Factor]; R],
        r: usize,
        at: usize,
        panel: &[Lanes],
        seen: &mut Seen,
    ) {
        let count = LANES.min(self.columns.end - at);
        let mut sums = [[0i32; LANES]; R];
        for (i, sums) in sums.iter_mut().enumerate() {
            for (c, s) in sums.iter_mut().enumerate().take(count) {
                *s = self.sums.start(self.outer, r + i, at + c) as i32;
            }
        }
        let starts = sums;
        let (mut most, mut least, mut up) = (sums, sums, [[0i32; LANES]; R]);
        for (k, x) in panel.iter().enumerate() {
            for i in 0..R {
                let Some(&f) = rows[i].get(k) else { continue };
                for l in 0..LANES {
                    let product = x[l] * f.steps;
                    let rounded = product + 0.5f32.copysign(product);
                    // SAFETY: the caller has shown that no product reaches 2^31, and there is no NaN.
                    let steps: i32 = unsafe { rounded.to_int_unchecked() };
                    let steps = if x[l].abs() >= f.least { steps } else { 0 };
                    sums[i][l] = sums[i][l].wrapping_add(steps);
                    if MEASURE {
                        most[i][l] = most[i][l].max(sums[i][l]);
                        least[i][l] = least[i][l].min(sums[i][l]);
                        up[i][l] = up[i][l].wrapping_add(steps.max(0));
                    }
                }
            }
        }
        for i in 0..R {
            for c in 0..count {
                let sum = f64::from(sums[i][c]);
                self.store(r + i, at + c, sum);
                if MEASURE {
                    let range = (f64::from(most[i][c]), f64::from(least[i][c]));
                    seen.sum(f64::from(starts[i][c]), sum, range, f64::from(up[i][c]));
                }
            }
        }
    }

    /// Sums that may leave the range.
    #[allow(clippy::needless_range_loop, reason = "loops over lanes, which become vectors")]
    #[inline(always)]
    fn wide(&self, row: &[Factor], r: usize, at: usize, panel: &[Lanes], seen: &mut Seen) {
        let count = LANES.min(self.columns.end - at);
        let mut sums = [0f64; LANES];
        for (c, s) in sums.iter_mut().enumerate().take(count) {
            *s = self.sums.start(self.outer, r, at + c);
        }
        let starts = sums;
        let (mut most, mut least, mut up) = (sums, sums, [0f64; LANES]);
        for (x, f) in panel.iter().zip(row) {
            for l in 0..LANES {
                let steps = product(x[l], *f);
                sums[l] += steps;
                most[l] = most[l].max(sums[l]);
                least[l] = least[l].min(sums[l]);
                up[l] += steps.max(0.0);
            }
        }
        for c in 0..count {
            let sum = match (most[c] >= LIMIT, least[c] <= -LIMIT) {
                (false, false) => sums[c],
                (true, false) => f64::INFINITY,
                (false, true) => f64::NEG_INFINITY,
                (true, true) => first_out(starts[c], row, panel, c),
            };
            self.store(r, at + c, sum);
            seen.infinite += u64::from(sum.is_infinite());
            seen.sum(starts[c], sums[c], (most[c], least[c]), up[c]);
        }
    }

    #[inline(always)]
    fn store(&self, row: usize, column: usize, sum: f64) {
        let (at, value) = self.sums.finish(self.outer, row, column, sum);
        // SAFETY: every row and column of every outer has a place of its own, and no two tasks share one.
        unsafe { self.out.slice(at..at + 1)[0] = value };
    }
}

/// A product in steps.
#[inline(always)]
fn product(x: f32, f: Factor) -> f64 {
    let product = x * f.steps;
    let steps = (product + 0.5f32.copysign(product)).trunc();
    if x.abs() >= f.least { f64::from(steps) } else { 0.0 }
}

/// The end of the range that a sum meets first.
fn first_out(start: f64, row: &[Factor], panel: &[Lanes], column: usize) -> f64 {
    let mut sum = start;
    for (x, f) in panel.iter().zip(row) {
        if sum.abs() >= LIMIT {
            break;
        }
        sum += product(x[column], *f);
    }
    f64::INFINITY.copysign(sum)
}

impl Seen {
    #[inline(always)]
    fn sum(&mut self, start: f64, sum: f64, (most, least): (f64, f64), up: f64) {
        self.results += 1;
        self.largest = self.largest.max(most).max(-least);
        // All that is positive first, or all that is negative.
        let down = sum - start - up;
        self.any_order = self.any_order.max((start + up).abs()).max((start + down).abs());
    }
}

/// The result of a sum in the fixed-point path.
#[inline(always)]
pub(crate) fn fixed_result(sum: f64) -> f32 {
    from_steps(sum)
}
