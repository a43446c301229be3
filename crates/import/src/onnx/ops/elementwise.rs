//! Element by element: one or two operands, broadcast.

use crate::onnx::graph::narrowed;
use crate::onnx::node::{Done, Node};
use anemone_formats::onnx::ElementType;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, ValueId};

/// MIL name of an operator that differs by name alone.
fn mil_name(op_type: &str) -> &'static str {
    match op_type {
        "Abs" => "abs",
        "Acos" => "acos",
        "Asin" => "asin",
        "Atan" => "atan",
        "Atanh" => "atanh",
        "Ceil" => "ceil",
        "Cos" => "cos",
        "Cosh" => "cosh",
        "Erf" => "erf",
        "Exp" => "exp",
        "Floor" => "floor",
        "Log" => "log",
        "Not" => "logical_not",
        "Reciprocal" => "inverse",
        "Relu" => "relu",
        "Round" => "round",
        "Sigmoid" => "sigmoid",
        "Sign" => "sign",
        "Sin" => "sin",
        "Sinh" => "sinh",
        "Softplus" => "softplus",
        "Softsign" => "softsign",
        "Sqrt" => "sqrt",
        "Tan" => "tan",
        "Tanh" => "tanh",
        "Add" | "Sum" => "add",
        "Sub" => "sub",
        "Mul" => "mul",
        "Div" => "real_div",
        "Pow" => "pow",
        "Equal" => "equal",
        "Greater" => "greater",
        "GreaterOrEqual" => "greater_equal",
        "Less" => "less",
        "LessOrEqual" => "less_equal",
        "Max" => "maximum",
        "Min" => "minimum",
        "And" => "logical_and",
        "Or" => "logical_or",
        "Xor" => "logical_xor",
        _ => "identity",
    }
}

/// Operators of one operand.
pub(crate) fn unary(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let kind = mil_name(&n.proto.op_type);
    let float_only = !matches!(kind, "abs" | "sign" | "logical_not" | "relu");
    if float_only && !n.is_float(x) {
        let inner = n.inner("fp32");
        let wide = n.cast(x, DType::F32, &inner)?;
        let y = one(n, kind, wide, &name)?;
        return n.done(y);
    }
    let y = one(n, kind, x, &name)?;
    n.done(y)
}

/// `log` and `inverse` add a small number in MIL unless told not to.
fn one(n: &mut Node<'_, '_>, kind: &str, x: ValueId, name: &str) -> Result<ValueId, Fault> {
    match kind {
        "log" | "inverse" => n.op(kind).arg("x", x).float("epsilon", "x", 0.0).one(name),
        _ => n.unary(kind, x, name),
    }
}

/// `-x`.
pub(crate) fn neg(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let minus = n.scalar_like("minus_one", x, -1.0)?;
    let y = n.binary("mul", x, minus, &name)?;
    n.done(y)
}

/// Operators of two operands.
pub(crate) fn binary(n: &mut Node<'_, '_>) -> Done {
    let (x, y, name) = (n.input(0)?, n.input(1)?, n.name());
    let (a, b) = (n.ty(x)?.dtype, n.ty(y)?.dtype);
    let mut kind = mil_name(&n.proto.op_type);
    if kind == "real_div" && a.is_int() {
        // ONNX truncates toward zero; MIL has flooring division, equal where no quotient is negative.
        kind = "floor_div";
    }
    let (mut x, mut y) = (x, y);
    if a != b {
        // Pow alone allows mixed types; the result has the type of the base.
        let inner = n.inner("exponent");
        y = n.cast(y, a, &inner)?;
    } else if a == DType::Bool && kind == "equal" {
        let (left, right) = (n.inner("x_int32"), n.inner("y_int32"));
        x = n.cast(x, DType::I32, &left)?;
        y = n.cast(y, DType::I32, &right)?;
    }
    let z = n.binary(kind, x, y, &name)?;
    n.done(z)
}

/// Logical operators.
pub(crate) fn logical(n: &mut Node<'_, '_>) -> Done {
    let (x, y, name) = (n.input(0)?, n.input(1)?, n.name());
    let kind = mil_name(&n.proto.op_type);
    let z = n.binary(kind, x, y, &name)?;
    n.done(z)
}

/// `Mod`: Python's sign rule, or C's with `fmod`.
pub(crate) fn modulo(n: &mut Node<'_, '_>) -> Done {
    let (x, y, name) = (n.input(0)?, n.input(1)?, n.name());
    if n.int("fmod").unwrap_or(0) == 0 {
        let z = n.binary("mod", x, y, &name)?;
        return n.done(z);
    }
    // fmod(x, y) = sign(x) * mod(|x|, |y|).
    let names = [n.inner("abs_x"), n.inner("abs_y"), n.inner("mod"), n.inner("sign")];
    let ax = n.unary("abs", x, &names[0])?;
    let ay = n.unary("abs", y, &names[1])?;
    let m = n.binary("mod", ax, ay, &names[2])?;
    let s = n.unary("sign", x, &names[3])?;
    let z = n.binary("mul", s, m, &name)?;
    n.done(z)
}

/// `Max`, `Min`, `Sum` of any number of operands.
pub(crate) fn variadic(n: &mut Node<'_, '_>) -> Done {
    let y = folded(n)?;
    n.done(y)
}

fn folded(n: &mut Node<'_, '_>) -> Result<ValueId, Fault> {
    let kind = match n.proto.op_type.as_str() {
        "Mean" => "add",
        other => mil_name(other),
    };
    let inputs = n.inputs()?;
    let Some((&first, rest)) = inputs.split_first() else { return Err(Fault::new("needs an operand")) };
    let mut so_far = first;
    for (i, &next) in rest.iter().enumerate() {
        let name = if i + 1 == rest.len() { n.name() } else { n.inner(&i.to_string()) };
        so_far = n.binary(kind, so_far, next, &name)?;
    }
    Ok(so_far)
}

/// `Mean` of any number of operands.
pub(crate) fn mean(n: &mut Node<'_, '_>) -> Done {
    let count = anemone_tensor::num::f64_of_usize(n.operand_count());
    let sum = folded(n)?;
    let factor = n.scalar_like("count", sum, 1.0 / count)?;
    let name = n.inner("mean");
    let y = n.binary("mul", sum, factor, &name)?;
    n.done(y)
}

/// `Cast`.
pub(crate) fn cast(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let code = n.int("to").ok_or_else(|| Fault::new("attribute `to` is missing"))?;
    let element = ElementType(i32::try_from(code).unwrap_or(0));
    let to = narrowed(element.dtype().map_err(|e| Fault::new(e.to_string()))?);
    let y = n.cast(x, to, &name)?;
    n.done(y)
}

/// `Where`.
pub(crate) fn select(n: &mut Node<'_, '_>) -> Done {
    let (cond, a, b, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let y = n.op("select").arg("cond", cond).arg("a", a).arg("b", b).one(&name)?;
    n.done(y)
}
