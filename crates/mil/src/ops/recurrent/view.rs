//! Decoded recurrent layers.

use crate::ops::{Fault, Site};
use crate::{TensorType, ValueId};
use anemone_tensor::num;

/// Which recurrent layer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrentKind {
    /// `gru`.
    Gru,
    /// `lstm`.
    Lstm,
    /// `rnn`.
    Rnn,
}

impl RecurrentKind {
    /// Gates whose weights are stacked in `weight_ih`, `weight_hh` and `bias`.
    pub const fn gates(self) -> usize {
        match self {
            RecurrentKind::Gru => 3,
            RecurrentKind::Lstm => 4,
            RecurrentKind::Rnn => 1,
        }
    }
}

/// Which way the steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first. The sequence of hidden states is in the order in which they are made, so
    /// that its last one belongs to the first step: coremltools' own tests of `gru` and `rnn` expect it so.
    Reverse,
    /// Both, each with weights of its own; results side by side, each beside the step that it belongs to.
    Bidirectional,
}

/// The function of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateActivation {
    /// `tanh(x)`.
    Tanh,
    /// `tanh(x)`, with both factors 1: coremltools' own tests of `lstm` expect it so.
    ScaledTanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `0.2 x + 0.5` between 0 and 1.
    HardSigmoid,
    /// `max(x, 0)`.
    Relu,
    /// `x`.
    Linear,
}

impl GateActivation {
    /// The function of that MIL name, in any case; `rnn` spells one of them `sigmoid_hard`.
    pub fn from_name(name: &str) -> Option<GateActivation> {
        Some(match name.to_ascii_lowercase().as_str() {
            "tanh" => GateActivation::Tanh,
            "scaled_tanh" => GateActivation::ScaledTanh,
            "sigmoid" => GateActivation::Sigmoid,
            "hard_sigmoid" | "sigmoid_hard" => GateActivation::HardSigmoid,
            "relu" => GateActivation::Relu,
            "linear" => GateActivation::Linear,
            _ => return None,
        })
    }

    /// The value at `x`.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            GateActivation::Tanh | GateActivation::ScaledTanh => x.tanh(),
            GateActivation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            GateActivation::HardSigmoid => (0.2 * x + 0.5).clamp(0.0, 1.0),
            GateActivation::Relu => x.max(0.0),
            GateActivation::Linear => x,
        }
    }
}

/// A `gru`, `lstm` or `rnn` with its attributes decoded and defaulted.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// Which layer it is.
    pub kind: RecurrentKind,
    /// Input `[steps, batch, features]`.
    pub x: ValueId,
    /// Extent of the hidden state of one direction.
    pub hidden: usize,
    /// Which way the steps are taken.
    pub direction: Direction,
    /// Hidden states of all steps are results, not the last alone.
    pub output_sequence: bool,
    /// Function of the gates that weigh.
    pub recurrent_activation: GateActivation,
    /// Function of the cell gate of an `lstm`.
    pub cell_activation: GateActivation,
    /// Function of the output.
    pub activation: GateActivation,
    /// Largest magnitude of the cell state of an `lstm`.
    pub clip: Option<f64>,
    /// The reset gate of a `gru` is applied after the matrix product instead of before.
    pub reset_after: bool,
}

impl Recurrent {
    /// Decodes the op.
    ///
    /// # Errors
    /// When shapes do not fit or an attribute is impossible.
    pub fn of(site: &Site<'_>) -> Result<Recurrent, Fault> {
        let kind = match site.def.name {
            "gru" => RecurrentKind::Gru,
            "lstm" => RecurrentKind::Lstm,
            _ => RecurrentKind::Rnn,
        };
        let x = site.tensor("x")?;
        if x.rank() != 3 {
            return Err(Fault::arg("x", x, "of rank 3: steps, batch, features"));
        }
        let direction = direction(site, kind)?;
        let hidden = weights(site, kind, x, "weight_ih", "weight_hh")?;
        if direction == Direction::Bidirectional {
            let back = weights(site, kind, x, "weight_ih_back", "weight_hh_back")?;
            if back != hidden {
                return Err(Fault::arg("weight_hh_back", back, format!("{hidden} wide, like `weight_hh`")));
            }
        }
        let view = Recurrent {
            kind,
            x: site.op.value("x").ok_or_else(|| Fault::new("argument `x` is missing"))?,
            hidden,
            direction,
            output_sequence: site.bool("output_sequence")?,
            recurrent_activation: gate(site, "recurrent_activation", GateActivation::Sigmoid)?,
            cell_activation: gate(site, "cell_activation", GateActivation::Tanh)?,
            activation: gate(site, "activation", GateActivation::Tanh)?,
            clip: if site.has("clip") { Some(site.float("clip")?) } else { None },
            reset_after: site.has("reset_after") && site.bool("reset_after")?,
        };
        view.check_states(site, x)?;
        Ok(view)
    }

