//! A matrix product with rows that are too long becomes a sum of products.
//!
//! ```text
//! y = matmul(x: [1, 16, 40000], z: [1, 40000, 16])
//! becomes      y = add(matmul(x[:, :, 0:20000], z[:, 0:20000]), matmul(x[:, :, 20000:], z[:, 20000:]))
//! ```

use super::Limits;
use super::filters::{part, weight};
use super::pieces::{MOST_PIECES, Span, along, binary, cut, extents};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{ValueId, Weight};

/// The rewrite; looks at `matmul`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["matmul"])?;
    let (x, y) = (op.operand("x")?, op.operand("y")?);
    let (left, right) = (extents(op, x)?, extents(op, y)?);
    if left.len() < 2 || right.len() < 2 {
        return Err("an operand is no matrix".into());
    }
    let site = op.site()?;
    let left_axis = left.len() - if site.bool("transpose_x")? { 2 } else { 1 };
    let right_axis = right.len() - if site.bool("transpose_y")? { 1 } else { 2 };
    let inner = left[left_axis];
    let width = op.tensor(x)?.dtype.bits().div_ceil(8).max(1);
    let most = (limits.matmul_row_bytes / width).max(1);
    if inner <= most {
        return Err(Miss::because(format!("an inner dim of {inner} is not too long")));
    }
    if inner.div_ceil(most) > MOST_PIECES {
        return Err(Miss::because(format!("an inner dim of {inner} makes too many parts")));
    }
    let size = inner.div_ceil(inner.div_ceil(most));
    let mut patch = Patch::default();
    let mut sum: Option<Ref> = None;
    for from in (0..inner).step_by(size) {
        let span = (from, (from + size).min(inner));
        let a = piece(op, &mut patch, x, (&left, left_axis), span)?;
        let b = piece(op, &mut patch, y, (&right, right_axis), span)?;
        let product = patch.variant(op.op(), "product", vec![("x", a), ("y", b)]);
        sum = Some(match sum {
            None => product,
            Some(sum) => binary(&mut patch, "add", "sum", sum, product),
        });
    }
    Ok(patch.replacing(op.result()?, sum.ok_or("there is nothing to add")?))
}

fn piece(
    op: OpRef<'_>,
    patch: &mut Patch,
    v: ValueId,
    (shape, axis): (&[usize], usize),
    span: Span,
) -> Result<Ref, Miss> {
    if op.function.constant(v).is_none() {
        return cut(patch, Ref::Value(v), &along(shape, axis, span));
    }
    let tensor = part(&weight(op, v)?.tensor()?, axis, span.0, span.1)?;
    Ok(patch.constant("part", Weight::of(&tensor)))
}
