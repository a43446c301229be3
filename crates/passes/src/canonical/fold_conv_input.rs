//! A scale or a shift per channel before a `conv` is worked into its weights.
//!
//! ```text
//! y = conv(mul(x, s), W, b)      becomes      y = conv(x, W s, b)
//! y = conv(add(x, t), W, b)      becomes      y = conv(x, W, b + W t), when nothing is padded
//! ```

use super::affine;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Conv;
use anemone_mil::ops::Padding;
use anemone_mil::{Tensor, Weight};
use anemone_tensor::num;

/// The rewrite; looks at `conv`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["conv"])?;
    let before = op.sole(op.operand("x")?, &["mul", "add", "sub"])?;
    let (constant, other) = before.constant_side()?;
    if before.is(&["sub"]) && other == "y" {
        return Err("it subtracts from a constant".into());
    }
    let x = before.operand(other)?;
    let channels = affine::channels(op, x)?;
    let numbers = affine::per_channel(&constant, channels, op.tensor(x)?.rank())?;
    if op.tensor(x)?.rank() != op.tensor(op.operand("x")?)?.rank() || numbers.iter().any(|n| !n.is_finite()) {
        return Err("the constant changes the shape, or is not finite".into());
    }
    let weight = Filters::of(op)?;
    let mut patch = Patch::default();
    let mut changed = vec![("x", Ref::Value(x))];
    if before.is(&["mul"]) {
        affine::own_weight(op)?;
        changed.push(("weight", patch.constant("weight", Weight::of(&weight.scaled(&numbers)?))));
    } else {
        let conv = Conv::of(&op.site()?)?;
        if !matches!(&conv.window.padding, Padding::Fixed(pads) if pads.iter().all(|&p| p == (0, 0))) {
            return Err("the padding is not shifted".into());
        }
        let sign = if before.is(&["sub"]) { -1.0 } else { 1.0 };
        let terms: Vec<f64> = numbers.iter().map(|t| sign * t).collect();
        let shift = weight.sums(&terms);
        let bias = affine::shifted_bias(op, weight.tensor.dtype(), &vec![1.0; shift.len()], &shift)?;
        changed.push(("bias", patch.constant("bias", Weight::of(&bias))));
    }
    let new = patch.variant(op.op(), "folded", changed);
    Ok(patch.replacing(op.result()?, new))
}

/// Magnitudes that `fp16` has in all digits; where the largest weights are below, the smaller ones lose theirs.
const NORMAL: std::ops::RangeInclusive<f64> = 6.103_515_625e-5..=65504.0;

/// Weights `[out, in / groups, *kernel]` of a `conv`.
struct Filters {
    tensor: Tensor,
    outputs: usize,
    inputs: usize,
    taps: usize,
    groups: usize,
}

impl Filters {
    fn of(op: OpRef<'_>) -> Result<Filters, Miss> {
        let tensor = op.constant(op.operand("weight")?)?;
        let groups = usize::try_from(op.site()?.int("groups")?).map_err(|_| "groups are negative")?;
        let &[outputs, inputs, ref kernel @ ..] = tensor.shape() else {
            return Err("the weight has too few dims".into());
        };
        let taps = kernel.iter().product();
        if groups == 0 || outputs % groups != 0 || tensor.is_empty() || !tensor.dtype().is_float() {
            return Err("the weight does not fit the groups".into());
        }
        Ok(Filters { outputs, inputs, taps, groups, tensor })
    }

    /// Input channel of weight `i` in row-major order.
    fn channel(&self, i: usize) -> usize {
        let (filter, within) = (i / (self.inputs * self.taps), i / self.taps % self.inputs);
        filter / (self.outputs / self.groups) * self.inputs + within
    }

    fn scaled(&self, factors: &[f64]) -> Result<Tensor, Miss> {
        let mut values = self.tensor.to_f32s();
        let mut largest = vec![0f64; factors.len()];
        for (i, v) in values.iter().enumerate() {
            if let Some(l) = largest.get_mut(self.channel(i)) {
                *l = l.max(f64::from(v.abs()));
            }
        }
        let leaves = |(l, f): (&f64, &f64)| *l > 0.0 && f.abs() != 1.0 && !NORMAL.contains(&(l * f.abs()));
        if largest.iter().zip(factors).any(leaves) {
            return Err("the weights would leave the normal range of fp16".into());
        }
        for (i, v) in values.iter_mut().enumerate() {
            *v *= num::f32_of(factors.get(self.channel(i)).copied().unwrap_or(1.0));
        }
        Ok(Tensor::from_f32s(self.tensor.shape(), &values)?.cast(self.tensor.dtype()))
    }

    /// For each output, the sum of its weights times the term of the channel that they take.
    fn sums(&self, terms: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.outputs];
        for (i, v) in self.tensor.to_f64s().into_iter().enumerate() {
            out[i / (self.inputs * self.taps)] += v * terms.get(self.channel(i)).copied().unwrap_or(0.0);
        }
        out
    }
}
