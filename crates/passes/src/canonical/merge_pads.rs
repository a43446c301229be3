//! Two paddings with the same number become one.
//!
//! ```text
//! y = pad(pad(x, a), b)      becomes      y = pad(x, a + b)
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::Tensor;
use anemone_mil::ops::{Pad, PadMode};

/// The rewrite; looks at the second `pad`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["pad"])?;
    let first = op.sole(op.operand("x")?, &["pad"])?;
    let (inner, outer) = (Pad::of(&first.site()?)?, Pad::of(&op.site()?)?);
    if inner.mode != outer.mode || !matches!(outer.mode, PadMode::Constant(_)) {
        return Err("the paddings are not of the same number".into());
    }
    let (Some(a), Some(b)) = (inner.pads, outer.pads) else { return Err("a padding is computed".into()) };
    let flat = a.iter().zip(&b).flat_map(|(a, b)| [a.0 + b.0, a.1 + b.1]);
    let flat: Result<Vec<i32>, _> = flat.map(i32::try_from).collect();
    let mut patch = Patch::default();
    let pads = patch.literal("pad", Tensor::vector_i32(&flat.map_err(|_| "the padding overflows")?));
    let x = Ref::Value(first.operand("x")?);
    let new = patch.variant(op.op(), "padded", vec![("x", x), ("pad", pads)]);
    Ok(patch.replacing(op.result()?, new))
}
