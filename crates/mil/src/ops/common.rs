//! What the families share: index arithmetic over dense shapes, NumPy broadcasting, frequent inference rules.

use super::{Accept, Domain, Effect, Fault, Form, OpDef, Site, Version, Work};
use crate::eval::{EvalFn, EvalSite};
use crate::{Literal, Type};
use anemone_tensor::{DType, Tensor, num};

/// Most elements that reference evaluation makes of one result; more is a fault, not an allocation.
pub(crate) const MAX_ELEMENTS: usize = 1 << 31;

/// The type domain named `T`.
pub(crate) const T: Accept = Accept::Domain("T");
/// The type domain named `U`.
pub(crate) const U: Accept = Accept::Domain("U");
/// Accepts `int32` alone.
pub(crate) const INT32: Accept = Accept::Types(&[DType::I32]);
/// Accepts `bool` alone.
pub(crate) const BOOL: Accept = Accept::Types(&[DType::Bool]);
/// Accepts text alone.
pub(crate) const STRING: Accept = Accept::Types(&[DType::String]);
/// `T`: `fp16`, `fp32`.
pub(crate) const T_FLOATS: Domain = Domain { name: "T", types: &[DType::F16, DType::F32] };
/// `U`: `fp16`, `fp32`.
pub(crate) const U_FLOATS: Domain = Domain { name: "U", types: &[DType::F16, DType::F32] };
/// `T`: `fp16`, `fp32`, `int32`.
pub(crate) const T_FLOATS_INT32: Domain = Domain { name: "T", types: &[DType::F16, DType::F32, DType::I32] };

/// An op that makes of each element of `x` one of the same type.
pub(crate) const fn unary(
    name: &'static str,
    doc: &'static str,
    versions: &'static [Version],
    eval: EvalFn,
    work: fn(&Site<'_>) -> Option<Work>,
) -> OpDef {
    let (effect, form) = (Effect::Pure, Form::Unary);
    OpDef { name, doc, versions, effect, form, infer: like_x, eval: Some(eval), work }
}

/// One result of the type of `x`.
pub(crate) fn like_x(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    Ok(vec![site.tensor("x")?.clone().into()])
}

/// Number of elements of a shape that is about to be made.
///
/// # Errors
/// Above [`MAX_ELEMENTS`].
pub(crate) fn element_count(shape: &[usize]) -> Result<usize, Fault> {
    let count = num::element_count(shape).filter(|&n| n <= MAX_ELEMENTS);
    count.ok_or_else(|| {
        Fault::new(format!(
            "a result of shape {shape:?} has more than {MAX_ELEMENTS} elements; make it smaller"
        ))
    })
}

/// Row-major strides in elements, outermost first; saturating.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1usize; shape.len()];
    let mut step = 1usize;
    for (s, &n) in out.iter_mut().zip(shape).rev() {
        *s = step;
        step = step.saturating_mul(n);
    }
    out
}

/// Position of `index` under `strides`; the two have one entry per dim.
pub(crate) fn offset(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).fold(0, |at, (&i, &s)| at.saturating_add(i.saturating_mul(s)))
}

/// Calls `visit` with every index of `shape` in row-major order; a scalar has one, empty, index.
pub(crate) fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0usize; shape.len()];
    loop {
        visit(&index);
        let mut carry = true;
        for (i, &n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            carry = *i == n;
            if !carry {
                break;
            }
            *i = 0;
        }
        if carry {
            return;
        }
    }
}

/// The shape that two fixed shapes broadcast to by NumPy's rule.
///
/// # Errors
/// When two extents differ and neither is 1.
pub(crate) fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let padded = |s: &[usize]| [vec![1; rank - s.len()], s.to_vec()].concat();
    let pairs = padded(a).into_iter().zip(padded(b));
    let merged = pairs.map(|pair| match pair {
        (1, n) | (n, 1) => Some(n),
        (m, n) => (m == n).then_some(m),
    });
    let shape: Option<Vec<usize>> = merged.collect();
    shape.ok_or_else(|| {
        Fault::new(format!("shapes {a:?} and {b:?} do not broadcast; dims must be equal or 1 from the right"))
    })
}

/// For every element of `to`, in row-major order, the position of the element of `from` that is stretched onto it.
///
/// # Errors
/// When `from` does not broadcast to exactly `to`.
pub(crate) fn broadcast_offsets(from: &[usize], to: &[usize]) -> Result<Vec<usize>, Fault> {
    let missing = to.len().checked_sub(from.len());
    let fits = missing.is_some_and(|m| from.iter().zip(&to[m..]).all(|(&f, &t)| f == t || f == 1));
    if !fits {
        return Err(Fault::new(format!("shape {from:?} does not broadcast to {to:?}")));
    }
    let mut steps = vec![0; to.len() - from.len()];
    steps.extend(strides(from).into_iter().zip(from).map(|(s, &n)| if n == 1 { 0 } else { s }));
    let mut out = Vec::with_capacity(element_count(to)?);
    for_each_index(to, |index| out.push(offset(index, &steps)));
    Ok(out)
}

