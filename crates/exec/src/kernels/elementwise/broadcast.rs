//! Operands of different shapes, stretched as numpy does.

use super::GRAIN;
use super::functions::{Binary, BinaryOp, BinaryVisitor};
use crate::kernels::simd::{Kernel, Simd};
use crate::pool::Pool;

/// A dense operand.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its elements, row-major.
    pub data: &'a [f32],
    /// Its extents; missing leading ones count as 1.
    pub shape: &'a [usize],
}

/// The common walk over `N` operands: extents outer to inner with the step of each operand, as few as possible.
struct Walk<const N: usize> {
    dims: Vec<(usize, [usize; N])>,
}

impl<const N: usize> Walk<N> {
    /// # Panics
    /// When an operand does not stretch to `shape`.
    fn new(shape: &[usize], operands: [View<'_>; N]) -> Self {
        let mut steps = operands.map(|v| {
            assert_eq!(v.data.len(), v.shape.iter().product::<usize>(), "elements of an operand");
            assert!(v.shape.len() <= shape.len(), "operand {:?} has a higher rank than {shape:?}", v.shape);
            1
        });
        let mut dims: Vec<(usize, [usize; N])> = Vec::new();
        for (i, &extent) in shape.iter().rev().enumerate() {
            let step = std::array::from_fn(|n| {
                let v = operands[n].shape;
                let own = v.len().checked_sub(i + 1).map_or(1, |d| v[d]);
                assert!(own == extent || own == 1, "operand {v:?} does not broadcast to {shape:?}");
                let step = if own == 1 { 0 } else { steps[n] };
                steps[n] *= own;
                step
            });
            match dims.last_mut() {
                _ if extent == 1 => {}
                Some((inner, s)) if (0..N).all(|n| step[n] == s[n] * *inner) => *inner *= extent,
                _ => dims.push((extent, step)),
            }
        }
        if dims.is_empty() {
            dims.push((1, [1; N]));
        }
        dims.reverse();
        Self { dims }
    }

    fn inner(&self) -> (usize, [usize; N]) {
        self.dims[self.dims.len() - 1]
    }

    /// Where the operands of row `row` begin.
    fn start(&self, mut row: usize) -> [usize; N] {
        let mut at = [0; N];
        for (extent, step) in self.dims[..self.dims.len() - 1].iter().rev() {
            let i = row % extent;
            row /= extent;
            (0..N).for_each(|n| at[n] += i * step[n]);
        }
        at
    }

    /// Calls `f(operand starts, steps, row)` for pieces of `out`, on the threads of `pool`.
    fn run(&self, out: &mut [f32], pool: &Pool, f: impl Fn([usize; N], [usize; N], &mut [f32]) + Sync) {
        let (inner, step) = self.inner();
        if self.dims.len() == 1 {
            let chunk = out.len().div_ceil(pool.threads() * 2).max(GRAIN);
            pool.chunks_mut(out, chunk, |i, out| f(step.map(|s| s * i * chunk), step, out));
            return;
        }
        pool.rows_mut(out, inner, GRAIN, |first, rows| {
            rows.chunks_exact_mut(inner).enumerate().for_each(|(i, row)| f(self.start(first + i), step, row));
        });
    }
}

/// `out = op(a, b)`, `out` dense with extents `shape`.
///
/// # Panics
/// When an operand does not broadcast to `shape`, or a slice does not have the elements of its shape.
pub fn binary(op: BinaryOp, a: View<'_>, b: View<'_>, shape: &[usize], out: &mut [f32], pool: &Pool) {
    assert_eq!(out.len(), shape.iter().product::<usize>(), "elements of the result");
    // The commonest power is a product.
    if op == BinaryOp::Pow && b.data == [2.0] {
        return binary(BinaryOp::Mul, a, a, shape, out, pool);
    }
    op.visit(Launch { walk: Walk::new(shape, [a, b]), a: a.data, b: b.data, out, pool });
}

struct Launch<'a> {
    walk: Walk<2>,
    a: &'a [f32],
    b: &'a [f32],
    out: &'a mut [f32],
    pool: &'a Pool,
}

impl BinaryVisitor for Launch<'_> {
    fn visit(self, f: impl Binary) {
        let (a, b, isa) = (self.a, self.b, self.pool.isa());
        self.walk.run(self.out, self.pool, |at, step, out| {
            isa.run(Row { f, a: &a[at[0]..], b: &b[at[1]..], step, out });
        });
    }
}

struct Row<'a, F> {
    f: F,
    a: &'a [f32],
    b: &'a [f32],
    step: [usize; 2],
    out: &'a mut [f32],
}

/// `out.len()` lanes of an operand from element `at * step` on.
#[inline(always)]
fn lanes<S: Simd>(s: S, x: &[f32], at: usize, step: usize, len: usize) -> S::F {
    match step {
        0 => s.splat(x[0]),
        1 => s.load_part(&x[at..at + len]),
        _ => {
            let mut lanes = [0f32; 16];
            lanes[..len].iter_mut().zip(x[at * step..].iter().step_by(step)).for_each(|(o, &x)| *o = x);
            s.load_part(&lanes[..S::LANES])
        }
    }
}

impl<F: Binary> Kernel for Row<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { f, a, b, step, out } = self;
        let mut at = 0;
        let mut chunks = out.chunks_exact_mut(S::LANES);
        for out in chunks.by_ref() {
            let y = f.at(s, lanes(s, a, at, step[0], S::LANES), lanes(s, b, at, step[1], S::LANES));
            s.store_part(out, y);
            at += S::LANES;
        }
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let y = f.at(s, lanes(s, a, at, step[0], rest.len()), lanes(s, b, at, step[1], rest.len()));
            s.store_part(rest, y);
        }
    }
}

/// `out = condition != 0 ? a : b`, `out` dense with extents `shape`.
///
/// # Panics
/// As [`binary`].
pub fn select(condition: View<'_>, a: View<'_>, b: View<'_>, shape: &[usize], out: &mut [f32], pool: &Pool) {
    assert_eq!(out.len(), shape.iter().product::<usize>(), "elements of the result");
    Walk::new(shape, [condition, a, b]).run(out, pool, |at, step, out| {
        for (i, o) in out.iter_mut().enumerate() {
            let chosen = condition.data[at[0] + i * step[0]] != 0.0;
            *o = if chosen { a.data[at[1] + i * step[1]] } else { b.data[at[2] + i * step[2]] };
        }
    });
}
