//! A `clip` from 0 to 6 becomes `relu6`.
//!
//! ```text
//! y = clip(x, alpha = 0, beta = 6)      becomes      y = relu6(x)
//! ```

use crate::{Miss, OpRef, Patch, Ref};

/// The rewrite; looks at `clip`.
///
/// # Errors
/// The reason why it does not apply.
#[expect(clippy::float_cmp, reason = "the bounds are exactly 0 and 6 or it is no relu6")]
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["clip"])?;
    let site = op.site()?;
    let (low, high) = (site.float("alpha")?, site.float("beta")?);
    if low != 0.0 || high != 6.0 {
        return Err(Miss::because(format!("the bounds are {low} and {high}, not 0 and 6")));
    }
    let mut patch = Patch::default();
    let new = patch.op("relu6", "relu6", vec![("x", Ref::Value(op.operand("x")?))]);
    Ok(patch.replacing(op.result()?, new))
}
