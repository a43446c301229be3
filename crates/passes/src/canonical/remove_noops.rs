//! Removes ops that hand their operand on: `identity`, `reshape` to the same shape, `transpose` in order, `cast` to the
//! same type, padding and slicing by nothing, `relu` after `relu`, concatenation of one tensor, `x + 0`, `x * 1`.

use super::constant_side;
use crate::{Miss, Patch};
use anemone_mil::ops::Site;
use anemone_mil::{Def, Function, OpId, Uses, ValueId};

/// The rewrite.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    let [result] = *op.outputs.as_slice() else { return Err("has not one result".into()) };
    let operand = handed_on(function, id)?;
    if function.value(operand).ty != function.value(result).ty {
        return Err("changes the type".into());
    }
    let inner = !matches!(function.value(operand).def, Def::Result(..)) || uses.escapes(operand);
    if uses.escapes(result) && inner {
        return Err("an output needs a value of its own".into());
    }
    Ok(Patch::redirect(result, operand))
}

/// The operand that the op hands on unchanged.
fn handed_on(function: &Function, id: OpId) -> Result<ValueId, Miss> {
    let op = function.op(id);
    let x = op.value("x");
    let site = Site::new(function, op)?;
    let same = |nothing: bool| {
        if nothing { x.ok_or(Miss::from("no operand")) } else { Err("does something".into()) }
    };
    match op.kind.name() {
        "identity" | "cast" => same(true),
        // The driver compares the types: an unchanged known shape is an unchanged tensor.
        "reshape" | "expand_dims" | "squeeze" | "flatten2d" | "tile" => same(known(&site)),
        "transpose" => {
            let perm = site.axes("perm", site.tensor("x")?.rank())?;
            same(perm.iter().enumerate().all(|(i, &p)| i == p))
        }
        "pad" => same(site.ints("pad")?.iter().all(|&p| p == 0)),
        "slice_by_index" | "slice_by_size" => {
            let forward = site.known_ints("stride").is_none_or(|s| s.iter().all(|&s| s == 1));
            same(known(&site) && forward)
        }
        "relu" | "relu6" => {
            let before = x.and_then(|v| function.producer(v)).map(|p| function.op(p).kind.name().to_owned());
            let kinds: &[&str] =
                if op.is("relu") { &["relu", "relu6", "sigmoid", "softmax"] } else { &["relu6"] };
            same(before.is_some_and(|b| kinds.contains(&b.as_str())))
        }
        "concat" => match op.values("values") {
            [only] => Ok(*only),
            _ => Err("joins several tensors".into()),
        },
        "add" | "sub" => neutral(function, id, 0.0),
        "mul" | "real_div" => neutral(function, id, 1.0),
        _ => Err("does something".into()),
    }
}

/// True when the result's shape is known.
fn known(site: &Site<'_>) -> bool {
    let result = site.op.outputs.first().and_then(|&v| site.function.value(v).ty.tensor());
    result.is_some_and(|t| t.known_shape().is_some())
}

#[expect(clippy::float_cmp, reason = "only the exact neutral element changes nothing")]
fn neutral(function: &Function, id: OpId, element: f64) -> Result<ValueId, Miss> {
    let op = function.op(id);
    let (constant, other) = constant_side(function, id)?;
    if other == "y" && matches!(op.kind.name(), "sub" | "real_div") {
        return Err("the order counts".into());
    }
    if constant.to_f64s().iter().any(|&v| v != element) {
        return Err("the constant is not neutral".into());
    }
    op.value(other).ok_or("no operand".into())
}
