//! `reshape(reshape(x))`, and any mix of `reshape`, `expand_dims`, `squeeze` and `flatten2d`, becomes one `reshape`.

use super::sole_producer;
use crate::{Miss, Patch, Ref};
use anemone_mil::{Function, OpId, Tensor, Uses};

/// Ops that only change the shape.
const KINDS: [&str; 4] = ["reshape", "expand_dims", "squeeze", "flatten2d"];

/// The rewrite; looks at the second op of a pair.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    if !KINDS.contains(&op.kind.name()) {
        return Err("changes more than the shape".into());
    }
    let first = sole_producer(function, uses, id, "x", &KINDS)?;
    let shape = function.value(op.outputs[0]).ty.tensor().and_then(|t| t.known_shape());
    let shape = shape.ok_or("the resulting shape is unknown")?;
    let dims: Option<Vec<i32>> = shape.iter().map(|&d| i32::try_from(d).ok()).collect();
    let x = Ref::Value(function.op(first).value("x").ok_or("no operand")?);
    let mut patch = Patch::default();
    let shape = patch.literal("shape", Tensor::vector_i32(&dims.ok_or("a dim is too large")?));
    let new = patch.op("reshape", "reshape", vec![("x", x), ("shape", shape)]);
    patch.replace.push((op.outputs[0], new));
    Ok(patch)
}
