//! Random numbers; other ones than ONNX Runtime's, as no standard fixes the generator.

use crate::onnx::graph::narrowed;
use crate::onnx::node::{Done, Node, int32s};
use anemone_formats::onnx::ElementType;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, OpBuilder, ValueId};
use anemone_tensor::num::i64_trunc;

/// The shape to fill: an attribute, or that of the operand.
fn shape(n: &mut Node<'_, '_>) -> Result<ValueId, Fault> {
    if let Some(shape) = n.ints("shape") {
        let shape = anemone_mil::Tensor::vector_i32(&int32s(&shape)?);
        return Ok(n.constant_value("shape", &shape));
    }
    let (x, inner) = (n.input(0)?, n.inner("shape"));
    n.op("shape").arg("x", x).one(&inner)
}

/// The element type asked for, else that of the operand, else `fp32`.
fn dtype(n: &mut Node<'_, '_>) -> Result<DType, Fault> {
    if let Some(code) = n.int("dtype") {
        let element = ElementType(i32::try_from(code).unwrap_or(0));
        return element.dtype().map(narrowed).map_err(|e| Fault::new(e.to_string()));
    }
    match n.maybe(0)? {
        Some(x) => n.dtype(x),
        None => Ok(DType::F32),
    }
}

fn seeded<'b>(op: OpBuilder<'b>, seed: Option<f64>) -> OpBuilder<'b> {
    match seed {
        Some(seed) => op.int("seed", i32::try_from(i64_trunc(seed).rem_euclid(1 << 31)).unwrap_or(0)),
        None => op,
    }
}

fn draw(n: &mut Node<'_, '_>, kind: &str, params: [(&'static str, f64); 2]) -> Result<ValueId, Fault> {
    let (shape, inner, seed) = (shape(n)?, n.inner("drawn"), n.float("seed"));
    let mut op = n.op(kind).arg("shape", shape);
    for (param, value) in params {
        op = op.literal(param, anemone_mil::Tensor::scalar_f64(DType::F32, value));
    }
    seeded(op, seed).one(&inner)
}

fn finish(n: &mut Node<'_, '_>, drawn: ValueId, dtype: DType) -> Done {
    let name = n.name();
    let y = n.cast(drawn, dtype, &name)?;
    n.done(y)
}

/// `RandomNormal`, `RandomNormalLike`.
pub(crate) fn normal(n: &mut Node<'_, '_>) -> Done {
    let params = [("mean", n.float("mean").unwrap_or(0.0)), ("stddev", n.float("scale").unwrap_or(1.0))];
    let (dtype, drawn) = (dtype(n)?, draw(n, "random_normal", params)?);
    finish(n, drawn, dtype)
}

/// `RandomUniform`, `RandomUniformLike`.
pub(crate) fn uniform(n: &mut Node<'_, '_>) -> Done {
    let params = [("low", n.float("low").unwrap_or(0.0)), ("high", n.float("high").unwrap_or(1.0))];
    let (dtype, drawn) = (dtype(n)?, draw(n, "random_uniform", params)?);
    finish(n, drawn, dtype)
}

/// `Bernoulli`: 1 where a number drawn from [0, 1) is below the element.
pub(crate) fn bernoulli(n: &mut Node<'_, '_>) -> Done {
    let (x, dtype) = (n.input(0)?, dtype(n)?);
    let names = [n.inner("below"), n.inner("p")];
    let drawn = draw(n, "random_uniform", [("low", 0.0), ("high", 1.0)])?;
    let p = n.cast(x, DType::F32, &names[1])?;
    let below = n.binary("less", drawn, p, &names[0])?;
    finish(n, below, dtype)
}
