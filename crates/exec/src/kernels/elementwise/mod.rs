//! Functions of single elements: unary, and binary with numpy's broadcasting.

mod broadcast;
mod functions;

pub use broadcast::{View, binary};
pub use functions::{BinaryOp, UnaryOp};
use functions::{Unary, UnaryVisitor};

use super::simd::{Isa, Kernel, Simd};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// Elements that are worth waking a thread for.
pub(crate) const GRAIN: usize = 1 << 14;

/// `out[i] = op(x[i])`
///
/// # Panics
/// When the lengths differ.
pub fn unary(op: UnaryOp, x: &[f32], out: &mut [f32], pool: &Pool) {
    assert_eq!(x.len(), out.len(), "elements of an elementwise op");
    let len = x.len();
    op.visit(Launch { x: Some(x), out: &Disjoint::new(out), len, pool });
}

/// `data[i] = op(data[i])`
pub fn unary_in_place(op: UnaryOp, data: &mut [f32], pool: &Pool) {
    let len = data.len();
    op.visit(Launch { x: None, out: &Disjoint::new(data), len, pool });
}

struct Launch<'a> {
    /// The input, unless it is what the output holds.
    x: Option<&'a [f32]>,
    out: &'a Disjoint<'a, f32>,
    len: usize,
    pool: &'a Pool,
}

impl UnaryVisitor for Launch<'_> {
    fn visit(self, f: impl Unary) {
        self.pool.parallel_for(self.len, GRAIN, |range: Range<usize>| {
            // SAFETY: the ranges of tasks do not overlap.
            let out = unsafe { self.out.slice(range.clone()) };
            match self.x {
                Some(x) => self.pool.isa().run(Map { f, x: &x[range], out }),
                None => in_place(self.pool.isa(), f, out),
            }
        });
    }
}

/// Goes through a small buffer, so that one loop serves both forms.
fn in_place(isa: Isa, f: impl Unary, data: &mut [f32]) {
    let mut buffer = [0f32; 512];
    for chunk in data.chunks_mut(512) {
        let x = &mut buffer[..chunk.len()];
        x.copy_from_slice(chunk);
        isa.run(Map { f, x, out: chunk });
    }
}

struct Map<'a, F> {
    f: F,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<F: Unary> Kernel for Map<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut x, mut out) = (self.x.chunks_exact(S::LANES), self.out.chunks_exact_mut(S::LANES));
        for (x, out) in x.by_ref().zip(out.by_ref()) {
            s.store_part(out, self.f.at(s, s.load_part(x)));
        }
        s.store_part(out.into_remainder(), self.f.at(s, s.load_part(x.remainder())));
    }
}

/// Rounds every element to f16 and back, ties to even: what an op with f16 edges stores.
pub fn round_to_half(data: &mut [f32], pool: &Pool) {
    unary_in_place(UnaryOp::RoundToHalf, data, pool);
}

#[cfg(test)]
mod tests;