/// Shape of the result and the pairs of elements of two broadcast tensors, read with `at`.
///
/// # Errors
/// When the shapes do not broadcast.
pub(crate) fn map_pairs<N, R>(
    x: &Tensor,
    y: &Tensor,
    at: impl Fn(&Tensor, usize) -> N,
    f: impl Fn(N, N) -> R,
) -> Result<(Vec<usize>, Vec<R>), Fault> {
    let shape = broadcast_shape(x.shape(), y.shape())?;
    let (xs, ys) = (broadcast_offsets(x.shape(), &shape)?, broadcast_offsets(y.shape(), &shape)?);
    let values = xs.into_iter().zip(ys).map(|(i, j)| f(at(x, i), at(y, j))).collect();
    Ok((shape, values))
}

/// Applies `f` to every element of `x` as `f64` and rounds to the type of `x`.
///
/// # Errors
/// When `x` is missing.
pub(crate) fn map_x(site: &EvalSite<'_>, f: impl Fn(f64) -> f64) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let values: Vec<f64> = x.to_f64s().into_iter().map(f).collect();
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

/// Applies `floats` to every element of a float `x`, `ints` to every element of another, wrapping integer results.
///
/// # Errors
/// When `x` is missing.
pub(crate) fn map_number(
    site: &EvalSite<'_>,
    floats: impl Fn(f64) -> f64,
    ints: impl Fn(i64) -> i64,
) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if !x.dtype().is_int() {
        return map_x(site, floats);
    }
    let values: Vec<i64> = x.to_i64s().into_iter().map(ints).collect();
    integers(x.dtype(), x.shape(), &values)
}

/// The larger number; NaN when one is NaN, as in NumPy.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller number; NaN when one is NaN, as in NumPy.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The Gauss error function, to about 1e-15.
///
/// Source: the series of Abramowitz and Stegun 7.1.6, whose terms are all positive.
pub(crate) fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() >= 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)` without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + max(x, 0.0)
}

/// The low bits of `v` as an integer of `dtype`: what NumPy keeps when integer arithmetic overflows.
pub(crate) fn wrap(dtype: DType, v: i64) -> i64 {
    let spare = 64usize.saturating_sub(dtype.bits());
    if spare == 0 || !dtype.is_int() {
        return v;
    }
    if dtype.is_signed_int() { (v << spare) >> spare } else { v & !(-1i64 << dtype.bits()) }
}

/// `v` truncated toward zero and saturated to `int32`; NaN gives 0.
pub(crate) fn trunc_i32(v: f64) -> i64 {
    num::i64_trunc(v).clamp(i64::from(i32::MIN), i64::from(i32::MAX))
}

/// One tensor of integers, wrapped to `dtype`.
///
/// # Errors
/// When the number of values is not that of the shape.
pub(crate) fn integers(dtype: DType, shape: &[usize], values: &[i64]) -> Result<Vec<Literal>, Fault> {
    let wrapped: Vec<i64> = values.iter().map(|&v| wrap(dtype, v)).collect();
    let t = Tensor::from_i64s(dtype, shape, &wrapped).map_err(|e| Fault::new(e.to_string()))?;
    Ok(vec![t.into()])
}

/// One tensor of booleans.
///
/// # Errors
/// When the number of values is not that of the shape.
pub(crate) fn booleans(shape: &[usize], values: &[bool]) -> Result<Vec<Literal>, Fault> {
    let t = Tensor::vector_bool(values).reshaped(shape).map_err(|e| Fault::new(e.to_string()))?;
    Ok(vec![t.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_run_in_row_major_order() {
        let mut seen = Vec::new();
        for_each_index(&[2, 2], |i| seen.push(i.to_vec()));
        assert_eq!(seen, [[0, 0], [0, 1], [1, 0], [1, 1]]);
        let mut scalars = 0;
        for_each_index(&[], |_| scalars += 1);
        for_each_index(&[3, 0], |_| scalars += 10);
        assert_eq!(scalars, 1);
    }

    #[test]
    fn broadcasting_stretches_ones_from_the_right() {
        assert_eq!(broadcast_shape(&[2, 1], &[3]), Ok(vec![2, 3]));
        assert_eq!(broadcast_offsets(&[2, 1], &[2, 3]), Ok(vec![0, 0, 0, 1, 1, 1]));
        assert_eq!(broadcast_offsets(&[3], &[2, 3]), Ok(vec![0, 1, 2, 0, 1, 2]));
        assert_eq!(broadcast_shape(&[1], &[0]), Ok(vec![0]));
        assert!(broadcast_shape(&[2], &[3]).is_err());
        assert!(broadcast_offsets(&[2, 3], &[3]).is_err());
    }

    /// Expected values: Python's `math.erf`.
    #[test]
    fn erf_matches_the_c_library() {
        let known = [
            (0.0, 0.0),
            (0.5, 0.5204998778130465),
            (-1.0, -0.8427007929497149),
            (3.0, 0.9999779095030014),
            (9.0, 1.0),
        ];
        for (x, y) in known {
            assert!((erf(x) - y).abs() < 1e-15, "erf({x}) = {}", erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn integers_wrap_as_in_two_complement() {
        assert_eq!(wrap(DType::I32, 1 << 31), -(1 << 31));
        assert_eq!(wrap(DType::U8, -1), 255);
        assert_eq!(wrap(DType::I8, 200), -56);
        assert_eq!(wrap(DType::I64, -7), -7);
    }
}
