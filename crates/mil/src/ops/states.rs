//! States: memory that outlives a prediction. The interpreter runs these ops; they have no evaluation of their own.
//!
//! `read_state` is the registry's; `write_state` is what coremltools writes into packages for its internal
//! `coreml_update_state` (a `write_state` followed by a `read_state`).

use super::common::T;
use super::rearrange::T_WIDE;
use super::{Effect, Fault, Form, OpDef, Site, Version, Work, state, tensor};
use crate::{Opset, TensorType, Type};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&COREML_UPDATE_STATE, &READ_STATE, &WRITE_STATE];

/// Type of what a state holds.
fn held<'a>(site: &Site<'a>, param: &str) -> Result<&'a TensorType, Fault> {
    match site.ty(param)? {
        Type::State(t) => Ok(t),
        other => Err(Fault::arg(param, other, "a state")),
    }
}

/// Checks that a tensor can be written into a state.
fn writes(site: &Site<'_>, into: &str, value: &str) -> Result<TensorType, Fault> {
    let (held, value_type) = (held(site, into)?, site.tensor(value)?);
    if held.compatible(value_type) {
        return Ok(held.clone());
    }
    Err(Fault::arg(value, value_type, format!("{held}, which the state holds")))
}

static READ_STATE: OpDef = OpDef {
    name: "read_state",
    doc: "The tensor that a state holds.",
    versions: &[Version { since: Opset::Ios18, params: &[state("input")], domains: &[] }],
    effect: Effect::ReadState,
    form: Form::Other,
    infer: |site| Ok(vec![held(site, "input")?.clone().into()]),
    eval: None,
    work: Work::none,
};

static WRITE_STATE: OpDef = OpDef {
    name: "write_state",
    doc: "Puts a tensor into a state.",
    versions: &[Version {
        since: Opset::Ios18,
        params: &[state("input"), tensor("data", T)],
        domains: &[T_WIDE],
    }],
    effect: Effect::WriteState,
    form: Form::Other,
    infer: |site| writes(site, "input", "data").map(|_| Vec::new()),
    eval: None,
    work: Work::none,
};

static COREML_UPDATE_STATE: OpDef = OpDef {
    name: "coreml_update_state",
    doc: "Puts a tensor into a state and returns it.",
    versions: &[Version {
        since: Opset::Ios18,
        params: &[state("state"), tensor("value", T)],
        domains: &[T_WIDE],
    }],
    effect: Effect::WriteState,
    form: Form::Other,
    infer: |site| writes(site, "state", "value").map(|t| vec![t.into()]),
    eval: None,
    work: Work::none,
};
