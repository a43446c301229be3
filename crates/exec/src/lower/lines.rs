//! What runs along one axis: running sums, sorting, positions of extremes; and normalisations over windows.

use super::mixed::{Operand, Target, is_plain, unforeseen, write_ints};
use super::typed::mixed;
use super::{Lowered, Lowering, plain};
use crate::kernels::norm::{self, LocalResponse};
use crate::kernels::reduce::{Extreme, arg_extreme};
use anemone_mil::ops::{Reduction, TopK};
use anemone_mil::{DType, ValueId};
use std::cmp::Ordering;

fn floats(l: &Lowering<'_>, x: ValueId) -> bool {
    l.site.function.value(x).ty.tensor().is_some_and(|t| matches!(t.dtype, DType::F16 | DType::F32))
}

/// `cumsum` of floats.
pub(super) fn cumsum(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let axis = l.site.axis("axis", shape.len()).ok()?;
    let (exclusive, reverse) = (l.site.bool("exclusive").ok()?, l.site.bool("reverse").ok()?);
    let (outer, n, inner) = Lowering::around(&shape, axis);
    Some(plain(vec![x], move |io, _| {
        let mut sums = vec![0f64; inner];
        for o in 0..outer {
            sums.fill(0.0);
            for i in 0..n {
                let at = (o * n + if reverse { n - 1 - i } else { i }) * inner;
                let (x, out) = (&io.inputs[0][at..at + inner], &mut io.outputs[0][at..at + inner]);
                for ((out, &x), sum) in out.iter_mut().zip(x).zip(&mut sums) {
                    let before = *sum;
                    *sum += f64::from(x);
                    *out = if exclusive { before as f32 } else { *sum as f32 };
                }
            }
        }
    }))
}

/// `reduce_argmax` and `reduce_argmin` of floats.
pub(super) fn extreme(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let view = Reduction::of(&l.site).ok()?;
    let (&[axis], dtype) = (view.axes.as_slice(), l.result()?.dtype) else { return None };
    let around = Lowering::around(&shape, axis);
    let which = if l.site.def.name == "reduce_argmax" { Extreme::Max } else { Extreme::Min };
    if !floats(l, x) || !is_plain(dtype) || around.1 == 0 {
        return None;
    }
    Some(mixed(vec![x], move |io, outs, pool| {
        let ([x], [Target::Bytes(out)]) = (io, outs) else { return Err(unforeseen()) };
        let mut found = vec![0i32; around.0 * around.2];
        arg_extreme(which, &x.floats(), around, &mut found, pool);
        write_ints(dtype, found.into_iter().map(i64::from), out);
        Ok(())
    }))
}

/// `topk` and `argsort` of floats and integers.
pub(super) fn sort(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let values = l.site.def.name == "topk";
    let (axis, ascending, k) = if values {
        let view = TopK::of(&l.site).ok()?;
        (view.axis, view.ascending, view.k.unwrap_or(shape[view.axis]))
    } else {
        let axis = l.site.axis("axis", shape.len()).ok()?;
        (axis, l.site.bool("ascending").ok()?, shape[axis])
    };
    let (float, around) = (floats(l, x), Lowering::around(&shape, axis));
    let dtypes: Option<Vec<DType>> =
        l.site.op.outputs.iter().map(|&v| l.site.function.value(v).ty.tensor().map(|t| t.dtype)).collect();
    let dtypes = dtypes?;
    if !dtypes.iter().all(|d| is_plain(*d) || matches!(d, DType::F16 | DType::F32)) || k > around.1 {
        return None;
    }
    Some(mixed(vec![x], move |io, outs, _| {
        let [x] = io else { return Err(unforeseen()) };
        let found = if float {
            let x = x.floats();
            let order =
                |a: f32, b: f32| a.is_nan().cmp(&b.is_nan()).then_with(|| directed(&a, &b, ascending));
            ranked(&x, around, k, order)
        } else {
            ranked(&x.ints(), around, k, |a, b| directed(&a, &b, ascending))
        };
        let (n, inner) = (around.1, around.2);
        let mut outs = outs.iter_mut().zip(&dtypes);
        if values && let Some((out, &dtype)) = outs.next() {
            let source =
                |(at, &i): (usize, &usize)| (at / (k * inner).max(1) * n + i) * inner + at % inner.max(1);
            let places = found.iter().enumerate().map(source);
            match (x, out) {
                (x, Target::Floats(out)) => {
                    let x = x.floats();
                    out.iter_mut().zip(places).for_each(|(o, at)| *o = x[at]);
                }
                (x @ Operand::Tensor(_), Target::Bytes(out)) => {
                    let x = x.ints();
                    write_ints(dtype, places.map(|at| x[at]), out);
                }
                _ => return Err(unforeseen()),
            }
        }
        if let Some((Target::Bytes(out), &dtype)) = outs.next() {
            write_ints(dtype, found.iter().map(|&i| i as i64), out);
        }
        Ok(())
    }))
}

