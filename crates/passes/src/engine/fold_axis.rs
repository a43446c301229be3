//! An op that works element by element on a long axis does so on two shorter ones.
//!
//! ```text
//! y = relu(x [1, 1, 1, 70000])                                             becomes
//! y = reshape(relu(reshape(x, [1, 1, 2, 35000])), [1, 1, 1, 70000])
//! ```
//! The new axis takes the place of a neighbour of 1 where there is one, so that the rank stays. Reshapes between two
//! such ops cancel; those that are left stand at the edge.

use super::Limits;
use super::pieces::reshape;
use crate::{Miss, OpRef, Patch, Ref};

/// The rewrite; looks at ops that work element by element.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    let params = op.form().elementwise();
    if params.is_empty() {
        return Err(Miss::OtherKind);
    }
    let result = op.result()?;
    let shape = op.shape(result)?;
    let folded = folded(&shape, limits)?;
    let mut patch = Patch::default();
    let mut changed = Vec::new();
    for param in params {
        let v = op.operand(param)?;
        if op.tensor(v)?.element_count() == Some(1) {
            continue;
        }
        if op.shape(v)? != shape {
            return Err(op.about(v, "is stretched"));
        }
        changed.push((*param, reshape(&mut patch, Ref::Value(v), &folded)?));
    }
    let new = patch.variant(op.op(), "folded", changed);
    let y = reshape(&mut patch, new, &shape)?;
    Ok(patch.replacing(result, y))
}

/// The shape with its long axis in two parts.
fn folded(shape: &[usize], limits: &Limits) -> Result<Vec<usize>, Miss> {
    let rank = shape.len();
    let leading = if rank >= 4 { 2 } else { usize::from(rank > 1) };
    let most = |axis: usize| if axis < leading { limits.extent_nc } else { limits.extent };
    let long = (0..rank).find(|&axis| shape[axis] > most(axis)).ok_or("every axis is taken")?;
    let limit = limits.extent.min(limits.extent_nc).max(1);
    let extent = shape[long];
    let rows = (2..=limit).find(|&rows| extent.is_multiple_of(rows) && extent / rows <= limit);
    let rows = rows.ok_or_else(|| Miss::because(format!("{extent} has no factors within {limit}")))?;
    let mut out = shape.to_vec();
    out[long] = extent / rows;
    match long.checked_sub(1).filter(|&before| shape[before] == 1) {
        Some(before) => out[before] = rows,
        None if rank < 4 => out.insert(long, rows),
        None => return Err("no axis of 1 stands before the long one".into()),
    }
    Ok(out)
}
