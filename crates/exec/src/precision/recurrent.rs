//! Recurrent layers, step by step.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/recurrent.py`, `iOS17/recurrent.py` and
//! `iOS18/recurrent.py`. A matrix product takes in its bias before it is rounded, like `linear`; everything else is an op
//! of its own, in this order:
//!
//! ```text
//! u = linear(x, weight_ih, bias)       for all steps at once; a gru has input_bias here
//! lstm: s = u[t] + linear(h, weight_hh); i, f, o, z = parts of s
//!       i = sigmoid(i + peephole_i * c); f = sigmoid(f + peephole_f * c); z = tanh(z)
//!       c = f * c + i * z, clipped; o = sigmoid(o + peephole_o * c); h = o * tanh(c)
//! gru:  r, o, z = parts of u[t] and, with a dash, of linear(h, weight_hh, bias)
//!       r = sigmoid(r + r'); z = sigmoid(z + z')
//!       o = tanh(o + o''), o'' = linear(r * h, weight_hh, bias), or r * o' when the reset comes after
//!       h = (1 - z) * o + z * h
//! rnn:  h = tanh(u[t] + linear(h, weight_hh))
//! ```

use super::steps::Steps;
use anemone_mil::ops::{Direction, GateActivation, Recurrent, RecurrentKind};
use anemone_mil::{Tensor, ValueId};

/// The longest sequence that is written out.
const MOST_STEPS: usize = 4096;

/// Hidden states are joined in groups of so many, so that few have to be kept at a time.
const GROUP: usize = 64;

/// One pass over a sequence.
#[derive(Clone, Copy)]
enum Pass {
    Forward,
    /// Last step first, hidden states in the order in which they are made.
    Reverse,
    /// Last step first, each hidden state beside its step: the second pass of two.
    Back,
}

/// What stays the same from step to step.
struct Cell {
    view: Recurrent,
    weight: ValueId,
    /// Added to the product of the state.
    bias: Option<ValueId>,
    /// Of an `lstm`: for the input, the forget and the output gate.
    peephole: Option<[ValueId; 3]>,
    /// The largest magnitude of the cell state and its negative.
    clip: Option<[ValueId; 2]>,
}

/// Hidden states of every step, `[up to GROUP, batch, hidden]` each, and the last states `[batch, hidden]`.
struct Run {
    groups: Vec<ValueId>,
    hidden: ValueId,
    cell: Option<ValueId>,
}

impl Steps<'_, '_> {
    /// The hidden states of all steps or the last, the last hidden state, and of an `lstm` the last cell state.
    pub(super) fn recurrent(&mut self) -> Option<Vec<ValueId>> {
        let view = self.site(|s| Recurrent::of(s).ok())?;
        let steps = self.edit.function.value(view.x).ty.tensor()?.dims.first()?.known()?;
        if !(1..=MOST_STEPS).contains(&steps) {
            return None;
        }
        let passes: &[(&str, Pass)] = match view.direction {
            Direction::Forward => &[("", Pass::Forward)],
            Direction::Reverse => &[("", Pass::Reverse)],
            Direction::Bidirectional => &[("", Pass::Forward), ("_back", Pass::Back)],
        };
        let hidden = self.first_states("initial_h", passes.len())?;
        let cells = match view.kind {
            RecurrentKind::Lstm => self.first_states("initial_c", passes.len())?,
            _ => Vec::new(),
        };
        let mut runs = Vec::new();
        for (i, &(back, pass)) in passes.iter().enumerate() {
            let first = (*hidden.get(i)?, cells.get(i).copied());
            runs.push(self.pass(&view, back, (pass, steps), first)?);
        }
        let last = self.side_by_side(runs.iter().map(|r| r.hidden).collect(), 1)?;
        let sequence = if view.output_sequence {
            let sides: Option<Vec<ValueId>> =
                runs.iter().map(|r| self.side_by_side(r.groups.clone(), 0)).collect();
            self.side_by_side(sides?, 2)?
        } else {
            let axes = self.wholes(&[0])?;
            *self.moved("expand_dims", &[("x", &[last]), ("axes", &[axes])])?.first()?
        };
        let mut results = vec![sequence, last];
        let cells: Vec<ValueId> = runs.iter().filter_map(|r| r.cell).collect();
        if !cells.is_empty() {
            results.push(self.side_by_side(cells, 1)?);
        }
        Some(results)
    }

