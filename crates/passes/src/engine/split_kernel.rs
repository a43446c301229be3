//! A convolution with a large kernel becomes the sum of convolutions with parts of it.
//!
//! ```text
//! y = conv(x, W [.., .., 17, 17], b)                                       becomes
//! y = add(conv(x, W[.., 0..9], b), conv(x from 1 on, W[.., 9..17]))
//! ```
//! Every part looks at the input where its taps stood in the whole kernel: its padding is that of the whole, moved by
//! its first tap, and what would be padding of less than nothing is cut off the input. Parts are of equal width, as far
//! as they can be. What is too high, too, is split again.

use super::Limits;
use super::filters::{custom, ints, pads, part, weight};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Conv;
use anemone_mil::{Tensor, ValueId, Weight};
use std::ops::Range;

/// A kernel that needs more parts than this is a transform, such as a spectrum, and better written as a product.
const MOST_PARTS: usize = 8;

/// The rewrite; looks at `conv`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["conv"])?;
    let conv = Conv::of(&op.site()?)?;
    let (axis, most) = too_large(&conv.window.kernel, limits)?;
    let shapes = (op.shape(conv.x)?, op.shape(op.result()?)?);
    let padding = conv.pads.clone().ok_or("the padding depends on extents that are not known")?;
    let whole = weight(op, conv.weight)?.tensor()?;
    let taps = conv.window.kernel[axis];
    let count = taps.div_ceil(most);
    if count > MOST_PARTS {
        return Err(Miss::because(format!("{count} parts would be too many, {MOST_PARTS} are worth it")));
    }
    let width = taps.div_ceil(count);
    let split =
        Split { op, conv: &conv, axis, padding, input: shapes.0[axis + 2], output: shapes.1[axis + 2] };
    let mut patch = Patch::default();
    let mut sum: Option<Ref> = None;
    for from in (0..taps).step_by(width) {
        let taps = from..(from + width).min(taps);
        let one = split.part(&mut patch, &whole, taps)?;
        sum = Some(match sum {
            Some(before) => patch.op("add", "sum", vec![("x", before), ("y", one)]),
            None => one,
        });
    }
    let sum = sum.ok_or("the kernel is empty")?;
    Ok(patch.replacing(op.result()?, sum))
}

/// The spatial dim along which the kernel is larger than allowed, and what is allowed there.
fn too_large(kernel: &[usize], limits: &Limits) -> Result<(usize, usize), Miss> {
    let most = [limits.conv_width, limits.conv_height];
    for (back, most) in most.into_iter().enumerate() {
        let Some(axis) = kernel.len().checked_sub(back + 1) else { continue };
        if kernel[axis] > most && most > 0 {
            return Ok((axis, most));
        }
    }
    Err(Miss::because(format!("the kernel {kernel:?} is taken")))
}

struct Split<'a> {
    op: OpRef<'a>,
    conv: &'a Conv,
    /// The spatial dim that is split.
    axis: usize,
    padding: Vec<(usize, usize)>,
    /// Extents of input and output along it.
    input: usize,
    output: usize,
}

impl Split<'_> {
    /// The convolution with some of the taps.
    fn part(&self, patch: &mut Patch, whole: &Tensor, taps: Range<usize>) -> Result<Ref, Miss> {
        let step = |list: &[usize]| list.get(self.axis).copied().unwrap_or(1);
        let (stride, dilation) = (step(&self.conv.window.strides), step(&self.conv.window.dilations));
        let skipped = taps.start.saturating_mul(dilation);
        // Elements that the part looks at, from its first window to its last.
        let seen = (self.output.saturating_sub(1)).saturating_mul(stride)
            + (taps.len() - 1).saturating_mul(dilation)
            + 1;
        let before = self.padding[self.axis].0;
        let begin = skipped.saturating_sub(before);
        let before = before.saturating_sub(skipped);
        if begin >= self.input || before >= seen {
            return Err("a part of the kernel sees nothing but padding".into());
        }
        let end = (begin + seen - before).min(self.input);
        let after = begin + seen - before - end;
        let mut x = Ref::Value(self.conv.x);
        if begin > 0 || end < self.input {
            x = self.cut(patch, begin, end)?;
        }
        let mut padding = self.padding.clone();
        padding[self.axis] = (before, after);
        let weight = Weight::of(&part(whole, self.axis + 2, taps.start, taps.end)?);
        let changed = vec![
            ("x", x),
            ("weight", patch.constant("weight", weight)),
            ("pad", pads(patch, &padding)?),
            ("pad_type", custom(patch)),
        ];
        let first = taps.start == 0;
        let new = patch.variant(self.op.op(), "part", changed);
        if let (false, Some(op)) = (first, patch.ops.last_mut()) {
            op.args.retain(|(param, _)| &**param != "bias");
        }
        Ok(new)
    }

    /// The input from `begin` to `end` along the split dim.
    fn cut(&self, patch: &mut Patch, begin: usize, end: usize) -> Result<Ref, Miss> {
        let x: ValueId = self.conv.x;
        let mut size = self.op.shape(x)?;
        let mut from = vec![0; size.len()];
        (from[self.axis + 2], size[self.axis + 2]) = (begin, end - begin);
        let args = vec![
            ("x", x.into()),
            ("begin", ints(patch, "begin", &from)?),
            ("size", ints(patch, "size", &size)?),
        ];
        Ok(patch.op("slice_by_size", "cut", args))
    }
}
