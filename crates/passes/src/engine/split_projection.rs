//! A projection with too many outputs becomes several, whose results are joined.
//!
//! ```text
//! y = linear(x, W [40000, C], b)                                           becomes
//! y = concat(linear(x, W[0..13344], b[0..13344]), linear(x, W[13344..26688], ..), ..)
//! ```
//! Parts are of equal size but for the last, and a multiple of 32 long. Weights that are unpacked when a model is
//! loaded are cut where their scales or palettes allow it.

use super::Limits;
use super::filters::{part, weight};
use crate::{Miss, NewOp, OpRef, Patch, Ref};
use anemone_mil::{Dim, Tensor, ValueId, Weight};
use std::ops::Range;

/// Parts that more are not worth having.
const MOST_PARTS: usize = 64;
/// Outputs of a part come in multiples of this.
const STEP: usize = 32;

/// The rewrite; looks at `linear`, and at `conv` without groups.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["linear", "conv"])?;
    let filters = op.operand("weight")?;
    let rows = op.tensor(filters)?.dims.first().and_then(Dim::known).ok_or("the outputs are not known")?;
    let most = limits.outputs.max(1);
    if rows <= most {
        return Err(Miss::because(format!("{rows} outputs are taken")));
    }
    if op.is(&["conv"]) && op.site()?.int("groups")? != 1 {
        return Err("the convolution has groups".into());
    }
    let even = rows.div_ceil(rows.div_ceil(most));
    let size = even.next_multiple_of(STEP).min(most);
    if rows.div_ceil(size) > MOST_PARTS {
        return Err(Miss::because(format!("{} parts would be too many", rows.div_ceil(size))));
    }
    let mut patch = Patch::default();
    let mut parts = Vec::new();
    for from in (0..rows).step_by(size) {
        let range = from..(from + size).min(rows);
        let mut changed = vec![("weight", cut_weight(op, &mut patch, filters, rows, &range)?)];
        if let Some(bias) = op.op().value("bias") {
            changed.push(("bias", cut(op, &mut patch, bias, &range)?));
        }
        parts.push(patch.variant(op.op(), "part", changed));
    }
    let rank = op.tensor(op.result()?)?.rank();
    let axis = if op.is(&["conv"]) { 1 } else { rank.saturating_sub(1) };
    let axis = patch.literal("axis", Tensor::scalar_i32(i32::try_from(axis).unwrap_or(0)));
    let interleave = patch.literal("interleave", Tensor::scalar_bool(false));
    let args =
        vec![("values".into(), parts), ("axis".into(), vec![axis]), ("interleave".into(), vec![interleave])];
    patch.ops.push(NewOp { kind: "concat".into(), args, suffix: "joined", attributes: Vec::new() });
    let joined = Ref::New(patch.ops.len() - 1);
    Ok(patch.replacing(op.result()?, joined))
}

/// Rows of a constant.
fn cut(op: OpRef<'_>, patch: &mut Patch, v: ValueId, rows: &Range<usize>) -> Result<Ref, Miss> {
    let tensor = weight(op, v)?.tensor()?;
    let tensor = part(&tensor, 0, rows.start, rows.end)?;
    Ok(patch.constant("part", Weight::of(&tensor)))
}

/// Rows of a weight, or the op that unpacks those rows.
fn cut_weight(
    op: OpRef<'_>,
    patch: &mut Patch,
    v: ValueId,
    all: usize,
    rows: &Range<usize>,
) -> Result<Ref, Miss> {
    let Some(unpack) = op.maker(v) else { return cut(op, patch, v, rows) };
    op.made_by(v, &["constexpr_blockwise_shift_scale", "constexpr_lut_to_dense"])?;
    let mut changed: Vec<(&str, Ref)> = Vec::new();
    for arg in &unpack.op().args {
        let [v] = *arg.values.as_slice() else { return Err("an operand is a list".into()) };
        if !["data", "scale", "offset", "indices", "lut"].contains(&&*arg.param) {
            continue;
        }
        let own = unpack.tensor(v)?.dims.first().and_then(Dim::known).unwrap_or(0);
        if own == 1 {
            continue;
        }
        // One row of a scale or palette may be for several rows of the weight.
        let per = all.checked_div(own).filter(|per| per * own == all).ok_or("rows do not go into blocks")?;
        if !rows.start.is_multiple_of(per) || !rows.end.is_multiple_of(per) {
            return Err("the parts would cut a block".into());
        }
        changed.push((&arg.param, cut(op, patch, v, &(rows.start / per..rows.end / per))?));
    }
    if unpack.op().args.iter().any(|a| &*a.param == "shape") {
        return Err("the weight is written as before iOS 18".into());
    }
    Ok(patch.variant(unpack.op(), "weight", changed))
}
