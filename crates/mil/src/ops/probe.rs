//! Runs one op on tensors, for the tests of the families.

use super::Site;
use crate::eval::EvalSite;
use crate::{Builder, Function, Literal, Op, OpBuilder, Opset, Tensor, TensorType, Type};

/// A function of one op: `inputs` are its run-time operands, `build` gives the rest.
///
/// # Panics
/// When its types cannot be inferred.
pub(crate) fn function(
    opset: Opset,
    op: &str,
    inputs: &[(&str, Tensor)],
    build: impl for<'b> FnOnce(OpBuilder<'b>) -> OpBuilder<'b>,
) -> Function {
    let mut b = Builder::new("main", opset);
    let type_of = |t: &Tensor| TensorType::new(t.dtype(), t.shape().iter().copied());
    let values: Vec<_> = inputs.iter().map(|(name, t)| (*name, b.input(name, type_of(t)))).collect();
    let one = b.op(op);
    let one = values.into_iter().fold(one, |op, (name, v)| op.arg(name, v));
    build(one).all("y").unwrap_or_else(|e| panic!("{op}: {e}"));
    b.finish()
}

/// Evaluates one op.
///
/// # Panics
/// When it cannot be evaluated, or makes another type than inferred.
pub(crate) fn run(
    opset: Opset,
    op: &str,
    inputs: &[(&str, Tensor)],
    build: impl for<'b> FnOnce(OpBuilder<'b>) -> OpBuilder<'b>,
) -> Vec<Tensor> {
    let f = function(opset, op, inputs, build);
    let (_, id) = *f.walk().last().expect("one op");
    let found = f.op(id);
    let values: Vec<Vec<Literal>> =
        found.args.iter().map(|a| operands(&f, found, &a.param, inputs)).collect();
    let site = Site::new(&f, found).unwrap_or_else(|e| panic!("{op}: {e}"));
    let results =
        site.def.evaluate(&EvalSite { site, values: &values }).unwrap_or_else(|e| panic!("{op}: {e}"));
    let inferred: Vec<Type> = found.outputs.iter().map(|&v| f.value(v).ty.clone()).collect();
    assert_eq!(results.iter().map(Literal::ty).collect::<Vec<_>>(), inferred, "{op}");
    results.into_iter().filter_map(|r| r.as_tensor().cloned()).collect()
}

fn operands(f: &Function, op: &Op, param: &str, inputs: &[(&str, Tensor)]) -> Vec<Literal> {
    let given = |name: &str| inputs.iter().find(|(n, _)| *n == name).map(|(_, t)| t.clone().into());
    let one = |v: &crate::ValueId| match f.constant(*v) {
        Some(c) => c.literal().ok(),
        None => given(&f.value(*v).name),
    };
    op.values(param).iter().filter_map(one).collect()
}

/// An `fp32` tensor.
///
/// # Panics
/// When the number of values is not that of the shape.
pub(crate) fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32s(shape, values).expect("values fit the shape")
}

/// An `fp32` tensor that counts from 0.
///
/// # Panics
/// When the shape overflows.
pub(crate) fn iota(shape: &[usize]) -> Tensor {
    let values: Vec<f64> =
        (0..shape.iter().product::<usize>()).map(anemone_tensor::num::f64_of_usize).collect();
    Tensor::from_f64s(crate::DType::F32, shape, &values).expect("values fit the shape")
}

/// Fails unless every element is within `1e-5` of the largest expected magnitude.
///
/// That is a few units in the last place of `fp32`, to which results are rounded.
///
/// # Panics
/// When one is not.
pub(crate) fn assert_close(actual: &Tensor, expected: &[f64]) {
    let scale = expected.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    let actual = actual.to_f64s();
    let close = |(a, e): (&f64, &f64)| (a - e).abs() <= 1e-5 * scale;
    let all = actual.len() == expected.len() && actual.iter().zip(expected).all(close);
    assert!(all, "actual {actual:?}\nexpected {expected:?}");
}
