//! A long sum in `fp16` becomes means of at most 2048 numbers, multiplied at the end.
//!
//! ```text
//! y = reduce_sum(x: [1, 4096])                        becomes
//! m = reduce_mean(reduce_mean(reshape(x, [1, 2, 2048]), axes = [2]), axes = [1]); y = m * 2048 * 2
//! ```
//! No number on the way is larger than the largest term or the sum. `reduce_l1_norm` and `reduce_sum_square` are sums of
//! other terms; `reduce_l2_norm` is scaled by its largest term, and `reduce_log_sum_exp` shifted by it.

use super::Limits;
use super::pieces::{binary, count, extents, number, reduce, reshape};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::DType;
use anemone_mil::ops::Reduction;
use anemone_tensor::num;

const SUMS: [&str; 5] =
    ["reduce_sum", "reduce_sum_square", "reduce_l2_norm", "reduce_l1_norm", "reduce_log_sum_exp"];
/// The smallest divisor, so that a norm of zeros stays one: the smallest normal number of `fp16`.
const SMALLEST: f64 = 6.103_515_625e-5;
/// Terms of which the mean of squares, or of exponentials, does not vanish in `fp16`, however small all but one are.
const MOST_SCALED: usize = 1 << 14;

/// The rewrite; looks at sums.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&SUMS)?;
    let x = op.operand("x")?;
    let (shape, dtype) = (extents(op, x)?, op.tensor(x)?.dtype);
    let axes = Reduction::of(&op.site()?)?.axes;
    let count = count(&axes.iter().map(|&a| shape[a]).collect::<Vec<_>>())?;
    if dtype != DType::F16 || count <= limits.sum {
        return Err(Miss::because(format!("{count} terms of {dtype} are not many")));
    }
    let scaled = op.is(&["reduce_l2_norm", "reduce_log_sum_exp"]);
    if scaled && count > MOST_SCALED {
        return Err(Miss::because(format!("the mean of {count} scaled terms may vanish")));
    }
    let mut means = Means { patch: Patch::default(), shape, counts: Vec::new(), limits };
    let value = Ref::Value(x);
    let patch = &mut means.patch;
    let result = match op.kind() {
        "reduce_sum" => means.sum(value, &axes)?,
        "reduce_l1_norm" => {
            let terms = patch.op("abs", "terms", vec![("x", value)]);
            means.sum(terms, &axes)?
        }
        "reduce_sum_square" => {
            let terms = patch.op("square", "terms", vec![("x", value)]);
            means.sum(terms, &axes)?
        }
        "reduce_l2_norm" => {
            let magnitude = patch.op("abs", "magnitude", vec![("x", value)]);
            let largest = reduce(patch, "reduce_max", magnitude, &axes)?;
            let least = number(patch, dtype, SMALLEST);
            let scale = binary(patch, "maximum", "scale", largest, least);
            let small = binary(patch, "real_div", "small", value, scale);
            let squares = patch.op("square", "terms", vec![("x", small)]);
            let mean = means.mean(squares, &axes)?;
            let root = means.patch.op("sqrt", "root", vec![("x", mean)]);
            let root = means.times(root, f64::sqrt);
            binary(&mut means.patch, "mul", "norm", root, scale)
        }
        _ => {
            let largest = reduce(patch, "reduce_max", value, &axes)?;
            let below = binary(patch, "sub", "below", value, largest);
            let terms = patch.op("exp", "terms", vec![("x", below)]);
            let mean = means.mean(terms, &axes)?;
            let epsilon = number(&mut means.patch, dtype, 0.0);
            let log = means.patch.op("log", "log", vec![("x", mean), ("epsilon", epsilon)]);
            let count = number(&mut means.patch, dtype, num::f64_of_usize(count).ln());
            let log = binary(&mut means.patch, "add", "counted", log, count);
            binary(&mut means.patch, "add", "above", log, largest)
        }
    };
    let result_shape = op.shape(op.result()?)?;
    let mut patch = means.patch;
    let result =
        if result_shape == means.shape { result } else { reshape(&mut patch, result, &result_shape)? };
    Ok(patch.replacing(op.result()?, result))
}

/// A mean in steps, while it is made.
struct Means<'l> {
    patch: Patch,
    /// Extents of what is left.
    shape: Vec<usize>,
    /// Terms of each step.
    counts: Vec<usize>,
    limits: &'l Limits,
}

impl Means<'_> {
    fn sum(&mut self, x: Ref, axes: &[usize]) -> Result<Ref, Miss> {
        let mean = self.mean(x, axes)?;
        Ok(self.times(mean, |n| n))
    }

    /// `x` times what `of` makes of the number of terms of every step.
    fn times(&mut self, x: Ref, of: fn(f64) -> f64) -> Ref {
        self.counts.clone().into_iter().fold(x, |x, n| {
            let factor = number(&mut self.patch, DType::F16, of(num::f64_of_usize(n)));
            binary(&mut self.patch, "mul", "scaled", x, factor)
        })
    }

    /// The mean along `axes`, which stay as dims of extent 1.
    fn mean(&mut self, mut x: Ref, axes: &[usize]) -> Result<Ref, Miss> {
        for &axis in axes.iter().rev() {
            let n = self.shape[axis];
            if n > self.limits.sum {
                x = self.in_two_steps(x, axis)?;
            } else if n > 1 {
                x = reduce(&mut self.patch, "reduce_mean", x, &[axis])?;
                self.counts.push(n);
            }
            self.shape[axis] = 1;
        }
        Ok(x)
    }

    fn in_two_steps(&mut self, x: Ref, axis: usize) -> Result<Ref, Miss> {
        let (n, most) = (self.shape[axis], self.limits.sum);
        let inner = (2..=most).rev().find(|d| n % d == 0 && n / d <= most);
        let inner = inner.ok_or_else(|| Miss::because(format!("{n} terms do not part evenly")))?;
        if self.shape.len() >= self.limits.rank {
            return Err("there is no axis left to part the terms".into());
        }
        let mut shape = self.shape.clone();
        shape.splice(axis..=axis, [n / inner, inner]);
        let parted = reshape(&mut self.patch, x, &shape)?;
        let first = reduce(&mut self.patch, "reduce_mean", parted, &[axis + 1])?;
        let second = reduce(&mut self.patch, "reduce_mean", first, &[axis])?;
        self.counts.extend([inner, n / inner]);
        let mut left = self.shape.clone();
        left[axis] = 1;
        reshape(&mut self.patch, second, &left)
    }
}
