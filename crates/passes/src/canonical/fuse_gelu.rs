//! The Gauss error linear unit, written out, becomes `gelu`.
//!
//! ```text
//! y = 0.5 * x * (1 + erf(x / sqrt(2)))                                  becomes   y = gelu(x, "EXACT")
//! y = 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))         becomes   y = gelu(x, "TANH_APPROXIMATION")
//! y = x * sigmoid(1.702 * x)                                            becomes   y = gelu(x, "SIGMOID_APPROXIMATION")
//! ```
//! Products may be written in any order, as divisions or as powers.

use super::product::{Product, is_about, number_and_rest};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{DType, Literal, ValueId};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// Coefficient of the cube in the approximation by `tanh`.
const CUBE: f64 = 0.044715;
/// Coefficient in the approximation by `sigmoid`.
const SLOPE: f64 = 1.702;

/// The rewrite; looks at the outermost `mul` or `real_div`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["mul", "real_div"])?;
    let product = Product::of(op);
    let [a, b] = *product.terms.as_slice() else { return Err("not a product of two values".into()) };
    let mut miss = Miss::from("no factor is a Gauss distribution function");
    for (x, gate) in [(a, b), (b, a)] {
        match mode(op, product.factor, x, gate) {
            Ok(mode) => return fused(op, x, mode),
            Err(Miss::OtherKind) => {}
            Err(why) => miss = why,
        }
    }
    Err(miss)
}

fn fused(op: OpRef<'_>, x: ValueId, mode: &str) -> Result<Patch, Miss> {
    let mut patch = Patch::default();
    let mode = patch.literal("mode", Literal::string(mode));
    let new = patch.op("gelu", "gelu", vec![("x", Ref::Value(x)), ("mode", mode)]);
    Ok(patch.replacing(op.result()?, new))
}

/// The mode of `factor * x * gate`.
fn mode(op: OpRef<'_>, factor: f64, x: ValueId, gate: ValueId) -> Result<&'static str, Miss> {
    let dtype = op.tensor(x)?.dtype;
    let made = op.maker(gate).ok_or(Miss::OtherKind)?;
    if made.is(&["sigmoid"]) {
        let inner = Product::of_operand(made, made.operand("x")?);
        if inner.terms == [x] && is_about(dtype, inner.factor, SLOPE) && is_about(dtype, factor, 1.0) {
            return Ok("SIGMOID_APPROXIMATION");
        }
        return Err("the sigmoid is not that of 1.702 times the value".into());
    }
    if !made.is(&["add"]) {
        return Err(Miss::OtherKind);
    }
    let (one, rest) = number_and_rest(made).map_err(|_| Miss::OtherKind)?;
    let curve = Product::of_operand(made, rest);
    let [curved] = *curve.terms.as_slice() else { return Err(Miss::OtherKind) };
    let shape = made.made_by(curved, &["erf", "tanh"]).map_err(|_| Miss::OtherKind)?;
    if !is_about(dtype, curve.factor, one) || !is_about(dtype, factor * one, 0.5) {
        return Err("the curve is not scaled to reach from 0 to 1".into());
    }
    let inner = Product::of_operand(shape, shape.operand("x")?);
    if shape.is(&["erf"]) {
        let fits = inner.terms == [x] && is_about(dtype, inner.factor, FRAC_1_SQRT_2);
        return if fits { Ok("EXACT") } else { Err("erf is not that of the value over sqrt(2)".into()) };
    }
    if is_cubic(op, dtype, x, &inner) {
        return Ok("TANH_APPROXIMATION");
    }
    Err("tanh is not that of sqrt(2 / pi) * (x + 0.044715 * x^3)".into())
}

/// True for `sqrt(2 / pi) * (x + 0.044715 x^3)` and for `sqrt(2 / pi) * x * (1 + 0.044715 x^2)`.
fn is_cubic(op: OpRef<'_>, dtype: DType, x: ValueId, inner: &Product) -> bool {
    if !is_about(dtype, inner.factor, FRAC_2_PI.sqrt()) {
        return false;
    }
    match *inner.terms.as_slice() {
        [sum] => op.made_by(sum, &["add"]).is_ok_and(|sum| {
            let cube = |v: Option<ValueId>| v.map(|v| Product::of_operand(sum, v));
            let (a, b) = (sum.op().value("x"), sum.op().value("y"));
            (a == Some(x) && is_power(cube(b), dtype, x, 3))
                || (b == Some(x) && is_power(cube(a), dtype, x, 3))
        }),
        [a, b] => [(a, b), (b, a)].into_iter().any(|(plain, sum)| {
            let rest = op.made_by(sum, &["add"]).ok().and_then(|s| Some((s, number_and_rest(s).ok()?)));
            plain == x
                && rest.is_some_and(|(s, (one, rest))| {
                    is_about(dtype, one, 1.0) && is_power(Some(Product::of_operand(s, rest)), dtype, x, 2)
                })
        }),
        _ => false,
    }
}

fn is_power(product: Option<Product>, dtype: DType, x: ValueId, power: usize) -> bool {
    product.is_some_and(|p| is_about(dtype, p.factor, CUBE) && p.terms == vec![x; power])
}
