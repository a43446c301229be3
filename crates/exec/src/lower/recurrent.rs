//! Recurrent layers: `lstm`, `gru` and `rnn` with constant weights.

use super::{Io, Kernel, Lowered, Lowering};
use crate::kernels::Activation;
use crate::kernels::recurrent::{
    GruOrder, GruPlan, LstmFunctions, LstmOrder, LstmPlan, RecurrentShape, RecurrentWeights, Sequence,
};
use crate::kernels::recurrent_plain::{PlainPlan, Rule};
use crate::memory::Floats;
use crate::pool::Pool;
use anemone_mil::ops::{Direction, GateActivation, Recurrent, RecurrentKind};

/// The layer of one direction.
enum Cell {
    Lstm(LstmPlan),
    Gru(GruPlan),
    Plain(PlainPlan),
}

/// A layer: the cells of its directions and its extents.
struct Layer {
    cells: Vec<Cell>,
    reverse: bool,
    sequence: bool,
    steps: usize,
    batch: usize,
    hidden: usize,
}

fn activation(gate: GateActivation) -> Activation {
    match gate {
        GateActivation::Tanh | GateActivation::ScaledTanh => Activation::Tanh,
        GateActivation::Sigmoid => Activation::Sigmoid,
        GateActivation::HardSigmoid => Activation::HardSigmoid(0.2, 0.5),
        GateActivation::Relu => Activation::Relu,
        GateActivation::Linear => Activation::None,
    }
}

/// `lstm`, `gru`, `rnn`.
pub(super) fn recurrent(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Recurrent::of(&l.site).ok()?;
    let &[steps, batch, _] = l.shape(view.x)?.as_slice() else { return None };
    if steps == 0 || batch == 0 {
        return None;
    }
    let mut cells = vec![cell(l, &view, "")?];
    if view.direction == Direction::Bidirectional {
        cells.push(cell(l, &view, "_back")?);
    }
    let mut reads = vec![view.x, l.value("initial_h")?];
    if view.kind == RecurrentKind::Lstm {
        reads.push(l.value("initial_c")?);
    }
    let reverse = view.direction == Direction::Reverse;
    let kernel =
        Box::new(Layer { cells, reverse, sequence: view.output_sequence, steps, batch, hidden: view.hidden });
    Some(Lowered::Kernel { kernel, reads })
}

fn cell(l: &Lowering<'_>, view: &Recurrent, back: &str) -> Option<Cell> {
    let floats = |param: &str| l.weights(l.value(&format!("{param}{back}"))?);
    let optional = |param: &str| match l.value(&format!("{param}{back}")) {
        Some(_) => floats(param).map(Some),
        None => Some(None),
    };
    let (input, hidden) = (floats("weight_ih")?, floats("weight_hh")?);
    let bias = optional("bias")?;
    let (n, isa) = (view.hidden, l.pool.isa());
    let features = input.len().checked_div(n * view.kind.gates())?;
    let shape = RecurrentShape { input: features, hidden: n };
    let (recurrent, output) = (activation(view.recurrent_activation), activation(view.activation));
    if view.kind == RecurrentKind::Lstm {
        let clip = view.clip.map(|c| c as f32);
        let functions = LstmFunctions { recurrent, cell: activation(view.cell_activation), output, clip };
        let weights = RecurrentWeights { input: &input, hidden: &hidden, bias: bias.as_deref() };
        let peephole = optional("peephole")?;
        let plan = LstmPlan::new(shape, weights, peephole.as_deref(), LstmOrder::MIL, functions, isa);
        return plan.ok().map(Cell::Lstm);
    }
    let gates = n * view.kind.gates();
    let given = |v: Option<Floats>| v.unwrap_or_else(|| Floats::Own(vec![0.0; gates]));
    let (bias, input_bias) = (given(bias), given(optional("input_bias")?));
    if bias.len() != gates || input_bias.len() != gates {
        return None;
    }
    let mut sum: Vec<f32> = bias.iter().zip(&*input_bias).map(|(a, b)| a + b).collect();
    if view.kind == RecurrentKind::Gru && view.reset_after {
        // The bias of the candidate's state product is multiplied by the reset gate.
        sum[n..2 * n].copy_from_slice(&input_bias[n..2 * n]);
        let weights = RecurrentWeights { input: &input, hidden: &hidden, bias: Some(&sum) };
        let inner = Some(&bias[n..2 * n]);
        let plan = GruPlan::new(shape, weights, inner, GruOrder::MIL, (recurrent, output), isa);
        return plan.ok().map(Cell::Gru);
    }
    let rule = if view.kind == RecurrentKind::Gru { Rule::Gru(recurrent) } else { Rule::Rnn };
    let weights = RecurrentWeights { input: &input, hidden: &hidden, bias: Some(&sum) };
    PlainPlan::new(shape, weights, rule, output, isa).ok().map(Cell::Plain)
}

