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

/// Products of a step, for one gate, from which on several threads share them.
const SMALL: usize = 1 << 17;

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
    fn scratch(&self, pool: &Pool) -> usize {
        self.own_scratch(pool) * if self.apart(pool) { self.cells.len() } else { 1 }
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        let (own, inputs, outputs) = (self.own_scratch(pool), io.inputs, io.outputs);
        let directions = 0..self.cells.len();
        if self.apart(pool) {
            let scratch = &mut io.scratch[..own * self.cells.len()];
            pool.chunks_mut(scratch, own, |d, scratch| self.direction(d, inputs, scratch, pool));
            directions.for_each(|d| self.hand_out(d, &io.scratch[d * own..], outputs));
            return;
        }
        for d in directions {
            self.direction(d, inputs, io.scratch, pool);
            self.hand_out(d, io.scratch, outputs);
        }
    }
}

impl Layer {
    /// True when directions run at the same time: their steps are too small for several threads.
    fn apart(&self, pool: &Pool) -> bool {
        let product = self.batch.saturating_mul(self.hidden).saturating_mul(self.hidden);
        self.cells.len() > 1 && pool.threads() > 1 && product < SMALL
    }

    /// States `[batch, hidden]` twice, hidden states `[steps, batch, hidden]`, and what a cell wants.
    fn own_scratch(&self, pool: &Pool) -> usize {
        let cell = self.cells.iter().map(|c| c.scratch(self.steps, self.batch, pool)).max().unwrap_or(0);
        (self.steps + 2) * self.batch * self.hidden + cell
    }

    /// Runs one direction; its states are then where `scratch` begins.
    fn direction(&self, d: usize, inputs: &[&[f32]], scratch: &mut [f32], pool: &Pool) {
        let Layer { steps, batch, hidden, .. } = *self;
        let (h, scratch) = scratch.split_at_mut(batch * hidden);
        let (c, scratch) = scratch.split_at_mut(batch * hidden);
        let (sequence, scratch) = scratch.split_at_mut(steps * batch * hidden);
        self.take(inputs[1], d, h);
        if let Some(first) = inputs.get(2) {
            self.take(first, d, c);
        }
        let x = Sequence { x: inputs[0], steps, batch, reverse: self.reverse || d == 1 };
        match &self.cells[d] {
            Cell::Lstm(plan) => plan.run(x, (h, c), sequence, scratch, pool),
            Cell::Gru(plan) => plan.run(x, h, sequence, scratch, pool),
            Cell::Plain(plan) => plan.run(x, h, sequence, scratch, pool),
        }
    }

    /// Writes what [`Layer::direction`] left in `scratch` into the results.
    fn hand_out(&self, d: usize, scratch: &[f32], outputs: &mut [&mut [f32]]) {
        let (steps, state) = (self.steps, self.batch * self.hidden);
        let (h, rest) = scratch.split_at(state);
        let (c, rest) = rest.split_at(state);
        if self.sequence {
            let wide = state * self.cells.len();
            for (t, made) in rest[..steps * state].chunks_exact(state).enumerate() {
                // Alone, a reversed layer hands its states out in the order in which they are made.
                let to = if self.reverse { steps - 1 - t } else { t };
                self.put(made, d, &mut outputs[0][to * wide..(to + 1) * wide]);
            }
        } else {
            self.put(h, d, outputs[0]);
        }
        self.put(h, d, outputs[1]);
        if let Some(last) = outputs.get_mut(2) {
            self.put(c, d, last);
        }
    }

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
