//! Element by element, two operands `x` and `y` with NumPy broadcasting.
//!
//! Semantics: the MIL op reference of coremltools, `ops/defs/iOS15/elementwise_binary.py`, which evaluates with
//! NumPy: integers wrap, division and remainder round toward negative infinity.

use super::common::{T, T_FLOATS_INT32, booleans, integers, map_pairs, max, min, trunc_i32};
use super::{Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, tensor};
use crate::eval::{EvalFn, EvalSite};
use crate::{Literal, Opset, Tensor, TensorType, Type, broadcast};
use anemone_tensor::{DType, num};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &ADD,
    &EQUAL,
    &FLOOR_DIV,
    &GREATER,
    &GREATER_EQUAL,
    &LESS,
    &LESS_EQUAL,
    &LOGICAL_AND,
    &LOGICAL_OR,
    &LOGICAL_XOR,
    &MAXIMUM,
    &MINIMUM,
    &MOD,
    &MUL,
    &NOT_EQUAL,
    &POW,
    &REAL_DIV,
    &SUB,
];

const XY: &[Param] = &[tensor("x", T), tensor("y", T)];
const NUMBERS: &[Version] = &[Version { since: Opset::Ios13, params: XY, domains: &[T_FLOATS_INT32] }];
const BOOLS: &[Version] =
    &[Version { since: Opset::Ios13, params: XY, domains: &[Domain { name: "T", types: &[DType::Bool] }] }];

/// The broadcast shape, in the element type of the operands.
fn same_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, y) = (site.tensor("x")?, site.tensor("y")?);
    if x.dtype != y.dtype {
        return Err(Fault::arg("y", y.dtype, format!("{} as x is; cast one of them", x.dtype)));
    }
    let dims = broadcast(&x.dims, &y.dims).map_err(|at| {
        let place =
            format!("{} where x is {} (dim -{})", at.right, at.left, at.axis_from_end.saturating_add(1));
        Fault::arg("y", format!("{y} against x {x}: {place}"), "equal or 1 there to broadcast")
    })?;
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

/// The broadcast shape, of booleans.
fn bool_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let types = same_type(site)?;
    Ok(types.iter().filter_map(Type::tensor).map(|t| t.with_dtype(DType::Bool).into()).collect())
}

/// An op whose result has the element type of its operands.
const fn arithmetic(name: &'static str, doc: &'static str, eval: EvalFn) -> OpDef {
    OpDef {
        name,
        doc,
        versions: NUMBERS,
        effect: Effect::Pure,
        form: Form::Binary,
        infer: same_type,
        eval: Some(eval),
        work: Work::per_output,
    }
}

/// An op on numbers whose result is boolean.
const fn comparison(name: &'static str, doc: &'static str, eval: EvalFn) -> OpDef {
    OpDef { infer: bool_type, ..arithmetic(name, doc, eval) }
}

/// An op on booleans.
const fn logical(name: &'static str, doc: &'static str, eval: EvalFn) -> OpDef {
    OpDef { versions: BOOLS, ..comparison(name, doc, eval) }
}

/// Applies `floats` to pairs of floats, `ints` to pairs of integers.
fn numbers(
    site: &EvalSite<'_>,
    floats: impl Fn(f64, f64) -> f64,
    ints: impl Fn(i64, i64) -> i64,
) -> Result<Vec<Literal>, Fault> {
    let (x, y) = (site.tensor("x")?, site.tensor("y")?);
    if x.dtype().is_int() && y.dtype().is_int() {
        let (shape, values) = map_pairs(&x, &y, Tensor::i64_at, ints)?;
        return integers(x.dtype(), &shape, &values);
    }
    let (shape, values) = map_pairs(&x, &y, Tensor::f64_at, floats)?;
    EvalSite::floats(x.dtype(), &shape, &values)
}

/// Compares pairs; every 32-bit integer is an exact `f64`.
fn compare(site: &EvalSite<'_>, f: impl Fn(f64, f64) -> bool) -> Result<Vec<Literal>, Fault> {
    let (shape, values) = map_pairs(&site.tensor("x")?, &site.tensor("y")?, Tensor::f64_at, f)?;
    booleans(&shape, &values)
}

/// Combines pairs of booleans.
fn combine(site: &EvalSite<'_>, f: impl Fn(bool, bool) -> bool) -> Result<Vec<Literal>, Fault> {
    compare(site, |x, y| f(x != 0.0, y != 0.0))
}

