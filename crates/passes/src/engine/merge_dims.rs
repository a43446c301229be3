//! Tensors of more than five axes get fewer: dims that stay together through a transpose are merged.
//!
//! ```text
//! y = reshape(transpose(reshape(x, [1, 8, 7, 8, 7, 96]), [0, 1, 3, 2, 4, 5]), [64, 49, 96])      becomes
//! y = reshape(transpose(reshape(x, [8, 7, 8, 672]), [0, 2, 1, 3]), [64, 49, 96])
//! ```
//! Dims of extent 1 go. An op that treats every element by itself is computed before the `reshape` to more axes.

use super::Limits;
use super::pieces::{count, extents, reshape, transpose};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ValueId;
use anemone_mil::ops::Form;

/// The rewrite; looks at `transpose` and at ops of one tensor, of too many axes.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    if !op.is(&["transpose"]) {
        op.expect(&Form::Unary)?;
    }
    let (x, y) = (op.operand("x")?, op.result()?);
    let shape = extents(op, x)?;
    if shape.len() <= limits.rank {
        return Err(Miss::because(format!("{} axes are not too many", shape.len())));
    }
    let source = op.made_by(x, &Form::Reshape)?.operand("x")?;
    let mut patch = Patch::default();
    if !op.is(&["transpose"]) {
        if op.shape(source)?.len() > limits.rank {
            return Err(op.about(source, "has too many axes, too"));
        }
        let early = patch.variant(op.op(), "early", vec![("x", Ref::Value(source))]);
        let late = reshape(&mut patch, early, &shape)?;
        return Ok(patch.replacing(y, late));
    }
    let users = reshaped_users(op, y)?;
    count(&shape)?;
    let (merged, perm) = merged(&shape, &op.site()?.axes("perm", shape.len())?);
    if merged.len() > limits.rank {
        return Err(Miss::because(format!("{} axes move independently", merged.len())));
    }
    let mut moved = reshape(&mut patch, Ref::Value(source), &merged)?;
    if !perm.is_sorted() {
        moved = transpose(&mut patch, moved, &perm)?;
    }
    for (result, shape) in users {
        let new = reshape(&mut patch, moved, &shape)?;
        patch.replace.push((result, new));
    }
    Ok(patch)
}

/// Results and shapes of the ops that take a value, all of which only change its shape.
fn reshaped_users(op: OpRef<'_>, v: ValueId) -> Result<Vec<(ValueId, Vec<usize>)>, Miss> {
    if op.index.escapes(v) {
        return Err(op.about(v, "is handed out with all its axes"));
    }
    let mut found = Vec::new();
    for &id in op.index.users(v) {
        let user = OpRef { id, ..op };
        if !user.is(&Form::Reshape) || op.index.home(id) != op.index.home(op.id) {
            return Err(Miss::because(format!("`{}` takes all its axes", user.kind())));
        }
        let result = user.result()?;
        found.push((result, extents(user, result)?));
    }
    Ok(found)
}

/// The extents and the permutation with dims of extent 1 left out, and those that stay together as one.
fn merged(shape: &[usize], perm: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let long: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
    let order: Vec<usize> = perm.iter().filter_map(|p| long.iter().position(|d| d == p)).collect();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &d in &order {
        match runs.last_mut() {
            Some((_, end)) if *end == d => *end = d + 1,
            _ => runs.push((d, d + 1)),
        }
    }
    let mut starts: Vec<usize> = runs.iter().map(|r| r.0).collect();
    let perm = runs.iter().map(|r| starts.iter().filter(|&&s| s < r.0).count()).collect();
    starts.sort_unstable();
    let end = |s: usize| runs.iter().find(|r| r.0 == s).map_or(s, |r| r.1);
    let extent = |&s: &usize| long[s..end(s)].iter().map(|&d| shape[d]).product();
    let merged: Vec<usize> = starts.iter().map(extent).collect();
    if merged.is_empty() { (vec![1], vec![0]) } else { (merged, perm) }
}
