//! `clip(x, 0, 6)` becomes `relu6(x)`.

use crate::{Miss, Patch, Ref};
use anemone_mil::ops::Site;
use anemone_mil::{Function, OpId, Uses};

/// The rewrite; looks at `clip`.
///
/// # Errors
/// The reason why it does not apply.
#[expect(clippy::float_cmp, reason = "the bounds are exactly 0 and 6 or it is no relu6")]
pub fn rewrite(function: &Function, _: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    if !op.is("clip") {
        return Err("not a clip".into());
    }
    let site = Site::new(function, op)?;
    if site.float("alpha")? != 0.0 || site.float("beta")? != 6.0 {
        return Err("the bounds are not 0 and 6".into());
    }
    let x = Ref::Value(op.value("x").ok_or("no operand")?);
    let mut patch = Patch::default();
    let new = patch.op("relu6", "relu6", vec![("x", x)]);
    patch.replace.push((op.outputs[0], new));
    Ok(patch)
}