static ADD: OpDef = arithmetic("add", "x + y.", |site| numbers(site, |x, y| x + y, i64::wrapping_add));
static SUB: OpDef = arithmetic("sub", "x - y.", |site| numbers(site, |x, y| x - y, i64::wrapping_sub));
static MUL: OpDef = arithmetic("mul", "x * y.", |site| numbers(site, |x, y| x * y, i64::wrapping_mul));
static MAXIMUM: OpDef = arithmetic("maximum", "The larger of x and y.", |site| numbers(site, max, i64::max));
static MINIMUM: OpDef = arithmetic("minimum", "The smaller of x and y.", |site| numbers(site, min, i64::min));
static FLOOR_DIV: OpDef = arithmetic("floor_div", "x / y rounded toward negative infinity.", |site| {
    numbers(site, floor_div, int_floor_div)
});
static MOD: OpDef = arithmetic("mod", "x - y * floor(x / y): the remainder with the sign of y.", |site| {
    numbers(site, floor_mod, int_floor_mod)
});
static REAL_DIV: OpDef =
    arithmetic("real_div", "x / y; integer results are truncated toward zero.", |site| {
        numbers(site, |x, y| x / y, |x, y| trunc_i32(num::f64_of(x) / num::f64_of(y)))
    });
static POW: OpDef = OpDef {
    work: Work::transcendental,
    ..arithmetic("pow", "x to the power of y.", |site| numbers(site, f64::powf, int_pow))
};

static EQUAL: OpDef = comparison("equal", "True where x = y.", |site| compare(site, |x, y| x == y));
static NOT_EQUAL: OpDef =
    comparison("not_equal", "True where x and y differ.", |site| compare(site, |x, y| x != y));
static GREATER: OpDef = comparison("greater", "True where x > y.", |site| compare(site, |x, y| x > y));
static GREATER_EQUAL: OpDef =
    comparison("greater_equal", "True where x >= y.", |site| compare(site, |x, y| x >= y));
static LESS: OpDef = comparison("less", "True where x < y.", |site| compare(site, |x, y| x < y));
static LESS_EQUAL: OpDef =
    comparison("less_equal", "True where x <= y.", |site| compare(site, |x, y| x <= y));

static LOGICAL_AND: OpDef =
    logical("logical_and", "True where both are.", |site| combine(site, |x, y| x && y));
static LOGICAL_OR: OpDef =
    logical("logical_or", "True where one of them is.", |site| combine(site, |x, y| x || y));
static LOGICAL_XOR: OpDef =
    logical("logical_xor", "True where exactly one of them is.", |site| combine(site, |x, y| x != y));

/// Quotient rounded down, from the exact remainder, so that 1 // 0.1 is 9 as in Python.
fn floor_div(x: f64, y: f64) -> f64 {
    if y == 0.0 {
        return x / y;
    }
    let rest = x % y;
    let quotient = (x - rest) / y;
    let down = if rest != 0.0 && (rest < 0.0) != (y < 0.0) { quotient - 1.0 } else { quotient };
    down.round_ties_even()
}

/// Remainder with the sign of `y`; NaN when `y` is 0.
fn floor_mod(x: f64, y: f64) -> f64 {
    let rest = x % y;
    match rest != 0.0 && (rest < 0.0) != (y < 0.0) {
        true => rest + y,
        false if rest == 0.0 => 0f64.copysign(y),
        false => rest,
    }
}

/// Quotient rounded down; 0 when `y` is 0, as in NumPy.
fn int_floor_div(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let quotient = x.wrapping_div(y);
    let inexact = x.wrapping_rem(y) != 0 && (x < 0) != (y < 0);
    quotient.wrapping_sub(i64::from(inexact))
}

/// Remainder with the sign of `y`; 0 when `y` is 0, as in NumPy.
fn int_floor_mod(x: i64, y: i64) -> i64 {
    if y == 0 { 0 } else { x.wrapping_sub(int_floor_div(x, y).wrapping_mul(y)) }
}

/// Power modulo 2^64; a negative power is 1 / x^|y| truncated, and 0 for x = 0.
fn int_pow(x: i64, y: i64) -> i64 {
    match (x, u32::try_from(y)) {
        (_, Ok(power)) => x.wrapping_pow(power),
        (1, _) => 1,
        (-1, _) => {
            if y % 2 == 0 {
                1
            } else {
                -1
            }
        }
        _ => 0,
    }
}
