//! A product that is transposed right away is computed the other way round.
//!
//! ```text
//! y = transpose(matmul(a, b), [0, 1, 3, 2])
//! becomes      y = matmul(b, a, transpose_x = true, transpose_y = true)
//! ```

use super::Limits;
use super::attention::swaps;
use super::pieces::matmul;
use crate::{Miss, OpRef, Patch, Ref};

/// The rewrite; looks at `transpose`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["transpose"])?;
    let product = op.sole(op.operand("x")?, &["matmul"])?;
    let (a, b) = (product.operand("x")?, product.operand("y")?);
    let rank = op.tensor(op.operand("x")?)?.rank();
    if rank < 2 || !swaps(op, rank) {
        return Err("it moves other dims than the last two".into());
    }
    if [a, b].iter().any(|&v| op.tensor(v).map_or(0, |t| t.rank()) < 2) {
        return Err("an operand is no matrix".into());
    }
    let site = product.site()?;
    let (a_lies, b_lies) = (site.bool("transpose_x")?, site.bool("transpose_y")?);
    let mut patch = Patch::default();
    let turned = matmul(&mut patch, (Ref::Value(b), !b_lies), (Ref::Value(a), !a_lies));
    Ok(patch.replacing(op.result()?, turned))
}
