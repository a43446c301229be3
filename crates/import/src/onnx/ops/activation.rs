//! Activations and what is made of them.

use crate::onnx::node::{Done, Node, axis, int32, volume};
use anemone_mil::ops::Fault;
use anemone_mil::{Dim, ValueId};
use anemone_tensor::num::i64_of;

/// One op with float attributes `alpha`, `beta` under the same names.
fn with_alpha(n: &mut Node<'_, '_>, kind: &str, alpha: f64, beta: Option<f64>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let alpha = n.float("alpha").unwrap_or(alpha);
    let beta = beta.map(|b| n.float("beta").unwrap_or(b));
    let mut op = n.op(kind).arg("x", x).float("alpha", "x", alpha);
    if let Some(b) = beta {
        op = op.float("beta", "x", b);
    }
    let y = op.one(&name)?;
    n.done(y)
}

/// `LeakyRelu`.
pub(crate) fn leaky_relu(n: &mut Node<'_, '_>) -> Done {
    with_alpha(n, "leaky_relu", 0.01, None)
}

/// `Elu`.
pub(crate) fn elu(n: &mut Node<'_, '_>) -> Done {
    with_alpha(n, "elu", 1.0, None)
}

/// `ThresholdedRelu`: keeps what is above `alpha`; MIL's op of that name keeps `alpha` itself too.
pub(crate) fn thresholded_relu(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("above"));
    let alpha = n.scalar_like("alpha", x, n.float("alpha").unwrap_or(1.0))?;
    let zero = n.scalar_like("zero", x, 0.0)?;
    let above = n.binary("greater", x, alpha, &inner)?;
    let y = n.op("select").arg("cond", above).arg("a", x).arg("b", zero).one(&name)?;
    n.done(y)
}

/// `Celu`: `alpha * elu(x / alpha)`.
pub(crate) fn celu(n: &mut Node<'_, '_>) -> Done {
    let (x, name, names) = (n.input(0)?, n.name(), [n.inner("scaled"), n.inner("elu")]);
    let alpha = n.float("alpha").unwrap_or(1.0);
    let inverse = n.scalar_like("inverse_alpha", x, 1.0 / alpha)?;
    let scaled = n.binary("mul", x, inverse, &names[0])?;
    let e = n.op("elu").arg("x", scaled).float("alpha", "x", 1.0).one(&names[1])?;
    let alpha = n.scalar_like("alpha", x, alpha)?;
    let y = n.binary("mul", e, alpha, &name)?;
    n.done(y)
}

/// `Shrink`: `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0.
pub(crate) fn shrink(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let names = ["below", "above", "raised", "lowered", "upper"].map(|s| n.inner(s));
    let (bias, lambda) = (n.float("bias").unwrap_or(0.0), n.float("lambd").unwrap_or(0.5));
    let [low, high, bias, zero] = [
        n.scalar_like("low", x, -lambda)?,
        n.scalar_like("high", x, lambda)?,
        n.scalar_like("bias", x, bias)?,
        n.scalar_like("zero", x, 0.0)?,
    ];
    let below = n.binary("less", x, low, &names[0])?;
    let above = n.binary("greater", x, high, &names[1])?;
    let raised = n.binary("add", x, bias, &names[2])?;
    let lowered = n.binary("sub", x, bias, &names[3])?;
    let upper = n.op("select").arg("cond", above).arg("a", lowered).arg("b", zero).one(&names[4])?;
    let y = n.op("select").arg("cond", below).arg("a", raised).arg("b", upper).one(&name)?;
    n.done(y)
}

/// `Swish`: `x * sigmoid(alpha * x)`.
pub(crate) fn swish(n: &mut Node<'_, '_>) -> Done {
    let (x, name, names) = (n.input(0)?, n.name(), [n.inner("scaled"), n.inner("gate")]);
    // ONNX Runtime's QuickGelu is the same with another default.
    let usual = if n.proto.op_type == "QuickGelu" { 1.702 } else { 1.0 };
    let alpha = n.float("alpha").unwrap_or(usual);
    if (alpha - 1.0).abs() < f64::EPSILON {
        let y = n.unary("silu", x, &name)?;
        return n.done(y);
    }
    let alpha = n.scalar_like("alpha", x, alpha)?;
    let scaled = n.binary("mul", x, alpha, &names[0])?;
    let gate = n.unary("sigmoid", scaled, &names[1])?;
    let y = n.binary("mul", x, gate, &name)?;
    n.done(y)
}

