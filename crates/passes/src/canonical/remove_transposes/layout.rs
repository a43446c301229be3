//! Ops that do their work in any order of dims, and what they look like in another one.

use crate::{Miss, OpRef};
use anemone_mil::ops::{Form, Pad, PadMode, Reduction, SliceByIndex};
use anemone_mil::{Literal, Tensor, ValueId};

/// Ops with one tensor whose axes, or numbers per dim, can follow the order of dims.
const ALONG: [&str; 9] =
    ["cumsum", "layer_norm", "pad", "reverse", "slice_by_index", "slice_by_size", "softmax", "split", "tile"];

/// The parameters of an op that hold tensors in the layout of its results; `None` when the op minds the order of dims.
pub(super) fn tensors(op: OpRef<'_>) -> Option<&'static [&'static str]> {
    let form = op.form();
    match op.kind() {
        _ if !form.elementwise().is_empty() => Some(form.elementwise()),
        _ if form == Form::Reduction => Reduction::of(&op.site().ok()?).ok()?.keep_dims.then_some(&["x"]),
        kind if ALONG.contains(&kind) => Some(&["x"]),
        "concat" => Some(&["values"]),
        _ => None,
    }
}

/// The arguments that change when dim `d` of the tensors becomes dim `to[d]`.
///
/// # Errors
/// When the op cannot follow.
pub(super) fn arguments(op: OpRef<'_>, to: &[usize]) -> Result<Vec<(&'static str, Literal)>, Miss> {
    match op.kind() {
        _ if op.is(&Form::Reduction) => reduction(op, to),
        "concat" | "split" | "softmax" | "cumsum" => {
            let axis = op.site()?.axis("axis", to.len())?;
            Ok(vec![("axis", Tensor::scalar_i32(narrow(to[axis])?).into())])
        }
        "layer_norm" => norm(op, to),
        "pad" => pad(op, to),
        "tile" => vector(op, "reps", to).map(|v| vec![v]),
        "reverse" => axes(&op.site()?.axes("axes", to.len())?, to).map(|v| vec![("axes", v)]),
        "slice_by_size" => ["begin", "size"].into_iter().map(|param| vector(op, param, to)).collect(),
        "slice_by_index" => slice(op, to),
        _ => Ok(Vec::new()),
    }
}

/// As [`arguments`] for a reduction that drops dims: they must leave the others in their order.
///
/// # Errors
/// When they do not.
pub(super) fn dropping(op: OpRef<'_>, to: &[usize]) -> Result<Vec<(&'static str, Literal)>, Miss> {
    op.expect(&Form::Reduction)?;
    let reduction_of = Reduction::of(&op.site()?)?;
    if reduction_of.keep_dims {
        return Err("no dim is dropped".into());
    }
    let reduced = reduction_of.axes;
    let kept: Vec<usize> = (0..to.len()).filter(|d| !reduced.contains(d)).map(|d| to[d]).collect();
    if !kept.is_sorted() {
        return Err("the dims that are left change their order".into());
    }
    reduction(op, to)
}

fn reduction(op: OpRef<'_>, to: &[usize]) -> Result<Vec<(&'static str, Literal)>, Miss> {
    let found = Reduction::of(&op.site()?)?.axes;
    if op.site()?.version.param("axis").is_some() {
        let [axis] = *found.as_slice() else { return Err("not one axis".into()) };
        return Ok(vec![("axis", Tensor::scalar_i32(narrow(to[axis])?).into())]);
    }
    Ok(vec![("axes", axes(&found, to)?)])
}

/// The axes of a norm, whose scale and shift have their dims in the order of the axes.
fn norm(op: OpRef<'_>, to: &[usize]) -> Result<Vec<(&'static str, Literal)>, Miss> {
    let site = op.site()?;
    let found = if site.has("axes") { site.axes("axes", to.len())? } else { (0..to.len()).collect() };
    let moved: Vec<usize> = found.iter().map(|&a| to[a]).collect();
    if !(found.is_sorted() && moved.is_sorted()) && (site.has("gamma") || site.has("beta")) {
        return Err("the norm's axes change their order".into());
    }
    Ok(vec![("axes", axes(&found, to)?)])
}

fn axes(found: &[usize], to: &[usize]) -> Result<Literal, Miss> {
    let mut moved: Vec<usize> = found.iter().map(|&a| to[a]).collect();
    moved.sort_unstable();
    let moved: Result<Vec<i32>, Miss> = moved.into_iter().map(narrow).collect();
    Ok(Tensor::vector_i32(&moved?).into())
}

/// A vector of one number per dim.
fn vector(op: OpRef<'_>, param: &'static str, to: &[usize]) -> Result<(&'static str, Literal), Miss> {
    let values = op.site()?.ints(param)?;
    let narrow: Result<Vec<i32>, _> = values.into_iter().map(i32::try_from).collect();
    let moved = moved(&narrow.map_err(|_| "a number is too large")?, to)?;
    Ok((param, Tensor::vector_i32(&moved).into()))
}

/// A vector of one item per dim in the new order of dims.
fn moved<T: Copy + Default>(items: &[T], to: &[usize]) -> Result<Vec<T>, Miss> {
    if items.len() != to.len() {
        return Err("an argument does not have an item per dim".into());
    }
    let mut out = vec![T::default(); to.len()];
    for (&item, &at) in items.iter().zip(to) {
        out[at] = item;
    }
    Ok(out)
}

fn pad(op: OpRef<'_>, to: &[usize]) -> Result<Vec<(&'static str, Literal)>, Miss> {
    let pad = Pad::of(&op.site()?)?;
    // Core ML mirrors and repeats along the last two dims only.
    if !matches!(pad.mode, PadMode::Constant(_)) {
        return Err("the padding depends on the order of dims".into());
    }
    let amounts = moved(&pad.pads.ok_or("the padding is computed")?, to)?;
    let from = amounts.iter().position(|&p| p != (0, 0)).unwrap_or(0);
    let flat: Result<Vec<i32>, Miss> =
        amounts[from..].iter().flat_map(|&(before, after)| [before, after]).map(narrow).collect();
    Ok(vec![("pad", Tensor::vector_i32(&flat?).into())])
}

fn slice(op: OpRef<'_>, to: &[usize]) -> Result<Vec<(&'static str, Literal)>, Miss> {
    let site = op.site()?;
    let slice = SliceByIndex::of(&site)?;
    if slice.squeeze_mask.contains(&true) {
        return Err("the slice drops dims".into());
    }
    let mut out = vec![vector(op, "begin", to)?, vector(op, "end", to)?];
    if site.has("stride") {
        out.push(vector(op, "stride", to)?);
    }
    for (param, mask) in [("begin_mask", &slice.begin_mask), ("end_mask", &slice.end_mask)] {
        if site.has(param) {
            out.push((param, Tensor::vector_bool(&moved(mask, to)?).into()));
        }
    }
    Ok(out)
}

fn narrow(n: usize) -> Result<i32, Miss> {
    i32::try_from(n).map_err(|_| "a number is too large".into())
}

/// The dims of `perm` by the op that permutes them.
pub(super) fn permutation(op: OpRef<'_>) -> Option<Vec<usize>> {
    if !op.is(&["transpose"]) {
        return None;
    }
    let rank = op.tensor(op.operand("x").ok()?).ok()?.rank();
    let perm = op.site().ok()?.axes("perm", rank).ok()?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    (sorted.len() == rank && sorted.iter().enumerate().all(|(i, &d)| i == d)).then_some(perm)
}

/// The permutation that undoes another one.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut out = vec![0; perm.len()];
    for (i, &d) in perm.iter().enumerate() {
        out[d] = i;
    }
    out
}

