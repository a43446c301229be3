//! Recurrent layers over sequences `[steps, batch, features]`.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/recurrent.py`, `iOS17/recurrent.py` and
//! `iOS18/recurrent.py`.

mod eval;
mod view;

use super::common::{BOOL, STRING, T, T_FLOATS};
use super::{Default, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Dim, Opset, TensorType, Type};
use anemone_tensor::DType;

pub use view::{Direction, GateActivation, Recurrent, RecurrentKind};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&GRU, &LSTM, &RNN];

const T_FLOAT32: Domain = Domain { name: "T", types: &[DType::F32] };
const X: Param = tensor("x", T);
const INITIAL_H: Param = tensor("initial_h", T);
const WEIGHT_IH: Param = constant("weight_ih", T);
const WEIGHT_HH: Param = constant("weight_hh", T);
const BIAS: Param = constant("bias", T).optional();
const DIRECTION: Param = constant("direction", STRING).or(Default::Str("forward"));
const OUTPUT_SEQUENCE: Param = constant("output_sequence", BOOL).or(Default::Bool(false));
const RECURRENT_ACTIVATION: Param = constant("recurrent_activation", STRING).or(Default::Str("sigmoid"));
const ACTIVATION: Param = constant("activation", STRING).or(Default::Str("tanh"));

const GRU_PARAMS: &[Param] =
    &[X, INITIAL_H, WEIGHT_IH, WEIGHT_HH, BIAS, DIRECTION, OUTPUT_SEQUENCE, RECURRENT_ACTIVATION, ACTIVATION];

static GRU: OpDef = OpDef {
    name: "gru",
    doc: "Gated recurrent unit; weights hold the reset, output and update gates, in this order.",
    versions: &[
        Version { since: Opset::Ios13, params: GRU_PARAMS, domains: &[T_FLOAT32] },
        Version { since: Opset::Ios17, params: GRU_PARAMS, domains: &[T_FLOATS] },
        Version {
            since: Opset::Ios18,
            params: &[
                X,
                INITIAL_H,
                WEIGHT_IH,
                WEIGHT_HH,
                BIAS,
                DIRECTION,
                OUTPUT_SEQUENCE,
                RECURRENT_ACTIVATION,
                ACTIVATION,
                constant("reset_after", BOOL).or(Default::Bool(false)),
                constant("input_bias", T).optional(),
            ],
            domains: &[T_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval::eval),
    work,
};

const LSTM_PARAMS: &[Param] = &[
    X,
    INITIAL_H,
    tensor("initial_c", T),
    WEIGHT_IH,
    WEIGHT_HH,
    BIAS,
    constant("peephole", T).optional(),
    constant("weight_ih_back", T).optional(),
    constant("weight_hh_back", T).optional(),
    constant("bias_back", T).optional(),
    constant("peephole_back", T).optional(),
    DIRECTION,
    OUTPUT_SEQUENCE,
    RECURRENT_ACTIVATION,
    constant("cell_activation", STRING).or(Default::Str("tanh")),
    ACTIVATION,
    constant("clip", T).optional(),
];

static LSTM: OpDef = OpDef {
    name: "lstm",
    doc: "Long short-term memory; weights hold the input, forget, output and cell gates, in this order.",
    versions: &[
        Version { since: Opset::Ios13, params: LSTM_PARAMS, domains: &[T_FLOAT32] },
        Version { since: Opset::Ios17, params: LSTM_PARAMS, domains: &[T_FLOATS] },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval::eval),
    work,
};

const RNN_PARAMS: &[Param] =
    &[X, INITIAL_H, WEIGHT_IH, WEIGHT_HH, BIAS, DIRECTION, OUTPUT_SEQUENCE, ACTIVATION];

static RNN: OpDef = OpDef {
    name: "rnn",
    doc: "activation(weight_ih * x + weight_hh * h + bias), step by step.",
    versions: &[
        Version { since: Opset::Ios13, params: RNN_PARAMS, domains: &[T_FLOAT32] },
        Version { since: Opset::Ios17, params: RNN_PARAMS, domains: &[T_FLOATS] },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval::eval),
    work,
};

/// The sequence of hidden states or the last one, the last hidden state, and of an `lstm` the last cell state.
fn infer(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let view = Recurrent::of(site)?;
    let x = site.tensor("x")?;
    let [steps, batch, _] = x.dims.as_slice() else { return Err(Fault::arg("x", x, "of rank 3")) };
    let width = Dim::Known(view.hidden.saturating_mul(view.directions()));
    let steps = if view.output_sequence { steps.clone() } else { Dim::Known(1) };
    let typed = |dims: &[&Dim]| Type::from(TensorType::new(x.dtype, dims.iter().map(|&d| d.clone())));
    let last = typed(&[batch, &width]);
    let mut out = vec![typed(&[&steps, batch, &width]), last.clone()];
    out.extend((view.kind == RecurrentKind::Lstm).then_some(last));
    Ok(out)
}

/// Two matrix products per step, batch item and direction, and the arithmetic of the gates.
fn work(site: &Site<'_>) -> Option<Work> {
    let view = Recurrent::of(site).ok()?;
    let &[steps, batch, features] = site.tensor("x").ok()?.known_shape()?.as_slice() else { return None };
    let gates = view.kind.gates().checked_mul(view.hidden)?;
    let runs = steps.checked_mul(batch)?.checked_mul(view.directions())?;
    let products = Work::products(runs.checked_mul(gates)?, features.checked_add(view.hidden)?, true)?;
    let (flops, functions) = match view.kind {
        RecurrentKind::Lstm => (4, 5),
        RecurrentKind::Gru => (5, 3),
        RecurrentKind::Rnn => (0, 1),
    };
    let cells = u64::try_from(runs.checked_mul(view.hidden)?).ok()?;
    Some(Work {
        flops: products.flops.checked_add(cells.checked_mul(flops)?)?,
        transcendental: cells.checked_mul(functions)?,
    })
}

#[cfg(test)]
mod tests;
