//! A product with a constant matrix becomes a 1 x 1 convolution on `[N, C, 1, S]`.
//!
//! ```text
//! y = linear(x [B, S, C], W [O, C], b)                                     becomes
//! a = transpose(expand_dims(x, 1), [0, 3, 1, 2]); c = conv(a, W [O, C, 1, 1], b)
//! y = squeeze(transpose(c, [0, 2, 3, 1]), 1)
//! ```
//! Every number is the same sum of the same products. What stands between two of them is computed with the channels
//! second by `sink_squeezes` and `remove_transposes`, so that a chain has one transpose before
//! it and one behind.

use super::Limits;
use super::filters::{Ones, ints, weight};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Literal, Tensor};

/// The dims of the one tap.
const TAPS: Ones = Ones { at: 2, count: 2 };

/// The rewrite; looks at `linear`, and at `matmul` by a constant matrix.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["linear", "matmul"])?;
    let x = op.operand("x")?;
    let ty = op.tensor(x)?;
    if !ty.dtype.is_float() {
        return Err("it does not multiply floats".into());
    }
    let rank = ty.rank();
    if rank == 0 || rank > 4 || op.function.constant(x).is_some() {
        return Err(Miss::because(format!("`x` has {rank} dims, or is constant")));
    }
    if ty.element_count() == Some(0) {
        return Err("`x` has no elements".into());
    }
    let mut patch = Patch::default();
    let weight = filters(op, &mut patch)?;
    let new: Vec<usize> = match rank {
        4 => Vec::new(),
        3 => vec![1],
        _ => (0..4 - rank).collect(),
    };
    let mut a = Ref::Value(x);
    if !new.is_empty() {
        let axes = ints(&mut patch, "axes", &new)?;
        a = patch.op("expand_dims", "rows", vec![("x", a), ("axes", axes)]);
    }
    let perm = ints(&mut patch, "perm", &[0, 3, 1, 2])?;
    let a = patch.op("transpose", "channels", vec![("x", a), ("perm", perm)]);
    let c = convolution(op, &mut patch, a, weight)?;
    let perm = ints(&mut patch, "perm", &[0, 2, 3, 1])?;
    let mut y = patch.op("transpose", "rows", vec![("x", c), ("perm", perm)]);
    if !new.is_empty() {
        let axes = ints(&mut patch, "axes", &new)?;
        y = patch.op("squeeze", "dims", vec![("x", y), ("axes", axes)]);
    }
    Ok(patch.replacing(op.result()?, y))
}

/// The convolution of one tap.
fn convolution(op: OpRef<'_>, patch: &mut Patch, x: Ref, weight: Ref) -> Result<Ref, Miss> {
    let mut args = vec![
        ("x", x),
        ("weight", weight),
        ("strides", ints(patch, "strides", &[1, 1])?),
        ("pad_type", patch.literal("pad_type", Literal::string("valid"))),
        ("pad", ints(patch, "pad", &[0, 0, 0, 0])?),
        ("dilations", ints(patch, "dilations", &[1, 1])?),
        ("groups", patch.literal("groups", Tensor::scalar_i32(1))),
    ];
    if let Some(bias) = op.op().value("bias") {
        args.push(("bias", bias.into()));
    }
    Ok(patch.op("conv", "conv", args))
}

/// The matrix `[out, in]` as `[out, in, 1, 1]`.
fn filters(op: OpRef<'_>, patch: &mut Patch) -> Result<Ref, Miss> {
    if op.is(&["linear"]) {
        let value = op.operand("weight")?;
        return match op.maker(value) {
            Some(unpacked) => TAPS.unpack(op, unpacked, value, patch),
            None => TAPS.add(patch, weight(op, value)?),
        };
    }
    let site = op.site()?;
    if site.bool("transpose_x")? {
        return Err("the left operand is transposed".into());
    }
    let matrix = weight(op, op.operand("y")?)?;
    if matrix.shape.len() != 2 || matrix.dtype != op.tensor(op.operand("x")?)?.dtype {
        return Err("the right operand is no matrix of the same type".into());
    }
    let matrix = if site.bool("transpose_y")? { matrix } else { matrix.transposed(&[1, 0]) };
    TAPS.add(patch, matrix)
}