impl Cell {
    fn scratch(&self, steps: usize, batch: usize, pool: &Pool) -> usize {
        match self {
            Cell::Lstm(plan) => plan.scratch(steps, batch, pool),
            Cell::Gru(plan) => plan.scratch(steps, batch, pool),
            Cell::Plain(plan) => plan.scratch(steps, batch, pool),
        }
    }
}

impl Kernel for Layer {
    /// States `[batch, hidden]` twice, hidden states `[steps, batch, hidden]`, and what a cell wants.
    fn scratch(&self, pool: &Pool) -> usize {
        let cell = self.cells.iter().map(|c| c.scratch(self.steps, self.batch, pool)).max().unwrap_or(0);
        (self.steps + 2) * self.batch * self.hidden + cell
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        let Layer { steps, batch, hidden, .. } = *self;
        let (state, count) = (batch * hidden, self.cells.len());
        let (h, scratch) = io.scratch.split_at_mut(state);
        let (c, scratch) = scratch.split_at_mut(state);
        let (sequence, scratch) = scratch.split_at_mut(steps * state);
        for (d, cell) in self.cells.iter().enumerate() {
            self.take(io.inputs[1], d, h);
            if let Some(first) = io.inputs.get(2) {
                self.take(first, d, c);
            }
            let reverse = self.reverse || d == 1;
            let x = Sequence { x: io.inputs[0], steps, batch, reverse };
            match cell {
                Cell::Lstm(plan) => plan.run(x, (h, c), sequence, scratch, pool),
                Cell::Gru(plan) => plan.run(x, h, sequence, scratch, pool),
                Cell::Plain(plan) => plan.run(x, h, sequence, scratch, pool),
            }
            if self.sequence {
                for t in 0..steps {
                    // Alone, a reversed layer hands its states out in the order in which they are made.
                    let to = if self.reverse { steps - 1 - t } else { t };
                    let out = &mut io.outputs[0][to * state * count..(to + 1) * state * count];
                    self.put(&sequence[t * state..(t + 1) * state], d, out);
                }
            } else {
                self.put(h, d, io.outputs[0]);
            }
            self.put(h, d, io.outputs[1]);
            if let Some(last) = io.outputs.get_mut(2) {
                self.put(c, d, last);
            }
        }
    }
}

impl Layer {
    /// The part of direction `d` of `[batch, directions * hidden]`.
    fn take(&self, from: &[f32], d: usize, to: &mut [f32]) {
        let width = self.hidden * self.cells.len();
        for (to, from) in to.chunks_exact_mut(self.hidden).zip(from.chunks_exact(width)) {
            to.copy_from_slice(&from[d * self.hidden..(d + 1) * self.hidden]);
        }
    }

    fn put(&self, from: &[f32], d: usize, to: &mut [f32]) {
        let width = self.hidden * self.cells.len();
        for (from, to) in from.chunks_exact(self.hidden).zip(to.chunks_exact_mut(width)) {
            to[d * self.hidden..(d + 1) * self.hidden].copy_from_slice(from);
        }
    }
}
