//! A dilated convolution becomes one with a larger kernel that is zero between the taps.
//!
//! ```text
//! y = conv(x, W [.., .., 3, 3], dilations = 2)      becomes      y = conv(x, W' [.., .., 5, 5])
//! ```
//! Nothing is added to a sum but products with zero.

use super::Limits;
use super::filters::{ints, weight};
use crate::{Miss, OpRef, Patch};
use anemone_mil::ops::Conv;
use anemone_mil::{Tensor, Weight};

/// The rewrite; looks at `conv`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["conv"])?;
    let conv = Conv::of(&op.site()?)?;
    let dilations = &conv.window.dilations;
    if dilations.iter().all(|&d| d == 1) {
        return Err("it is not dilated".into());
    }
    let spans: Vec<usize> = (0..dilations.len()).map(|axis| conv.window.span(axis)).collect();
    let most = [limits.conv_width, limits.conv_height];
    if spans.iter().rev().zip(most).any(|(&span, most)| span > most) {
        return Err(Miss::because(format!("the kernel would be {spans:?}")));
    }
    let tensor = weight(op, conv.weight)?.tensor()?;
    let filled = filled(&tensor, dilations, &spans)?;
    let mut patch = Patch::default();
    let changed = vec![
        ("weight", patch.constant("weight", Weight::of(&filled))),
        ("dilations", ints(&mut patch, "dilations", &vec![1; dilations.len()])?),
    ];
    let new = patch.variant(op.op(), "filled", changed);
    Ok(patch.replacing(op.result()?, new))
}

/// The weight `[out, in, *kernel]` with zeros between its taps.
fn filled(tensor: &Tensor, dilations: &[usize], spans: &[usize]) -> Result<Tensor, Miss> {
    let (&[outputs, inputs, ref kernel @ ..], values) = (tensor.shape(), tensor.to_f64s()) else {
        return Err("the weight has too few dims".into());
    };
    let (taps, room): (usize, usize) = (kernel.iter().product(), spans.iter().product());
    let mut out = vec![0.0; outputs * inputs * room];
    for (i, v) in values.into_iter().enumerate() {
        let (filter, mut rest) = (i / taps, i % taps);
        let (mut at, mut step) = (0, 1);
        for axis in (0..kernel.len()).rev() {
            at += rest % kernel[axis] * dilations[axis] * step;
            rest /= kernel[axis];
            step *= spans[axis];
        }
        out[filter * room + at] = v;
    }
    let shape: Vec<usize> = [outputs, inputs].into_iter().chain(spans.iter().copied()).collect();
    Ok(Tensor::from_f64s(tensor.dtype(), shape, &out)?)
}
