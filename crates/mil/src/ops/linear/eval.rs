//! Reference matrix products: sums in `f64`, integers wrapping.

use super::{MatMul, einsum_rank};
use crate::eval::EvalSite;
use crate::ops::Fault;
use crate::ops::common::{
    broadcast_offsets, broadcast_shape, element_count, for_each_index, integers, offset, strides,
};
use crate::ops::rearrange::made;
use crate::{Dim, Literal, Tensor};
use anemone_tensor::DType;
use std::num::Wrapping;
use std::ops::{Add, Mul};

/// One batch of `[m, k]` by `[k, n]` matrices, each operand with strides of its own.
struct Product {
    m: usize,
    k: usize,
    n: usize,
    /// Steps of the left operand along `m` and `k`.
    left: [usize; 2],
    /// Steps of the right operand along `k` and `n`.
    right: [usize; 2],
    /// Where the matrices of each batch item start, left and right.
    starts: Vec<(usize, usize)>,
}

impl Product {
    fn run<N: Copy + Add<Output = N> + Mul<Output = N>>(&self, x: &[N], y: &[N], zero: N) -> Vec<N> {
        let mut out = Vec::new();
        for &(left, right) in &self.starts {
            for i in 0..self.m {
                for j in 0..self.n {
                    let terms = (0..self.k).map(|p| {
                        let a = left + i * self.left[0] + p * self.left[1];
                        x[a] * y[right + p * self.right[0] + j * self.right[1]]
                    });
                    out.push(terms.fold(zero, |sum, t| sum + t));
                }
            }
        }
        out
    }

    /// Multiplies, in integers when both operands are, and rounds to `dtype`.
    fn literal(&self, x: &Tensor, y: &Tensor, dtype: DType, shape: &[usize]) -> Result<Vec<Literal>, Fault> {
        made(shape, 0)?;
        if dtype.is_int() {
            let wrapping = |t: &Tensor| t.to_i64s().into_iter().map(Wrapping).collect::<Vec<_>>();
            let out = self.run(&wrapping(x), &wrapping(y), Wrapping(0));
            return integers(dtype, shape, &out.into_iter().map(|v| v.0).collect::<Vec<_>>());
        }
        EvalSite::floats(dtype, shape, &self.run(&x.to_f64s(), &y.to_f64s(), 0.0))
    }
}

/// Evaluates `matmul`.
pub(super) fn matmul(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let view = MatMul::of(&site.site)?;
    let (x, y) = (site.tensor("x")?, site.tensor("y")?);
    let dims = |t: &Tensor| t.shape().iter().map(|&n| Dim::Known(n)).collect::<Vec<_>>();
    let known = |dims: Vec<Dim>| dims.iter().filter_map(Dim::known).collect::<Vec<usize>>();
    let shape = known(view.output_dims(&dims(&x), &dims(&y))?);
    let (left, right) = view.matrices(&dims(&x), &dims(&y));
    let (left, right) = (known(left), known(right));
    let ([bx @ .., m, k], [by @ .., _, n]) = (left.as_slice(), right.as_slice()) else {
        return Err(Fault::new("both operands must have a dim"));
    };
    let steps = |rows: usize, columns: usize, swapped: bool| if swapped { [1, rows] } else { [columns, 1] };
    let batch = broadcast_shape(bx, by)?;
    let starts = |b: &[usize], size: usize| broadcast_offsets(b, &batch).map(|o| (o, size));
    let ((xs, x_size), (ys, y_size)) = (starts(bx, m.saturating_mul(*k))?, starts(by, k.saturating_mul(*n))?);
    let product = Product {
        m: *m,
        k: *k,
        n: *n,
        left: steps(*m, *k, view.transpose_x),
        right: steps(*k, *n, view.transpose_y),
        starts: xs
            .into_iter()
            .zip(ys)
            .map(|(a, b)| (a.saturating_mul(x_size), b.saturating_mul(y_size)))
            .collect(),
    };
    product.literal(&x, &y, site.result_dtype(0)?, &shape)
}

/// Evaluates `linear`.
pub(super) fn linear(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, weight) = (site.tensor("x")?, site.tensor("weight")?);
    let (Some((&k, lead)), &[n, k2]) = (x.shape().split_last(), weight.shape()) else {
        return Err(Fault::arg("weight", format!("of shape {:?}", weight.shape()), "of rank 2"));
    };
    if k != k2 {
        return Err(Fault::arg("weight", format!("{k2} wide"), format!("{k}, the last dim of `x`")));
    }
    let m = element_count(lead)?;
    let product = Product { m, k, n, left: [k, 1], right: [1, k], starts: vec![(0, 0)] };
    let shape = [lead, &[n]].concat();
    let Some(bias) = site.optional("bias") else { return product.literal(&x, &weight, x.dtype(), &shape) };
    if bias.len() != n {
        return Err(Fault::arg("bias", format!("of {} elements", bias.len()), format!("of {n}")));
    }
    made(&shape, x.len())?;
    let (products, bias) = (product.run(&x.to_f64s(), &weight.to_f64s(), 0.0), bias.to_f64s());
    let sums: Vec<f64> = products.iter().zip(bias.iter().cycle()).map(|(p, b)| p + b).collect();
    EvalSite::floats(x.dtype(), &shape, &sums)
}

/// Evaluates `einsum`.
pub(super) fn einsum(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let equation = site.str("equation")?;
    let values = site.tensors("values")?;
    let rank = einsum_rank(&equation).ok_or_else(|| Fault::arg("equation", &equation, "a supported one"))?;
    let [x, y] = values.as_slice() else {
        return Err(Fault::arg("values", format!("{} tensors", values.len()), "2 tensors"));
    };
    if x.rank() != rank || y.rank() != rank {
        return Err(Fault::arg("values", format!("{x:?} and {y:?}"), format!("of rank {rank}")));
    }
    let lift = |s: &[usize]| [vec![1; 4 - s.len()], s.to_vec()].concat();
    let (xs, ys) = (lift(x.shape()), lift(y.shape()));
    let batch = broadcast_shape(&[xs[0], xs[2]], &[ys[0], ys[2]])?;
    if xs[3] != ys[1] {
        return Err(Fault::arg("values", format!("{x:?} and {y:?}"), "equal in the dim that is summed over"));
    }
    let shape = [batch[0], xs[1], batch[1], ys[3]];
    let step = |s: &[usize]| {
        let steps = strides(s).into_iter().zip(s);
        steps.map(|(step, &n)| if n == 1 { 0 } else { step }).collect::<Vec<_>>()
    };
    let (sx, sy) = (step(&xs), step(&ys));
    let (xv, yv) = (x.to_f64s(), y.to_f64s());
    let mut out = Vec::with_capacity(made(&shape, x.len())?);
    for_each_index(&shape, |i| {
        let term =
            |w: usize| xv[offset(&[i[0], i[1], i[2], w], &sx)] * yv[offset(&[i[0], w, i[2], i[3]], &sy)];
        out.push((0..xs[3]).map(term).sum());
    });
    EvalSite::floats(x.dtype(), &shape[4 - rank..], &out)
}