/// The permutation that applies `first`, then `second`.
pub(super) fn composed(first: &[usize], second: &[usize]) -> Vec<usize> {
    second.iter().map(|&d| first[d]).collect()
}

/// True when nothing moves.
pub(super) fn is_identity(perm: &[usize]) -> bool {
    perm.is_sorted()
}

/// The values of one op that are in the layout of its results; `None` when one cannot be.
pub(super) fn operands(op: OpRef<'_>) -> Option<Vec<ValueId>> {
    let params = tensors(op)?;
    let rank = op.tensor(*op.op().outputs.first()?).ok()?.rank();
    let mut out = Vec::new();
    for v in params.iter().flat_map(|p| op.op().values(p)) {
        let ty = op.tensor(*v).ok()?;
        let constant = op.function.constant(*v).is_some();
        if ty.rank() == rank && !constant {
            out.push(*v);
        } else if ty.rank() > rank || !constant && ty.element_count() != Some(1) {
            return None;
        }
    }
    let unmoved: Vec<usize> = (0..rank).collect();
    arguments(op, &unmoved).ok()?;
    let same = op.op().outputs.iter().all(|&v| op.tensor(v).is_ok_and(|t| t.rank() == rank));
    (same && rank > 1 && !out.is_empty()).then_some(out)
}
