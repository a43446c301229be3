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
    let kind = mil_name(&n.proto.op_type);
    if kind == "real_div" && a.is_int() {
        let z = truncated(n, x, y, &name)?;
        return n.done(z);
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

/// Integer division toward zero; MIL's division goes toward minus infinity.
fn truncated(n: &mut Node<'_, '_>, x: ValueId, y: ValueId, name: &str) -> Result<ValueId, Fault> {
    let positive = |n: &Node<'_, '_>, v| n.numbers(v).is_some_and(|t| t.to_i64s().iter().all(|&i| i >= 0));
    if positive(n, x) && positive(n, y) {
        return n.binary("floor_div", x, y, name);
    }
    let names = ["abs_x", "abs_y", "quotient", "sign_x", "sign_y", "sign"].map(|s| n.inner(s));
    let (ax, ay) = (n.unary("abs", x, &names[0])?, n.unary("abs", y, &names[1])?);
    let quotient = n.binary("floor_div", ax, ay, &names[2])?;
    let (sx, sy) = (n.unary("sign", x, &names[3])?, n.unary("sign", y, &names[4])?);
    let sign = n.binary("mul", sx, sy, &names[5])?;
    n.binary("mul", quotient, sign, name)
}

/// `Asinh` and `Acosh` by their logarithms.
pub(crate) fn inverse_hyperbolic(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let names = ["abs", "square", "shifted", "root", "sum", "log", "sign"].map(|s| n.inner(s));
    let odd = n.proto.op_type == "Asinh";
    let a = if odd { n.unary("abs", x, &names[0])? } else { x };
    let square = n.binary("mul", a, a, &names[1])?;
    let one = n.scalar_like("one", x, if odd { 1.0 } else { -1.0 })?;
    let shifted = n.binary("add", square, one, &names[2])?;
    let root = n.unary("sqrt", shifted, &names[3])?;
    let sum = n.binary("add", a, root, &names[4])?;
    let log =
        n.op("log").arg("x", sum).float("epsilon", "x", 0.0).one(if odd { &names[5] } else { &name })?;
    if !odd {
        return n.done(log);
    }
    let sign = n.unary("sign", x, &names[6])?;
    let y = n.binary("mul", log, sign, &name)?;
    n.done(y)
}

/// `IsNaN`: the one number that differs from itself.
pub(crate) fn is_nan(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let y = n.binary("not_equal", x, x, &name)?;
    n.done(y)
}

/// `IsInf`.
pub(crate) fn is_inf(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("abs"));
    let positive = n.int("detect_positive").unwrap_or(1) != 0;
    let negative = n.int("detect_negative").unwrap_or(1) != 0;
    let (x, limit) = match (positive, negative) {
        (true, true) => (n.unary("abs", x, &inner)?, f64::INFINITY),
        (true, false) => (x, f64::INFINITY),
        (false, true) => (x, f64::NEG_INFINITY),
        (false, false) => {
            let y = n.binary("less", x, x, &name)?;
            return n.done(y);
        }
    };
    let limit = n.scalar_like("infinity", x, limit)?;
    let y = n.binary("equal", x, limit, &name)?;
    n.done(y)
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
    let source = element.dtype().map_err(|e| Fault::new(e.to_string()))?;
    if source.bits() < 8 || matches!(source, DType::F8E4M3 | DType::F8E5M2) {
        return Err(Fault::new(format!("converts to {source}, which MIL does not compute with")));
    }
    let y = n.cast(x, narrowed(source), &name)?;
    n.importer.set_source_type(y, source);
    n.done(y)
}

/// `CastLike`.
pub(crate) fn cast_like(n: &mut Node<'_, '_>) -> Done {
    let (x, like, name) = (n.input(0)?, n.input(1)?, n.name());
    let source = n.importer.source_type(like);
    if let Some(source) = source.filter(|s| s.bits() < 8 || matches!(s, DType::F8E4M3 | DType::F8E5M2)) {
        return Err(Fault::new(format!("converts to {source}, which MIL does not compute with")));
    }
    let dtype = n.dtype(like)?;
    let y = n.cast(x, dtype, &name)?;
    if let Some(source) = source {
        n.importer.set_source_type(y, source);
    }
    n.done(y)
}

/// `Where`.
pub(crate) fn select(n: &mut Node<'_, '_>) -> Done {
    let (cond, a, b, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let y = n.op("select").arg("cond", cond).arg("a", a).arg("b", b).one(&name)?;
    n.done(y)
}
