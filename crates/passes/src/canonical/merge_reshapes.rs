//! Changes of shape in a row become one `reshape`.
//!
//! ```text
//! y = squeeze(reshape(x))      becomes      y = reshape(x, shape = <shape of y>)
//! ```
//! `reshape`, `expand_dims`, `squeeze` and `flatten2d` change the shape only. So does a `transpose` that moves no dim
//! past another one of more than one element; it is taken in too, and becomes a `reshape` beside another.

use crate::{Miss, OpRef, Patch, Ref, Wanted};
use anemone_mil::ops::Form;
use anemone_mil::{Dim, Op, Tensor, ValueId};

/// What leaves the elements in their order, or may do so.
struct InOrder;

impl Wanted for InOrder {
    fn holds(&self, op: &Op) -> bool {
        Form::Reshape.holds(op) || op.is("transpose")
    }

    fn words(&self) -> String {
        "a change of shape or a transpose".into()
    }
}

/// The rewrite; looks at the second op of a pair.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&InOrder)?;
    let first = op.made_by(op.operand("x")?, &InOrder)?;
    if op.is(&["transpose"]) && first.is(&["transpose"]) {
        return Err("two transposes are not for this pass".into());
    }
    keeps_order(op)?;
    keeps_order(first)?;
    let mut patch = Patch::default();
    let shape = patch.literal("shape", Tensor::vector_i32(&target(op, op.result()?)?));
    let x = Ref::Value(first.operand("x")?);
    let new = patch.op("reshape", "reshape", vec![("x", x), ("shape", shape)]);
    Ok(patch.replacing(op.result()?, new))
}

/// The shape to ask for; one dim may be left to what the others leave.
fn target(op: OpRef<'_>, result: ValueId) -> Result<Vec<i32>, Miss> {
    let dims = &op.tensor(result)?.dims;
    let open = dims.iter().filter(|d| d.known().is_none()).count();
    if open > 1 || open == 1 && dims.contains(&Dim::Known(0)) {
        return Err("more than one dim of the result is unknown".into());
    }
    let extent = |d: &Dim| d.known().map_or(Ok(-1), i32::try_from);
    dims.iter().map(|d| extent(d).map_err(|_| "a dim is too large".into())).collect()
}

/// Asks that the elements stay in their order in memory.
fn keeps_order(op: OpRef<'_>) -> Result<(), Miss> {
    if !op.is(&["transpose"]) {
        return Ok(());
    }
    let x = op.operand("x")?;
    let dims = &op.tensor(x)?.dims;
    let perm = op.site()?.axes("perm", dims.len())?;
    let long = perm.iter().filter(|&&d| dims[d] != Dim::Known(1));
    if long.is_sorted() { Ok(()) } else { Err("the transpose moves elements".into()) }
}