/// `BiasGelu` and `FastGelu` of ONNX Runtime: a bias, then the function.
pub(crate) fn bias_gelu(n: &mut Node<'_, '_>) -> Done {
    let (x, bias, name, inner) = (n.input(0)?, n.maybe(1)?, n.name(), n.inner("biased"));
    let mode = if n.proto.op_type == "FastGelu" { "TANH_APPROXIMATION" } else { "EXACT" };
    let x = match bias {
        Some(bias) => n.binary("add", x, bias, &inner)?,
        None => x,
    };
    let y = n.op("gelu").arg("x", x).str("mode", mode).one(&name)?;
    n.done(y)
}

/// `HardSigmoid`.
pub(crate) fn hard_sigmoid(n: &mut Node<'_, '_>) -> Done {
    with_alpha(n, "sigmoid_hard", 0.2, Some(0.5))
}

/// `HardSwish`: `x * max(0, min(1, x / 6 + 1 / 2))`.
pub(crate) fn hard_swish(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("gate"));
    let gate = n
        .op("sigmoid_hard")
        .arg("x", x)
        .float("alpha", "x", 1.0 / 6.0)
        .float("beta", "x", 0.5)
        .one(&inner)?;
    let y = n.binary("mul", x, gate, &name)?;
    n.done(y)
}

/// `Mish`: `x * tanh(softplus(x))`.
pub(crate) fn mish(n: &mut Node<'_, '_>) -> Done {
    let (x, name, names) = (n.input(0)?, n.name(), [n.inner("softplus"), n.inner("tanh")]);
    let soft = n.unary("softplus", x, &names[0])?;
    let gate = n.unary("tanh", soft, &names[1])?;
    let y = n.binary("mul", x, gate, &name)?;
    n.done(y)
}

/// `Selu`: `gamma * elu(x, alpha)`.
pub(crate) fn selu(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("elu"));
    // Defaults of the operator, Klambauer et al., Self-Normalizing Neural Networks, 2017.
    let alpha = n.float("alpha").unwrap_or(1.673_263_192_176_818_8);
    let gamma = n.float("gamma").unwrap_or(1.050_701_022_148_132_3);
    let e = n.op("elu").arg("x", x).float("alpha", "x", alpha).one(&inner)?;
    let gamma = n.scalar_like("gamma", e, gamma)?;
    let y = n.binary("mul", e, gamma, &name)?;
    n.done(y)
}

/// `Gelu`.
pub(crate) fn gelu(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let mode = match n.text("approximate").as_deref() {
        Some("tanh") => "TANH_APPROXIMATION",
        _ => "EXACT",
    };
    let y = n.op("gelu").arg("x", x).str("mode", mode).one(&name)?;
    n.done(y)
}

/// `PRelu`: per channel where the slope allows, else `max(x, 0) + slope * min(x, 0)`.
pub(crate) fn prelu(n: &mut Node<'_, '_>) -> Done {
    let (x, slope, name) = (n.input(0)?, n.input(1)?, n.name());
    let names = [n.inner("positive"), n.inner("negative"), n.inner("scaled")];
    let rank = n.rank(x)?;
    let channels = n.ty(x)?.dims.get(1).and_then(Dim::known);
    if let Some(s) = n.numbers(slope)
        && s.rank() + 1 == rank
        && rank >= 3
        && Some(s.len()) == channels
        && s.shape().first() == channels.as_ref()
    {
        let flat = s.reshaped([s.len()]).map_err(|e| Fault::new(e.to_string()))?;
        let alpha = n.constant_value("alpha", &flat);
        let y = n.op("prelu").arg("x", x).arg("alpha", alpha).one(&name)?;
        return n.done(y);
    }
    let zero = n.scalar_like("zero", x, 0.0)?;
    let positive = n.binary("maximum", x, zero, &names[0])?;
    let negative = n.binary("minimum", x, zero, &names[1])?;
    let scaled = n.binary("mul", negative, slope, &names[2])?;
    let y = n.binary("add", positive, scaled, &name)?;
    n.done(y)
}

