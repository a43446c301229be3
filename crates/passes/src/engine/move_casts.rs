//! Casts between integers and floats move to the edge of the graph: before ops that only move integers, and behind ops
//! that only move what was cast to integers.
//!
//! ```text
//! y = cast(expand_dims(ids: int32), "fp16")      becomes      y = expand_dims(cast(ids, "fp16"))
//! y = squeeze(cast(x: fp16, "int32"))            becomes      y = cast(squeeze(x), "int32")
//! ```

use super::Limits;
use super::pieces::cast;
use crate::{Miss, OpRef, Patch, Ref, Wanted};
use anemone_mil::{DType, Literal, Op, ValueId};

/// Ops with one result that only move the elements of `x`; no look-ups, which take few of many.
struct Moves;

impl Wanted for Moves {
    fn holds(&self, op: &Op) -> bool {
        op.kind.form().moved() == ["x"] && op.outputs.len() == 1 && !op.kind.name().starts_with("gather")
    }

    fn words(&self) -> String {
        "an op that only moves".into()
    }
}

/// The rewrite; looks at casts to floats, and at ops that move integers.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    let x = op.op().value("x").ok_or(Miss::OtherKind)?;
    if op.is(&["cast"]) {
        let to = op.tensor(op.result()?)?.dtype;
        if !is_wide(op, x)? || !to.is_float() {
            return Err("it is no cast from a 32-bit integer to a float".into());
        }
        let moves = op.sole(x, &Moves)?;
        let source = moves.operand("x")?;
        let mut patch = Patch::default();
        let early = cast(&mut patch, Ref::Value(source), to);
        let new = patch.variant(moves.op(), "moved", vec![("x", early)]);
        return Ok(patch.replacing(op.result()?, new));
    }
    op.expect(&Moves)?;
    if !is_wide(op, x)? {
        return Err(Miss::OtherKind);
    }
    let made = op.sole(x, &["cast"])?;
    let source = made.operand("x")?;
    if !made.tensor(source)?.dtype.is_float() {
        return Err("what it moves was no float".into());
    }
    let dtype = made.op().value("dtype").and_then(|v| op.function.constant(v)?.literal().ok());
    let dtype = dtype.as_ref().and_then(Literal::as_str).ok_or("the cast has no type")?;
    let dtype = DType::ALL.into_iter().find(|d| d.name() == dtype).ok_or("the cast has no known type")?;
    let mut patch = Patch::default();
    let moved = patch.variant(op.op(), "moved", vec![("x", Ref::Value(source))]);
    let late = cast(&mut patch, moved, dtype);
    Ok(patch.replacing(op.result()?, late))
}

fn is_wide(op: OpRef<'_>, v: ValueId) -> Result<bool, Miss> {
    let dtype = op.tensor(v)?.dtype;
    Ok(dtype.is_int() && dtype.bits() >= 32 && op.function.constant(v).is_none())
}
