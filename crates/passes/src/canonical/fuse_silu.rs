//! A product with the own sigmoid becomes `silu`.
//!
//! ```text
//! y = mul(x, sigmoid(x))      becomes      y = silu(x)
//! ```

use crate::{Miss, OpRef, Patch, Ref};

/// The rewrite; looks at `mul`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["mul"])?;
    let mut miss = Miss::from("no operand is a sigmoid");
    for (gate, plain) in [("x", "y"), ("y", "x")] {
        let (gate, x) = (op.operand(gate)?, op.operand(plain)?);
        let sigmoid = match op.sole(gate, &["sigmoid"]) {
            Ok(sigmoid) => sigmoid,
            Err(why) if op.made_by(gate, &["sigmoid"]).is_ok() => {
                miss = why;
                continue;
            }
            Err(_) => continue,
        };
        if sigmoid.operand("x")? != x {
            miss = "the sigmoid is that of another value".into();
            continue;
        }
        let mut patch = Patch::default();
        let new = patch.op("silu", "silu", vec![("x", Ref::Value(x))]);
        return Ok(patch.replacing(op.result()?, new));
    }
    Err(miss)
}