/// `Clip`: bounds are attributes before opset 11 and operands since.
pub(crate) fn clip(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let (low, high) = if n.opset() < 11 {
        (n.float("min"), n.float("max"))
    } else {
        if !is_constant(n, 1)? || !is_constant(n, 2)? || !n.is_float(x) {
            return clip_by_values(n, x);
        }
        let first = |t: Option<anemone_mil::Tensor>| t.filter(|t| !t.is_empty()).map(|t| t.f64_at(0));
        (first(n.constant(1)?), first(n.constant(2)?))
    };
    if !n.is_float(x) {
        return Err(Fault::new("clips integers by attributes, which no opset allows"));
    }
    let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
    let y = n.op("clip").arg("x", x).float("alpha", "x", low).float("beta", "x", high).one(&name)?;
    n.done(y)
}

/// True when operand `i` is left out or constant.
fn is_constant(n: &mut Node<'_, '_>, i: usize) -> Result<bool, Fault> {
    Ok(match n.maybe(i)? {
        Some(v) => n.numbers(v).is_some(),
        None => true,
    })
}

fn clip_by_values(n: &mut Node<'_, '_>, x: ValueId) -> Done {
    let (name, inner) = (n.name(), n.inner("low"));
    let (low, high) = (n.maybe(1)?, n.maybe(2)?);
    let mut y = x;
    if let Some(low) = low {
        y = n.binary("maximum", y, low, if high.is_some() { &inner } else { &name })?;
    }
    if let Some(high) = high {
        y = n.binary("minimum", y, high, &name)?;
    }
    n.done(y)
}

/// `Softmax`.
pub(crate) fn softmax(n: &mut Node<'_, '_>) -> Done {
    let name = n.name();
    let y = flattened(n, &name, |n, x, at, name| {
        n.op("softmax").arg("x", x).int("axis", int32(i64_of(at))?).one(name)
    })?;
    n.done(y)
}

/// `LogSoftmax`: `x - log(sum(exp(x)))` along the axis.
pub(crate) fn log_softmax(n: &mut Node<'_, '_>) -> Done {
    let name = n.name();
    let y = flattened(n, &name, |n, x, at, name| {
        let (axes, inner) = ([int32(i64_of(at))?], n.inner("log_sum_exp"));
        let sum =
            n.op("reduce_log_sum_exp").arg("x", x).ints("axes", &axes).bool("keep_dims", true).one(&inner)?;
        n.binary("sub", x, sum, name)
    })?;
    n.done(y)
}

/// Applies `f(x, axis, name)`; before opset 13 on the operand flattened to a matrix at the axis.
pub(super) fn flattened(
    n: &mut Node<'_, '_>,
    name: &str,
    f: impl FnOnce(&mut Node<'_, '_>, ValueId, usize, &str) -> Result<ValueId, Fault>,
) -> Result<ValueId, Fault> {
    let x = n.input(0)?;
    let rank = n.rank(x)?;
    let at = axis(n.int("axis").unwrap_or(if n.opset() < 13 { 1 } else { -1 }), rank)?;
    let flattens = n.opset() < 13 && at + 1 < rank;
    if !flattens {
        return f(n, x, at, name);
    }
    let shape = n.shape(x)?;
    let rows: usize = volume(&shape[..at])?;
    let columns: usize = volume(&shape[at..])?;
    let names = [n.inner("matrix"), n.inner("rows")];
    let matrix = n.reshape(x, &[Dim::Known(rows), Dim::Known(columns)], &names[0])?;
    let y = f(n, matrix, 1, &names[1])?;
    let dims: Vec<Dim> = shape.into_iter().map(Dim::Known).collect();
    n.reshape(y, &dims, name)
}
