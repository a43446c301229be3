//! A convolution whose weight is computed becomes a matrix product.
//!
//! ```text
//! y = conv(x: [1, C, H, W], weight = w: [O, C, 3, 3])      becomes
//! t = concat(x at every place of the kernel); y = reshape(matmul(reshape(w, [1, O, 9 C]), reshape(t, [1, 9 C, H W])))
//! ```
//! `matmul` is made for two computed tensors, while weights that are computed were ignored on one path.

use super::Limits;
use super::filters::ints;
use super::pieces::{binary, concat, count, extents, matmul, number, reshape};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::Literal;
use anemone_mil::ops::Conv;

/// Kernels of more places are not taken apart.
const MOST_TAPS: usize = 81;

/// The rewrite; looks at `conv`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["conv"])?;
    let conv = Conv::of(&op.site()?)?;
    let unpacked = op.maker(conv.weight).is_some_and(|m| m.kind().starts_with("constexpr_"));
    if op.function.constant(conv.weight).is_some() || unpacked {
        return Err("its weight is constant".into());
    }
    if conv.groups != 1 {
        return Err("it has groups".into());
    }
    let taps = count(&conv.window.kernel)?;
    if taps > MOST_TAPS {
        return Err(Miss::because(format!("the kernel has {taps} places")));
    }
    let (x, y) = (extents(op, conv.x)?, extents(op, op.result()?)?);
    let (batch, channels, outputs) = (x[0], x[1], y[1]);
    let (places, deep) = (count(&y[2..])?, count(&[channels, taps])?);
    let mut patch = Patch::default();
    let padded = padded(op, &conv, &mut patch)?;
    let mut parts = Vec::new();
    for tap in 0..taps {
        let part = at_tap(&mut patch, &conv, padded, (&x, &y), tap)?;
        parts.push(reshape(&mut patch, part, &[batch, channels, 1, places])?);
    }
    let columns = concat(&mut patch, parts, 2)?;
    let columns = reshape(&mut patch, columns, &[batch, deep, places])?;
    let rows = reshape(&mut patch, Ref::Value(conv.weight), &[1, outputs, deep])?;
    let product = matmul(&mut patch, (rows, false), (columns, false));
    let mut new = reshape(&mut patch, product, &y)?;
    if let Some(bias) = conv.bias {
        let mut shape = vec![1; y.len()];
        shape[1] = outputs;
        let bias = reshape(&mut patch, Ref::Value(bias), &shape)?;
        new = binary(&mut patch, "add", "biased", new, bias);
    }
    Ok(patch.replacing(op.result()?, new))
}

/// The input with its padding.
fn padded(op: OpRef<'_>, conv: &Conv, patch: &mut Patch) -> Result<Ref, Miss> {
    let pads = conv.pads.as_ref().ok_or("the padding depends on extents that are not known")?;
    if pads.iter().all(|&p| p == (0, 0)) {
        return Ok(Ref::Value(conv.x));
    }
    let amounts: Vec<usize> =
        [(0, 0), (0, 0)].iter().chain(pads).flat_map(|&(before, after)| [before, after]).collect();
    let amounts = ints(patch, "pad", &amounts)?;
    let mode = patch.literal("mode", Literal::string("constant"));
    let zero = number(patch, op.tensor(conv.x)?.dtype, 0.0);
    let args = vec![("x", Ref::Value(conv.x)), ("pad", amounts), ("mode", mode), ("constant_val", zero)];
    Ok(patch.op("pad", "padded", args))
}

/// What one place of the kernel sees, for every place of the result.
fn at_tap(
    patch: &mut Patch,
    conv: &Conv,
    x: Ref,
    (input, output): (&[usize], &[usize]),
    mut tap: usize,
) -> Result<Ref, Miss> {
    let (mut begin, mut end, mut stride) = (vec![0; input.len()], input.to_vec(), vec![1; input.len()]);
    for d in (0..conv.window.kernel.len()).rev() {
        let (k, s) = (conv.window.kernel[d], conv.window.strides[d]);
        begin[d + 2] = (tap % k) * conv.window.dilations[d];
        end[d + 2] = begin[d + 2] + (output[d + 2] - 1) * s + 1;
        stride[d + 2] = s;
        tap /= k;
    }
    let whole = x == Ref::Value(conv.x) && end == input;
    if whole && begin.iter().all(|&b| b == 0) && stride.iter().all(|&s| s == 1) {
        return Ok(x);
    }
    let mut args =
        vec![("x", x), ("begin", ints(patch, "begin", &begin)?), ("end", ints(patch, "end", &end)?)];
    if stride.iter().any(|&s| s != 1) {
        args.push(("stride", ints(patch, "stride", &stride)?));
    }
    Ok(patch.op("slice_by_index", "part", args))
}
