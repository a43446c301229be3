//! `x * sigmoid(x)` becomes `silu(x)`.

use super::sole_producer;
use crate::{Miss, Patch, Ref};
use anemone_mil::{Function, OpId, Uses};

/// The rewrite; looks at `mul`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    if !op.is("mul") {
        return Err("not a mul".into());
    }
    for (gate, plain) in [("x", "y"), ("y", "x")] {
        let Ok(sigmoid) = sole_producer(function, uses, id, gate, &["sigmoid"]) else { continue };
        let x = op.value(plain).ok_or("no operand")?;
        if function.op(sigmoid).value("x") == Some(x) {
            let mut patch = Patch::default();
            let new = patch.op("silu", "silu", vec![("x", Ref::Value(x))]);
            patch.replace.push((op.outputs[0], new));
            return Ok(patch);
        }
    }
    Err("no operand is the sigmoid of the other".into())
}