    /// The first state of each direction, out of `[batch, directions * hidden]`.
    fn first_states(&mut self, param: &str, directions: usize) -> Option<Vec<ValueId>> {
        let all = self.value(param)?;
        if directions == 1 { Some(vec![all]) } else { self.parts(all, directions) }
    }

    /// Equal parts along dim 1.
    fn parts(&mut self, x: ValueId, count: usize) -> Option<Vec<ValueId>> {
        let (count, axis) = (self.whole(count)?, self.whole(1)?);
        self.moved("split", &[("x", &[x]), ("num_splits", &[count]), ("axis", &[axis])])
    }

    fn side_by_side(&mut self, values: Vec<ValueId>, axis: usize) -> Option<ValueId> {
        if let &[one] = values.as_slice() {
            return Some(one);
        }
        let axis = self.whole(axis)?;
        self.moved("concat", &[("values", &values), ("axis", &[axis])])?.first().copied()
    }

    fn linear(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Option<ValueId> {
        let mut args = vec![("x", x), ("weight", weight)];
        args.extend(bias.map(|b| ("bias", b)));
        self.step("linear", &args)
    }

    fn pass(
        &mut self,
        view: &Recurrent,
        back: &str,
        (pass, steps): (Pass, usize),
        (mut hidden, mut state): (ValueId, Option<ValueId>),
    ) -> Option<Run> {
        let param = |name: &str| format!("{name}{back}");
        let bias = self.value(&param("bias"));
        let (with_input, with_state) =
            if view.kind == RecurrentKind::Gru { (self.value("input_bias"), bias) } else { (bias, None) };
        let cell = Cell {
            weight: self.value(&param("weight_hh"))?,
            bias: with_state,
            peephole: self.peephole(view, &param("peephole"))?,
            clip: view.clip.map(|c| [self.edit.number(view.x, -c), self.edit.number(view.x, c)]),
            view: view.clone(),
        };
        let weight = self.value(&param("weight_ih"))?;
        let products = self.linear(view.x, weight, with_input)?;
        let backwards = matches!(pass, Pass::Back);
        let (mut group, mut groups) = (Vec::new(), Vec::new());
        let axis = self.whole(0)?;
        for i in 0..steps {
            let from = if matches!(pass, Pass::Forward) { i } else { steps - 1 - i };
            let at = self.whole(from)?;
            let input = self.moved("gather", &[("x", &[products]), ("indices", &[at]), ("axis", &[axis])])?;
            let input = *input.first()?;
            (hidden, state) = match (view.kind, state) {
                (RecurrentKind::Lstm, Some(c)) => {
                    let (h, c) = self.lstm(&cell, input, hidden, c)?;
                    (h, Some(c))
                }
                (RecurrentKind::Lstm, None) => return None,
                (RecurrentKind::Gru, _) => (self.gru(&cell, input, hidden)?, None),
                (RecurrentKind::Rnn, _) => (self.rnn(&cell, input, hidden)?, None),
            };
            group.push(hidden);
            if view.output_sequence && (group.len() == GROUP || i + 1 == steps) {
                if backwards {
                    group.reverse();
                }
                groups.extend(self.moved("stack", &[("values", &group), ("axis", &[axis])])?);
                group.clear();
            }
        }
        if backwards {
            groups.reverse();
        }
        Some(Run { groups, hidden, cell: state })
    }

    /// `Some(None)` when the layer has none.
    fn peephole(&mut self, view: &Recurrent, param: &str) -> Option<Option<[ValueId; 3]>> {
        if view.kind != RecurrentKind::Lstm {
            return Some(None);
        }
        let Some(v) = self.value(param) else { return Some(None) };
        let literal = self.edit.function.constant(v)?.literal().ok()?;
        let (all, dtype) = (literal.as_tensor()?.to_f64s(), self.edit.dtype(view.x)?);
        let part = |gate: usize| {
            let values = all.get(gate * view.hidden..(gate + 1) * view.hidden)?;
            Tensor::from_f64s(dtype, [view.hidden], values).ok()
        };
        let parts = [part(0)?, part(1)?, part(2)?];
        Some(Some(parts.map(|p| self.edit.constant(p))))
    }

    /// The next hidden and cell state.
    fn lstm(&mut self, cell: &Cell, input: ValueId, h: ValueId, c: ValueId) -> Option<(ValueId, ValueId)> {
        let view = &cell.view;
        let product = self.linear(h, cell.weight, None)?;
        let sum = self.binary("add", input, product)?;
        let [i, f, o, z] = <[ValueId; 4]>::try_from(self.parts(sum, 4)?).ok()?;
        let i = self.gate(cell, (0, i), c)?;
        let f = self.gate(cell, (1, f), c)?;
        let z = self.activated(view.cell_activation, z)?;
        let (kept, new) = (self.binary("mul", f, c)?, self.binary("mul", i, z)?);
        let mut c = self.binary("add", kept, new)?;
        if let Some([least, most]) = cell.clip {
            c = self.step("clip", &[("x", c), ("alpha", least), ("beta", most)])?;
        }
        let o = self.gate(cell, (2, o), c)?;
        let shown = self.activated(view.activation, c)?;
        Some((self.binary("mul", o, shown)?, c))
    }

    /// A gate of an `lstm` that weighs, and may look at the cell state.
    fn gate(&mut self, cell: &Cell, (which, mut sum): (usize, ValueId), c: ValueId) -> Option<ValueId> {
        if let Some(peephole) = cell.peephole {
            let seen = self.binary("mul", peephole[which], c)?;
            sum = self.binary("add", sum, seen)?;
        }
        self.activated(cell.view.recurrent_activation, sum)
    }

    fn gru(&mut self, cell: &Cell, input: ValueId, h: ValueId) -> Option<ValueId> {
        let view = &cell.view;
        let product = self.linear(h, cell.weight, cell.bias)?;
        let [r, o, z] = <[ValueId; 3]>::try_from(self.parts(input, 3)?).ok()?;
        let [r_state, o_state, z_state] = <[ValueId; 3]>::try_from(self.parts(product, 3)?).ok()?;
        let (r, z) = (self.binary("add", r, r_state)?, self.binary("add", z, z_state)?);
        let r = self.activated(view.recurrent_activation, r)?;
        let z = self.activated(view.recurrent_activation, z)?;
        let candidate = if view.reset_after {
            self.binary("mul", r, o_state)?
        } else {
            let kept = self.binary("mul", r, h)?;
            let product = self.linear(kept, cell.weight, cell.bias)?;
            *self.parts(product, 3)?.get(1)?
        };
        let o = self.binary("add", o, candidate)?;
        let o = self.activated(view.activation, o)?;
        let one = self.edit.number(z, 1.0);
        let rest = self.binary("sub", one, z)?;
        let (new, old) = (self.binary("mul", rest, o)?, self.binary("mul", z, h)?);
        self.binary("add", new, old)
    }

    fn rnn(&mut self, cell: &Cell, input: ValueId, h: ValueId) -> Option<ValueId> {
        let product = self.linear(h, cell.weight, None)?;
        let sum = self.binary("add", input, product)?;
        self.activated(cell.view.activation, sum)
    }

    fn activated(&mut self, function: GateActivation, x: ValueId) -> Option<ValueId> {
        match function {
            GateActivation::Tanh | GateActivation::ScaledTanh => self.unary("tanh", x),
            GateActivation::Sigmoid => self.unary("sigmoid", x),
            GateActivation::Relu => self.unary("relu", x),
            GateActivation::Linear => Some(x),
            GateActivation::HardSigmoid => {
                let (alpha, beta) = (self.edit.number(x, 0.2), self.edit.number(x, 0.5));
                self.step("sigmoid_hard", &[("x", x), ("alpha", alpha), ("beta", beta)])
            }
        }
    }
}
