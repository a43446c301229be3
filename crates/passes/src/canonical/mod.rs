//! Passes that bring a program to its canonical form: known ops, one spelling per idea, nothing that can be folded.

pub mod fold_batch_norm;
pub mod fold_conv_scale;
pub mod fuse_conv_bias;
pub mod fuse_linear_bias;
pub mod fuse_moment_norm;
pub mod fuse_pad;
pub mod fuse_relu6;
pub mod fuse_silu;
pub mod merge_duplicates;
pub mod merge_reshapes;
pub mod merge_transposes;
pub mod remove_noops;

use anemone_mil::{Function, OpId, Tensor, Uses, ValueId};

use crate::Miss;

/// The numbers of a constant operand.
pub(crate) fn numbers(function: &Function, value: Option<ValueId>) -> Option<Tensor> {
    function.constant(value?)?.literal().ok()?.as_tensor().cloned()
}

/// The op of one of the given kinds that makes operand `param` of `op` and feeds nothing else.
pub(crate) fn sole_producer(
    function: &Function,
    uses: &Uses,
    op: OpId,
    param: &str,
    kinds: &[&str],
) -> Result<OpId, Miss> {
    let value = function.op(op).value(param).ok_or("operand is missing")?;
    let producer = function.producer(value).ok_or("operand is not the result of an op")?;
    if !kinds.contains(&function.op(producer).kind.name()) {
        return Err("operand comes from another kind of op".into());
    }
    if uses.only(value) != Some(op) {
        return Err("the operand has other users".into());
    }
    Ok(producer)
}

/// The constant among operands `x` and `y` of a binary op, and the other one.
pub(crate) fn constant_side(function: &Function, op: OpId) -> Result<(Tensor, &'static str), Miss> {
    let op = function.op(op);
    for (constant, other) in [("y", "x"), ("x", "y")] {
        if let Some(t) = numbers(function, op.value(constant)) {
            return Ok((t, other));
        }
    }
    Err("neither operand is constant".into())
}

/// One number per channel of a constant that broadcasts over `[batch, channels, spatial..]` of rank `rank`.
pub(crate) fn per_channel(t: &Tensor, channels: usize, rank: usize) -> Result<Vec<f32>, Miss> {
    let shape = t.shape();
    if t.len() == 1 && t.rank() <= rank {
        return Ok(vec![t.to_f32s()[0]; channels]);
    }
    if t.rank() > rank || t.len() != channels {
        return Err("constant is not one number per channel".into());
    }
    let channel_axis = (shape.len() + 1).checked_sub(rank).ok_or("constant has too few dims")?;
    if shape.get(channel_axis) != Some(&channels) {
        return Err("constant varies along another dim than the channels".into());
    }
    Ok(t.to_f32s())
}
