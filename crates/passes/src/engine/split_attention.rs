//! Long attention is computed head by head, and in windows of queries.
//!
//! ```text
//! y = matmul(softmax(add(matmul(q, k), mask)), v)                               becomes, for every head and window
//! w = matmul(softmax(add(matmul(q[head, window], k[head]), mask[window])), v[head]); y = concat(w, ..)
//! ```
//! A window has 512 queries, or 256 where the scores of 512 would not fit in the 2 MiB that an operand may have on
//! chip. The keys stay together, so that every row of the softmax is what it was. Heads that share keys and values take
//! them from where there is one of each; a transpose of an operand goes into the product.
//! With more than 1024 pieces heads stay together.

use super::Limits;
use super::attention::Attention;
use super::pieces::MOST_PIECES;
use crate::{Miss, OpRef, Patch};

/// Bytes of an operand that stay on chip; `ANE-EVIDENCE` section 4, the same for all engines from H13 on but M9.
const ON_CHIP: usize = 2 << 20;

/// The rewrite; looks at the `matmul` with the values.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    let attention = Attention::of(op)?;
    let (queries, keys) = attention.extent();
    if queries < limits.attention || keys < limits.attention {
        return Err(Miss::because(format!("{queries} x {keys} scores are not many")));
    }
    let dtype = op.tensor(op.result()?)?.dtype;
    let bytes = |window: usize| dtype.packed_len(keys.saturating_mul(window)).unwrap_or(usize::MAX);
    let window = limits.window.max(2);
    let window = if bytes(window) > ON_CHIP { window / 2 } else { window };
    if queries.div_ceil(window) > MOST_PIECES {
        return Err(Miss::because(format!("{queries} queries make too many windows")));
    }
    let by_head = attention.heads().saturating_mul(queries.div_ceil(window)) <= MOST_PIECES;
    attention.split(window, by_head)
}
