//! Activations: element by element, one float operand `x`.
//!
//! Formulas: the MIL op reference of coremltools, `ops/defs/iOS15/activation.py`.

use super::{Accept, Domain, Effect, Fault, OpDef, Site, Version, Work, tensor};
use crate::eval::EvalSite;
use crate::{Literal, Opset, Type};
use anemone_tensor::DType;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&RELU];

const T: Accept = Accept::Domain("T");
const FLOATS: Domain = Domain { name: "T", types: &[DType::F16, DType::F32] };

/// Same type as `x`.
fn like_x(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    Ok(vec![site.ty("x")?.clone()])
}

/// Applies `f` to every element of `x`, in `f64`, and rounds to the result's type.
fn map(site: &EvalSite<'_>, f: impl Fn(f64) -> f64) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let values: Vec<f64> = x.to_f64s().into_iter().map(f).collect();
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

static RELU: OpDef = OpDef {
    name: "relu",
    doc: "max(x, 0).",
    versions: &[Version { since: Opset::Ios13, params: &[tensor("x", T)], domains: &[FLOATS] }],
    effect: Effect::Pure,
    infer: like_x,
    eval: Some(|site| map(site, |x| x.max(0.0))),
    work: Work::per_output,
};
