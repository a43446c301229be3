//! Two permutations in a row become one.
//!
//! ```text
//! y = transpose(transpose(x, p), q)      becomes      y = transpose(x, p[q])
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::Tensor;

/// The rewrite; looks at the second `transpose`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["transpose"])?;
    let value = op.operand("x")?;
    let first = op.made_by(value, &["transpose"])?;
    let rank = op.tensor(value)?.rank();
    let (p, q) = (first.site()?.axes("perm", rank)?, op.site()?.axes("perm", rank)?);
    let x = first.operand("x")?;
    let merged: Option<Vec<usize>> = q.iter().map(|&i| p.get(i).copied()).collect();
    let merged = merged.filter(|m| m.len() == rank).ok_or("a permutation is damaged")?;
    if merged.iter().enumerate().all(|(i, &d)| i == d) {
        return Ok(Patch::redirect(op.result()?, x));
    }
    let perm: Result<Vec<i32>, _> = merged.iter().map(|&d| i32::try_from(d)).collect();
    let mut patch = Patch::default();
    let perm = patch.literal("perm", Tensor::vector_i32(&perm.map_err(|_| "too many dims")?));
    let new = patch.op("transpose", "transpose", vec![("x", Ref::Value(x)), ("perm", perm)]);
    Ok(patch.replacing(op.result()?, new))
}
