//! A `matmul` takes its operands transposed by itself.
//!
//! ```text
//! y = matmul(x, transpose(k, [0, 1, 3, 2]))      becomes      y = matmul(x, k, transpose_y = true)
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::Tensor;

/// The rewrite; looks at `matmul`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["matmul"])?;
    let mut miss = Miss::from("no operand is transposed");
    for (param, flag) in [("x", "transpose_x"), ("y", "transpose_y")] {
        let value = op.operand(param)?;
        let Ok(transpose) = op.made_by(value, &["transpose"]) else { continue };
        let rank = op.tensor(value)?.rank();
        let mut perm = transpose.site()?.axes("perm", rank)?;
        if let [.., a, b] = perm.as_mut_slice() {
            std::mem::swap(a, b);
        }
        if rank < 2 || !perm.is_sorted() {
            miss = "the transpose moves more than the last two dims".into();
            continue;
        }
        if op.index.only(value) != Some(op.id) {
            miss = op.about(value, "has other users");
            continue;
        }
        let now = !op.site()?.bool(flag)?;
        let mut patch = Patch::default();
        let flipped = patch.literal(flag, Tensor::scalar_bool(now));
        let plain = Ref::Value(transpose.operand("x")?);
        let new = patch.variant(op.op(), "matmul", vec![(param, plain), (flag, flipped)]);
        return Ok(patch.replacing(op.result()?, new));
    }
    Err(miss)
}
