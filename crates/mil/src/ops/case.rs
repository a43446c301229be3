//! Runs one op in tests: inference on the operands' types, evaluation on their values.

use super::{Fault, Site};
use crate::eval::EvalSite;
use crate::{Builder, Literal, Opset, Tensor, ValueId};

/// Infers and evaluates one op: `inputs` are computed when the model runs, `attributes` are constants.
///
/// # Panics
/// When a result does not have its inferred type.
pub(crate) fn run(
    kind: &str,
    opset: Opset,
    inputs: &[(&'static str, &[Tensor])],
    attributes: &[(&'static str, Literal)],
) -> Result<Vec<Tensor>, Fault> {
    let mut b = Builder::new("main", opset);
    let mut given: Vec<(&'static str, Vec<ValueId>)> = Vec::new();
    for (param, tensors) in inputs {
        let ids = tensors.iter().map(|t| b.input(param, Literal::from(t.clone()).ty()));
        given.push((param, ids.collect()));
    }
    let mut builder = b.op(kind);
    for (param, ids) in given {
        builder = builder.args(param, ids);
    }
    for (param, literal) in attributes {
        builder = builder.literal(param, literal.clone());
    }
    let results = builder.all("y")?;
    let function = b.finish();
    let op = function.op(function.walk()[0].1);
    let value = |param: &str, i: usize, id: ValueId| match function.constant(id) {
        Some(c) => c.literal().expect("available"),
        None => inputs.iter().find(|(p, _)| *p == param).expect("given").1[i].clone().into(),
    };
    let values: Vec<Vec<Literal>> = op
        .args
        .iter()
        .map(|a| a.values.iter().enumerate().map(|(i, &v)| value(&a.param, i, v)).collect())
        .collect();
    let site = EvalSite { site: Site::new(&function, op)?, values: &values };
    let made = site.site.def.evaluate(&site)?;
    assert_eq!(made.len(), results.len(), "{kind}: number of results");
    for (literal, &id) in made.iter().zip(&results) {
        let inferred = &function.value(id).ty;
        assert!(literal.ty().compatible(inferred), "{kind}: {} is not {inferred}", literal.ty());
    }
    Ok(made.iter().filter_map(|l| l.as_tensor().cloned()).collect())
}

/// A tensor of the numbers 0, 1, 2 and so on.
pub(crate) fn iota(shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0u32..).take(shape.iter().product()).map(f64::from).collect();
    Tensor::from_f64s(crate::DType::F32, shape, &values).expect("fits")
}

/// A rank-1 `int32` constant.
pub(crate) fn ints(values: &[i32]) -> Literal {
    Tensor::vector_i32(values).into()
}

/// A rank-0 `int32` constant.
pub(crate) fn int(value: i32) -> Literal {
    Tensor::scalar_i32(value).into()
}

/// A rank-1 `bool` constant.
pub(crate) fn bools(values: &[bool]) -> Literal {
    Tensor::vector_bool(values).into()
}