fn directed<T: PartialOrd>(a: &T, b: &T, ascending: bool) -> Ordering {
    let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
    if ascending { order } else { order.reverse() }
}

/// Indices along the middle of `[outer, n, inner]` of the first `k` of every sorted line: `[outer, k, inner]`.
fn ranked<T: Copy>(
    x: &[T],
    (outer, n, inner): (usize, usize, usize),
    k: usize,
    order: impl Fn(T, T) -> Ordering,
) -> Vec<usize> {
    let mut found = vec![0; outer * k * inner];
    let mut line: Vec<usize> = Vec::with_capacity(n);
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| x[(o * n + j) * inner + i];
            let before = |a: &usize, b: &usize| order(at(*a), at(*b)).then(a.cmp(b));
            line.clear();
            line.extend(0..n);
            if k > 0 && k < n {
                line.select_nth_unstable_by(k - 1, before);
                line.truncate(k);
            }
            line.sort_unstable_by(before);
            line.iter().take(k).enumerate().for_each(|(r, &j)| found[(o * k + r) * inner + i] = j);
        }
    }
    found
}

/// `l2_norm`.
pub(super) fn l2_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let (shape, epsilon) = (l.shape(x)?, l.float("epsilon")?);
    let n: usize = shape[shape.len().checked_sub(3)?..].iter().product();
    let empty = shape.contains(&0);
    (!empty)
        .then(|| plain(vec![x], move |io, pool| norm::l2_norm(io.inputs[0], n, epsilon, io.outputs[0], pool)))
}

/// `local_response_norm`.
pub(super) fn local_response_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let size = usize::try_from(l.site.int("size").ok()?).ok().filter(|&n| n > 0)?;
    let p = LocalResponse { size, alpha: l.float("alpha")?, beta: l.float("beta")?, k: l.float("k")? };
    let (channels, inner) = (*shape.get(1)?, shape[2..].iter().product());
    let empty = shape.contains(&0);
    (!empty).then(|| {
        plain(vec![x], move |io, pool| {
            norm::local_response_norm(io.inputs[0], p, (channels, inner), io.outputs[0], pool);
        })
    })
}

/// `prelu` and `softplus_parametric` with constant parameters.
pub(super) fn per_channel(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let (channels, inner) = (*shape.get(1)?, shape[2..].iter().product::<usize>());
    let spread = |v: Vec<f32>| match v.len() {
        1 => Some(vec![v[0]; channels]),
        n if n == channels => Some(v),
        _ => None,
    };
    let alpha = spread(l.floats("alpha")?)?;
    if shape.contains(&0) {
        return None;
    }
    if l.site.def.name == "prelu" {
        return Some(plain(vec![x], move |io, _| {
            let rows = io.inputs[0].chunks_exact(inner).zip(io.outputs[0].chunks_exact_mut(inner));
            for ((x, out), a) in rows.zip(alpha.iter().cycle()) {
                out.iter_mut().zip(x).for_each(|(o, &x)| *o = if x < 0.0 { a * x } else { x });
            }
        }));
    }
    let beta = spread(l.floats("beta")?)?;
    Some(plain(vec![x], move |io, _| {
        let rows = io.inputs[0].chunks_exact(inner).zip(io.outputs[0].chunks_exact_mut(inner));
        for ((x, out), (a, b)) in rows.zip(alpha.iter().zip(&beta).cycle()) {
            let softplus = |x: f32| (-x.abs()).exp().ln_1p() + x.max(0.0);
            out.iter_mut().zip(x).for_each(|(o, &x)| *o = a * softplus(b * x));
        }
    }))
}
