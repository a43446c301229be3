//! What follows a `squeeze` is computed before it.
//!
//! ```text
//! y = gelu(squeeze(x, 1))                 becomes      y = squeeze(gelu(x), 1)
//! y = add(squeeze(x, 1), r)               becomes      y = squeeze(add(x, expand_dims(r, 1)), 1)
//! y = layer_norm(squeeze(x, 1), [2])      becomes      y = squeeze(layer_norm(x, [3]), 1)
//! y = expand_dims(squeeze(x, 1), 1)       becomes      y = x
//! ```
//! So the squeeze after one convolution meets the `expand_dims` before the next, and both are gone.

use super::Limits;
use super::filters::ints;
use crate::{Miss, NewOp, OpRef, Patch, Ref};
use anemone_mil::ops::{Form, Reduction};
use anemone_mil::{Const, Literal, Tensor, ValueId, Weight};

/// Ops with axes that keep the rank.
const ALONG: [&str; 9] = [
    "layer_norm",
    "softmax",
    "reduce_l2_norm",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_sum",
    "reduce_sum_square",
    "concat",
];

/// The rewrite; looks at ops that take the result of a `squeeze`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    let kind = op.kind();
    if op.is(&["expand_dims"]) {
        return meet(op);
    }
    let params: &[&str] = match op.form() {
        form @ (Form::Identity | Form::Unary | Form::Binary) => form.elementwise(),
        _ if kind == "concat" => &["values"],
        _ if ALONG.contains(&kind) => &["x"],
        _ => return Err(Miss::OtherKind),
    };
    let taken: Vec<ValueId> = params.iter().flat_map(|p| op.op().values(p).iter().copied()).collect();
    let squeeze = taken.iter().find_map(|&v| op.made_by(v, &["squeeze"]).ok()).ok_or(Miss::OtherKind)?;
    let dropped = dropped(squeeze)?;
    let result = op.result()?;
    let rank = op.tensor(result)?.rank();
    if taken.iter().any(|&v| op.tensor(v).is_ok_and(|t| t.rank() > rank)) {
        return Err("the ranks do not fit".into());
    }
    let mut patch = Patch::default();
    let mut args: Vec<(&str, Vec<Ref>)> = Vec::new();
    for param in params {
        let raised: Result<Vec<Ref>, Miss> =
            op.op().values(param).iter().map(|&v| raised(op, &mut patch, v, &dropped, rank)).collect();
        args.push((param, raised?));
    }
    let changed = along(op, &mut patch, &dropped, rank)?;
    let new = patch.variant(op.op(), "raised", changed);
    if let Some(NewOp { args: given, .. }) = patch.ops.last_mut() {
        given.retain(|(p, _)| !params.contains(&&**p));
        given.extend(args.into_iter().map(|(p, refs)| (p.into(), refs)));
    }
    let axes = ints(&mut patch, "axes", &dropped)?;
    let y = patch.op("squeeze", "dims", vec![("x", new), ("axes", axes)]);
    Ok(patch.replacing(result, y))
}

/// An `expand_dims` that undoes the squeeze before it.
fn meet(op: OpRef<'_>) -> Result<Patch, Miss> {
    let squeeze = op.made_by(op.operand("x")?, &["squeeze"]).map_err(|_| Miss::OtherKind)?;
    let x = squeeze.operand("x")?;
    let dropped = dropped(squeeze)?;
    let mut added = op.site()?.axes("axes", op.tensor(op.result()?)?.rank())?;
    added.sort_unstable();
    if added != dropped {
        return Err(Miss::because(format!("dims {dropped:?} are dropped, and {added:?} added")));
    }
    Ok(Patch::redirect(op.result()?, x))
}