    /// 2 when both directions are taken, else 1.
    pub fn directions(&self) -> usize {
        if self.direction == Direction::Bidirectional { 2 } else { 1 }
    }

    fn check_states(&self, site: &Site<'_>, x: &TensorType) -> Result<(), Fault> {
        let width = self.hidden.saturating_mul(self.directions());
        let wanted = TensorType::new(x.dtype, [x.dims[1].clone(), width.into()]);
        let states: &[&str] =
            if self.kind == RecurrentKind::Lstm { &["initial_h", "initial_c"] } else { &["initial_h"] };
        for param in states {
            let state = site.tensor(param)?;
            if !state.compatible(&wanted) {
                return Err(Fault::arg(*param, state, format!("{wanted}: batch and hidden state")));
            }
        }
        Ok(())
    }
}

fn direction(site: &Site<'_>, kind: RecurrentKind) -> Result<Direction, Fault> {
    let name = site.str("direction")?;
    match name.as_str() {
        "forward" => Ok(Direction::Forward),
        "reverse" => Ok(Direction::Reverse),
        "bidirectional" if kind == RecurrentKind::Lstm => Ok(Direction::Bidirectional),
        _ if kind == RecurrentKind::Lstm => {
            Err(Fault::arg("direction", name, "forward, reverse or bidirectional"))
        }
        _ => Err(Fault::arg("direction", name, "forward or reverse")),
    }
}

/// Checks weights `[gates * hidden, features]` and `[gates * hidden, hidden]`; gives the hidden extent.
fn weights(
    site: &Site<'_>,
    kind: RecurrentKind,
    x: &TensorType,
    input: &str,
    state: &str,
) -> Result<usize, Fault> {
    let (ih, hh) = (site.tensor(input)?, site.tensor(state)?);
    let shape = hh.known_shape().filter(|s| s.len() == 2 && s[0] == s[1].saturating_mul(kind.gates()));
    let hidden = shape.map(|s| s[1]).filter(|&h| h > 0).ok_or_else(|| {
        Fault::arg(state, hh, format!("of shape [{} * h, h] with a hidden extent h", kind.gates()))
    })?;
    let wanted = [hidden.saturating_mul(kind.gates()).into(), x.dims[2].clone()];
    if ih.rank() != 2 || !ih.dims.iter().zip(&wanted).all(|(a, b)| a.compatible(b)) {
        let wanted = TensorType { dtype: ih.dtype, dims: wanted.to_vec() };
        return Err(Fault::arg(input, ih, format!("{wanted}, for the features of `x`")));
    }
    Ok(hidden)
}

/// The activation named by `param`, where the op has it.
fn gate(site: &Site<'_>, param: &str, otherwise: GateActivation) -> Result<GateActivation, Fault> {
    if site.version.param(param).is_none() {
        return Ok(otherwise);
    }
    let name = site.str(param)?;
    let allowed = "tanh, scaled_tanh, sigmoid, hard_sigmoid, relu or linear";
    GateActivation::from_name(&name).ok_or_else(|| Fault::arg(param, name, allowed))
}

/// Number of elements that an optional vector of `vectors` hidden extents must have.
pub(super) fn extent(view: &Recurrent, vectors: usize) -> usize {
    num::element_count(&[view.hidden, vectors]).unwrap_or(usize::MAX)
}
