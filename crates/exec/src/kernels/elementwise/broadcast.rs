//! Operands of different shapes, stretched as numpy does.

use super::functions::{Binary, BinaryOp, BinaryVisitor};
use crate::kernels::rows::Rows;
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
    for v in [a, b] {
        assert_eq!(v.data.len(), v.shape.iter().product::<usize>(), "elements of an operand");
    }
    match Rows::new(shape, [a.shape, b.shape]) {
        Ok(rows) => op.visit(Launch { rows, a: a.data, b: b.data, out, pool }),
        Err(misfit) => panic!("{misfit}"),
    }
}

struct Launch<'a> {
    rows: Rows<2>,
    a: &'a [f32],
    b: &'a [f32],
    out: &'a mut [f32],
    pool: &'a Pool,
}

impl BinaryVisitor for Launch<'_> {
    fn visit(self, f: impl Binary) {
        let (a, b, isa, step) = (self.a, self.b, self.pool.isa(), self.rows.steps);
        self.rows.share(self.out, 1, self.pool, |out, at| {
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

/// `len` lanes of an operand from element `at * step` on; it goes on along a row (1) or stays (0).
#[inline(always)]
fn lanes<S: Simd>(s: S, x: &[f32], at: usize, step: usize, len: usize) -> S::F {
    match step {
        0 => s.splat(x[0]),
        _ => s.load_part(&x[at..at + len]),
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
