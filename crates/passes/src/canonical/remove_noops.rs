//! Ops that hand their operand on are removed.
//!
//! ```text
//! y = f(mul(x, 1))      becomes      y = f(x)
//! ```
//! `identity`, `reshape` to the same shape, `transpose` in order, `cast` to the same type, padding and slicing by
//! nothing, windows of one element, bounds that hold already, concatenation of one tensor, `x + 0`, `x * 1`, `x ^ 1`.

use super::remove_broadcasts::is_ones;
use crate::{Miss, OpRef, Patch};
use anemone_mil::ops::{Form, Pad, Pool};
use anemone_mil::{Dim, ValueId};

/// The rewrite.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    let operand = handed_on(op)?;
    let result = op.result()?;
    if op.function.value(operand).ty != op.function.value(result).ty {
        return Err("the type changes".into());
    }
    Ok(Patch::redirect(result, operand))
}

/// The operand that the op hands on unchanged, when the type stays the same.
fn handed_on(op: OpRef<'_>) -> Result<ValueId, Miss> {
    let when = |nothing: bool| if nothing { op.operand("x") } else { Err("it changes something".into()) };
    match op.kind() {
        "identity" | "cast" => when(true),
        // An unchanged certain shape is an unchanged tensor.
        _ if op.is(&Form::Reshape) || op.is(&["tile"]) => when(fixed(op)),
        "upsample_nearest_neighbor" | "upsample_bilinear" => when(fixed(op)),
        "transpose" => {
            let perm = op.site()?.axes("perm", op.tensor(op.operand("x")?)?.rank())?;
            when(perm.is_sorted())
        }
        "pad" => when(Pad::of(&op.site()?)?.pads.is_some_and(|p| p.iter().all(|&p| p == (0, 0)))),
        "slice_by_index" => {
            let site = op.site()?;
            let forward = !site.has("stride") || site.ints("stride")?.iter().all(|&s| s == 1);
            when(fixed(op) && forward)
        }
        "slice_by_size" => when(fixed(op)),
        "avg_pool" | "max_pool" => {
            when(fixed(op) && Pool::of(&op.site()?)?.window.kernel.iter().all(|&k| k == 1))
        }
        "relu" => when(after(op, &["relu", "relu6", "sigmoid", "sigmoid_hard", "softmax"])),
        "relu6" => when(after(op, &["relu6", "sigmoid", "sigmoid_hard", "softmax"])),
        "concat" => match op.op().values("values") {
            [only] => Ok(*only),
            _ => Err("it joins several tensors".into()),
        },
        "add" | "sub" => neutral(op, 0.0),
        "mul" | "real_div" | "pow" => neutral(op, 1.0),
        _ => Err(Miss::OtherKind),
    }
}

/// True when every dim of the result is certain: a number, or an extent with a name, which is one number wherever it
/// stands.
fn fixed(op: OpRef<'_>) -> bool {
    let dims = op.result().and_then(|v| op.tensor(v)).map(|t| &t.dims);
    dims.is_ok_and(|d| !d.contains(&Dim::Unknown))
}

fn after(op: OpRef<'_>, kinds: &[&str]) -> bool {
    op.operand("x").is_ok_and(|x| op.made_by(x, kinds).is_ok())
}

#[expect(clippy::float_cmp, reason = "only the exact neutral element changes nothing")]
fn neutral(op: OpRef<'_>, element: f64) -> Result<ValueId, Miss> {
    if op.is(&["mul"]) && fixed(op) {
        let (x, y) = (op.operand("x")?, op.operand("y")?);
        let filled = |v| op.function.constant(v).is_none() && is_ones(op, v);
        if let Some((plain, _)) = [(x, y), (y, x)].into_iter().find(|&(_, ones)| filled(ones)) {
            return Ok(plain);
        }
    }
    let (constant, other) = op.constant_side()?;
    if other == "y" && op.is(&["sub", "real_div", "pow"]) {
        return Err("the constant stands on the left".into());
    }
    if constant.to_f64s().iter().any(|&v| v != element) {
        return Err("the constant is not neutral".into());
    }
    op.operand(other)
}