/// The dims that a squeeze drops, in order, counted from the front of its operand.
fn dropped(squeeze: OpRef<'_>) -> Result<Vec<usize>, Miss> {
    let ty = squeeze.tensor(squeeze.operand("x")?)?;
    let site = squeeze.site()?;
    if !site.has("axes") {
        return Err("the squeeze drops whatever is 1".into());
    }
    let mut axes = site.axes("axes", ty.rank())?;
    axes.sort_unstable();
    Ok(axes)
}

/// An operand with the dims that the squeeze drops.
fn raised(op: OpRef<'_>, patch: &mut Patch, v: ValueId, drops: &[usize], rank: usize) -> Result<Ref, Miss> {
    if let Ok(squeeze) = op.made_by(v, &["squeeze"])
        && dropped(squeeze).is_ok_and(|d| d == drops)
    {
        return Ok(squeeze.operand("x")?.into());
    }
    let own = op.tensor(v)?.rank();
    if op.tensor(v)?.element_count() == Some(1) && op.function.constant(v).is_some() {
        return Ok(v.into());
    }
    // Dims that are missing in front count as 1, and stay missing where nothing is dropped behind them.
    if own < rank && op.is(&["concat"]) {
        return Err("a part has too few dims".into());
    }
    let missing = rank - own;
    let wide = rank + drops.len();
    let kept: Vec<usize> = (0..wide).filter(|d| !drops.contains(d)).collect();
    let first = kept.get(missing).copied().unwrap_or(wide);
    let mut added: Vec<usize> = drops.iter().filter(|&&d| d > first).map(|&d| d - first).collect();
    // Lists have operands of one rank, and what is computed can only be permuted with the others at their rank.
    if own == rank && (op.is(&["concat"]) || op.function.constant(v).is_none()) {
        added = drops.to_vec();
    }
    if added.is_empty() {
        return Ok(v.into());
    }
    if let Some(constant) = op.function.constant(v) {
        return Ok(patch.constant("raised", reshaped(op, v, constant, &added)?));
    }
    let axes = ints(patch, "axes", &added)?;
    Ok(patch.op("expand_dims", "dims", vec![("x", v.into()), ("axes", axes)]))
}

fn reshaped(op: OpRef<'_>, v: ValueId, constant: &Const, added: &[usize]) -> Result<Const, Miss> {
    let tensor = op.constant(v)?;
    let mut shape = tensor.shape().to_vec();
    for &at in added {
        shape.insert(at, 1);
    }
    let tensor = tensor.reshaped(shape)?;
    Ok(match constant {
        Const::Literal(_) => Const::Literal(Literal::Tensor(tensor)),
        Const::Weight(_) => Weight::of(&tensor).into(),
    })
}

/// The arguments that name axes, for the larger rank.
fn along<'a>(
    op: OpRef<'_>,
    patch: &mut Patch,
    drops: &[usize],
    rank: usize,
) -> Result<Vec<(&'a str, Ref)>, Miss> {
    let kept: Vec<usize> = (0..rank + drops.len()).filter(|d| !drops.contains(d)).collect();
    let site = op.site()?;
    Ok(match op.kind() {
        "softmax" | "concat" => {
            let axis = i32::try_from(kept[site.axis("axis", rank)?]).map_err(|_| "too many dims")?;
            vec![("axis", patch.literal("axis", Tensor::scalar_i32(axis)))]
        }
        "layer_norm" => {
            let axes = if site.has("axes") { site.axes("axes", rank)? } else { (0..rank).collect() };
            let axes: Vec<usize> = axes.into_iter().map(|a| kept[a]).collect();
            vec![("axes", ints(patch, "axes", &axes)?)]
        }
        _ if op.is(&Form::Reduction) => {
            let reduction = Reduction::of(&site)?;
            if !reduction.keep_dims {
                return Err("the reduction drops dims".into());
            }
            let axes: Vec<usize> = reduction.axes.iter().map(|&a| kept[a]).collect();
            vec![("axes", ints(patch, "axes", &axes)?)]
        }
        _ => Vec::new(),
    })
}
