//! Scaled dot product attention, written out, becomes one op, from op set `ios18` on.
//!
//! ```text
//! y = matmul(softmax(add(mul(matmul(q, k, transpose_y = true), 1 / sqrt(d)), mask)), v)
//! becomes      y = scaled_dot_product_attention(query = q, key = k, value = v, attn_mask = mask)
//! ```
//! The factor may be a division, and may stand at `q` and `k` in parts; `d` is the last extent of `q`.

use super::product::is_about;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Opset, ValueId};
use anemone_tensor::num;

/// The rewrite; looks at the `matmul` with the values.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["matmul"])?;
    if op.function.opset < Opset::Ios18 {
        return Err("the op set is older than ios18".into());
    }
    plain(op, false)?;
    let weights = op.sole(op.operand("x")?, &["softmax"])?;
    let rank = op.tensor(op.operand("x")?)?.rank();
    if rank < 3 || weights.site()?.axis("axis", rank)? + 1 != rank {
        return Err("the softmax is not over the last of three or more dims".into());
    }
    let (scores, mask) = masked(weights)?;
    let (scores, outer) = factor(scores)?;
    scores.expect(&["matmul"]).map_err(|_| "the scores are no product of two tensors")?;
    plain(scores, true)?;
    let (query, at_query) = scaled(scores, scores.operand("x")?);
    let (key, at_key) = scaled(scores, scores.operand("y")?);
    let ty = op.tensor(query)?;
    let width = ty.dims.last().and_then(|d| d.known()).ok_or("the width is unknown")?;
    let wanted = num::f64_of_usize(width).sqrt().recip();
    if !is_about(ty.dtype, outer * at_query * at_key, wanted) {
        return Err("the scores are not divided by the root of the width".into());
    }
    let value = op.operand("y")?;
    if [key, value].iter().any(|&v| op.tensor(v).map_or(0, |t| t.rank()) != rank) || ty.rank() != rank {
        return Err("queries, keys and values differ in rank".into());
    }
    let mut args = vec![("query", Ref::Value(query)), ("key", Ref::Value(key)), ("value", Ref::Value(value))];
    args.extend(mask.map(|m| ("attn_mask", Ref::Value(m))));
    let mut patch = Patch::default();
    let new = patch.op("scaled_dot_product_attention", "attention", args);
    Ok(patch.replacing(op.result()?, new))
}

/// Asks for a product whose right operand alone is transposed, or none.
fn plain(matmul: OpRef<'_>, transposed: bool) -> Result<(), Miss> {
    let site = matmul.site()?;
    if site.bool("transpose_x")? || site.bool("transpose_y")? != transposed {
        return Err("an operand lies the other way round".into());
    }
    Ok(())
}

/// What a `softmax` takes: the scores, and the mask added to them.
fn masked<'a>(softmax: OpRef<'a>) -> Result<(OpRef<'a>, Option<ValueId>), Miss> {
    let x = softmax.operand("x")?;
    let made = softmax.sole(x, &["add", "matmul", "mul", "real_div"])?;
    if !made.is(&["add"]) {
        return Ok((made, None));
    }
    let (a, b) = (made.operand("x")?, made.operand("y")?);
    for (scores, mask) in [(a, b), (b, a)] {
        if let Ok(found) = made.sole(scores, &["matmul", "mul", "real_div"])
            && made.tensor(scores)? == made.tensor(x)?
        {
            return Ok((found, Some(mask)));
        }
    }
    Err("nothing that is added are scores".into())
}

/// Scores, and the number that they are multiplied with.
fn factor<'a>(scores: OpRef<'a>) -> Result<(OpRef<'a>, f64), Miss> {
    if scores.is(&["matmul"]) {
        return Ok((scores, 1.0));
    }
    let (n, other) = scores.number_side()?;
    let product = scores.sole(scores.operand(other)?, &["matmul"])?;
    match scores.kind() {
        "mul" => Ok((product, n)),
        "real_div" if other == "x" => Ok((product, n.recip())),
        _ => Err("the scores divide a number".into()),
    }
}

/// An operand without the number that it is multiplied with, and that number.
fn scaled(op: OpRef<'_>, v: ValueId) -> (ValueId, f64) {
    let found = op.sole(v, &["mul", "real_div"]).ok().and_then(|scale| {
        let (n, other) = scale.number_side().ok()?;
        match scale.kind() {
            "mul" => Some((scale.operand(other).ok()?, n)),
            _ if other == "x" => Some((scale.operand(other).ok()?, n.recip())),
            _ => None,
        }
    });
    found.unwrap_or((v, 1.0))
}
