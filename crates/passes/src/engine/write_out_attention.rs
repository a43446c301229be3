//! Attention with a mask, or with a large matrix of scores, is written out.
//!
//! ```text
//! y = scaled_dot_product_attention(query = q, key = k, value = v, attn_mask = m)
//! becomes      y = matmul(softmax(add(matmul(mul(q, 1 / sqrt(d)), k, transpose_y = true), m)), v)
//! ```
//! So the mask is applied by an `add`, which every path to the engine applies. A boolean mask becomes a `select` of the
//! scores or of -10000, of which the exponential is 0 beside that of any other score. Queries are scaled before the
//! product, so that its sums stay small.

use super::Limits;
use super::pieces::{binary, extents, matmul, number};
use crate::legal::MASK;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{DType, Tensor};
use anemone_tensor::num;

/// The rewrite; looks at `scaled_dot_product_attention`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["scaled_dot_product_attention"])?;
    let (query, key, value) = (op.operand("query")?, op.operand("key")?, op.operand("value")?);
    let (mask, shape) = (op.op().value("attn_mask"), extents(op, query)?);
    let [.., queries, width] = *shape.as_slice() else { return Err("the queries have no width".into()) };
    let keys = extents(op, key)?.iter().nth_back(1).copied().unwrap_or(0);
    if mask.is_none() && (queries < limits.attention || keys < limits.attention) {
        return Err("it has no mask and few scores".into());
    }
    let dtype = op.tensor(query)?.dtype;
    let mut patch = Patch::default();
    let factor = number(&mut patch, dtype, num::f64_of_usize(width).sqrt().recip());
    let scaled = binary(&mut patch, "mul", "scaled", Ref::Value(query), factor);
    let mut scores = matmul(&mut patch, (scaled, false), (Ref::Value(key), true));
    if let Some(mask) = mask {
        scores = if op.tensor(mask)?.dtype == DType::Bool {
            let masked = number(&mut patch, dtype, -MASK);
            patch.op("select", "masked", vec![("cond", Ref::Value(mask)), ("a", scores), ("b", masked)])
        } else {
            binary(&mut patch, "add", "masked", scores, Ref::Value(mask))
        };
    }
    let axis = patch.literal("axis", Tensor::scalar_i32(-1));
    let weights = patch.op("softmax", "weights", vec![("x", scores), ("axis", axis)]);
    let mixed = matmul(&mut patch, (weights, false), (Ref::Value(value), false));
    Ok(patch.replacing(op.result()?, mixed))
}
