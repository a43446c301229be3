//! `transpose(transpose(x, p), q)` becomes `transpose(x, p[q])`.

use super::sole_producer;
use crate::{Miss, Patch, Ref};
use anemone_mil::ops::Site;
use anemone_mil::{Function, OpId, Tensor, Uses};

/// The rewrite; looks at the second `transpose`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    if !op.is("transpose") {
        return Err("not a transpose".into());
    }
    let first = sole_producer(function, uses, id, "x", &["transpose"])?;
    let (outer, inner) = (Site::new(function, op)?, Site::new(function, function.op(first))?);
    let rank = outer.tensor("x")?.rank();
    let (p, q) = (inner.axes("perm", rank)?, outer.axes("perm", rank)?);
    let merged: Option<Vec<i32>> = q.iter().map(|&i| p.get(i).and_then(|&d| i32::try_from(d).ok())).collect();
    let x = Ref::Value(function.op(first).value("x").ok_or("no operand")?);
    let mut patch = Patch::default();
    let perm = patch.literal("perm", Tensor::vector_i32(&merged.ok_or("perm is damaged")?));
    let new = patch.op("transpose", "transpose", vec![("x", x), ("perm", perm)]);
    patch.replace.push((op.outputs[0], new));
    Ok(patch)
}
