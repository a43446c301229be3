//! Reference evaluation of recurrent layers, step by step in `f64`.

use super::view::{Direction, Recurrent, RecurrentKind, extent};
use crate::eval::EvalSite;
use crate::ops::Fault;
use crate::ops::rearrange::made;
use crate::{Literal, Tensor};
use anemone_tensor::DType;

/// The weights of one direction, rows of all gates one after the other.
struct Cell {
    /// `[gates * hidden, features]`.
    input: Vec<f64>,
    /// `[gates * hidden, hidden]`.
    state: Vec<f64>,
    /// `[gates * hidden]`.
    bias: Vec<f64>,
    /// `[gates * hidden]`, of a `gru`.
    input_bias: Vec<f64>,
    /// `[3 * hidden]`, of an `lstm`.
    peephole: Vec<f64>,
    features: usize,
}

impl Cell {
    fn of(site: &EvalSite<'_>, view: &Recurrent, back: &str, features: usize) -> Result<Cell, Fault> {
        let optional = |param: &str, vectors: usize| {
            let count = extent(view, vectors);
            let values = site.optional(param).map_or_else(|| vec![0.0; count], |t| t.to_f64s());
            let actual = format!("of {} elements", values.len());
            if values.len() == count {
                Ok(values)
            } else {
                Err(Fault::arg(param, actual, format!("of {count}")))
            }
        };
        let gates = view.kind.gates();
        let (input, state) =
            (site.tensor(&format!("weight_ih{back}"))?, site.tensor(&format!("weight_hh{back}"))?);
        let rows = extent(view, gates);
        if input.shape() != [rows, features] || state.shape() != [rows, view.hidden] {
            let actual = format!("of shape {:?} beside {:?}", input.shape(), state.shape());
            return Err(Fault::arg("weight_ih", actual, format!("of shape [{rows}, {features}]")));
        }
        Ok(Cell {
            input: input.to_f64s(),
            state: state.to_f64s(),
            bias: optional(&format!("bias{back}"), gates)?,
            input_bias: optional("input_bias", gates)?,
            peephole: optional(&format!("peephole{back}"), 3)?,
            features,
        })
    }

    /// Row `row` of the input weights times `x`.
    fn input_product(&self, row: usize, x: &[f64]) -> f64 {
        dot(&self.input[row * self.features..][..self.features], x)
    }

    /// Row `row` of the state weights times `h`.
    fn state_product(&self, row: usize, h: &[f64]) -> f64 {
        dot(&self.state[row * h.len()..][..h.len()], h)
    }

    /// The sum that gate `gate` of hidden element `i` sees.
    fn sum(&self, gate: usize, i: usize, x: &[f64], h: &[f64]) -> f64 {
        let row = gate * h.len() + i;
        self.input_product(row, x) + self.input_bias[row] + self.state_product(row, h) + self.bias[row]
    }

    /// One step: replaces the hidden and the cell state of one batch item.
    fn step(&self, view: &Recurrent, x: &[f64], h: &mut Vec<f64>, c: &mut [f64]) {
        *h = match view.kind {
            RecurrentKind::Rnn => (0..h.len()).map(|i| view.activation.apply(self.sum(0, i, x, h))).collect(),
            RecurrentKind::Gru => self.gru(view, x, h),
            RecurrentKind::Lstm => self.lstm(view, x, h, c),
        };
    }

    fn gru(&self, view: &Recurrent, x: &[f64], h: &[f64]) -> Vec<f64> {
        let n = h.len();
        let gate = |gate: usize, i: usize| view.recurrent_activation.apply(self.sum(gate, i, x, h));
        let reset: Vec<f64> = (0..n).map(|i| gate(0, i)).collect();
        let kept: Vec<f64> = reset.iter().zip(h).map(|(r, h)| r * h).collect();
        let output = |i: usize| {
            let row = n + i;
            let state = match view.reset_after {
                true => reset[i] * (self.state_product(row, h) + self.bias[row]),
                false => self.state_product(row, &kept) + self.bias[row],
            };
            view.activation.apply(self.input_product(row, x) + self.input_bias[row] + state)
        };
        let next = |i: usize| {
            let update = gate(2, i);
            (1.0 - update) * output(i) + update * h[i]
        };
        (0..n).map(next).collect()
    }

    /// Gates are input, forget, output, cell; the first two look at the old cell state, the third at the new one.
    fn lstm(&self, view: &Recurrent, x: &[f64], h: &[f64], c: &mut [f64]) -> Vec<f64> {
        let n = h.len();
        let weigh = |sum: f64| view.recurrent_activation.apply(sum);
        let one = |(i, c): (usize, &mut f64)| {
            let look = |gate: usize, c: f64| self.peephole[gate * n + i] * c;
            let input = weigh(self.sum(0, i, x, h) + look(0, *c));
            let forget = weigh(self.sum(1, i, x, h) + look(1, *c));
            let cell = view.cell_activation.apply(self.sum(3, i, x, h));
            *c = forget * *c + input * cell;
            if let Some(limit) = view.clip {
                *c = c.min(limit).max(-limit);
            }
            weigh(self.sum(2, i, x, h) + look(2, *c)) * view.activation.apply(*c)
        };
        c.iter_mut().enumerate().map(one).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What one direction makes: hidden states `[steps, batch, hidden]` and the last states `[batch, hidden]`.
struct Run {
    sequence: Vec<f64>,
    hidden: Vec<f64>,
    cell: Vec<f64>,
}

/// The sequence and the first states.
struct Input {
    x: Vec<f64>,
    shape: [usize; 3],
    hidden: Vec<f64>,
    cell: Vec<f64>,
}

impl Input {
    fn of(site: &EvalSite<'_>, view: &Recurrent) -> Result<Input, Fault> {
        let x = site.tensor("x")?;
        let &[steps, batch, features] = x.shape() else {
            return Err(Fault::arg("x", format!("of shape {:?}", x.shape()), "of rank 3"));
        };
        let wanted = [batch, extent(view, view.directions())];
        let state = |param: &str| {
            let t = site.tensor(param)?;
            let actual = format!("of shape {:?}", t.shape());
            if t.shape() == wanted {
                Ok(t.to_f64s())
            } else {
                Err(Fault::arg(param, actual, format!("{wanted:?}")))
            }
        };
        let hidden = state("initial_h")?;
        let cell =
            if view.kind == RecurrentKind::Lstm { state("initial_c")? } else { vec![0.0; hidden.len()] };
        Ok(Input { x: x.to_f64s(), shape: [steps, batch, features], hidden, cell })
    }

    /// Takes all steps.
    fn run(&self, view: &Recurrent, cell: &Cell, pass: Pass) -> Run {
        let [steps, batch, features] = self.shape;
        let (n, width) = (view.hidden, view.hidden * view.directions());
        let mut run = Run { sequence: vec![0.0; steps * batch * n], hidden: Vec::new(), cell: Vec::new() };
        for b in 0..batch {
            let state = b * width + if pass == Pass::Back { n } else { 0 };
            let mut h = self.hidden[state..][..n].to_vec();
            let mut c = self.cell[state..][..n].to_vec();
            for i in 0..steps {
                let (from, to) = pass.step(i, steps);
                let x = &self.x[(from * batch + b) * features..][..features];
                cell.step(view, x, &mut h, &mut c);
                run.sequence[(to * batch + b) * n..][..n].copy_from_slice(&h);
            }
            run.hidden.extend(h);
            run.cell.extend(c);
        }
        run
    }
}

/// One pass over the sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// First step first.
    Forward,
    /// Last step first, hidden states in the order in which they are made.
    Reverse,
    /// Last step first, each hidden state beside its step: the second pass of two.
    Back,
}

impl Pass {
    /// The `i`-th step that is taken, and where its hidden state goes.
    fn step(self, i: usize, steps: usize) -> (usize, usize) {
        let mirrored = steps - 1 - i;
        match self {
            Pass::Forward => (i, i),
            Pass::Reverse => (mirrored, i),
            Pass::Back => (mirrored, mirrored),
        }
    }
}

/// Puts the rows of both directions side by side.
fn side_by_side(runs: &[Run], n: usize, part: impl Fn(&Run) -> &[f64]) -> Vec<f64> {
    let rows = runs.first().map_or(0, |r| part(r).len() / n.max(1));
    let mut out = Vec::with_capacity(rows.saturating_mul(n).saturating_mul(runs.len()));
    for i in 0..rows {
        runs.iter().for_each(|r| out.extend_from_slice(&part(r)[i * n..][..n]));
    }
    out
}

/// Evaluates any of the three layers.
pub(super) fn eval(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let view = Recurrent::of(&site.site)?;
    let input = Input::of(site, &view)?;
    let [steps, batch, features] = input.shape;
    let width = extent(&view, view.directions());
    made(&[steps, batch, width], input.x.len())?;
    let forward = Cell::of(site, &view, "", features)?;
    let first = if view.direction == Direction::Reverse { Pass::Reverse } else { Pass::Forward };
    let mut runs = vec![input.run(&view, &forward, first)];
    if view.direction == Direction::Bidirectional {
        runs.push(input.run(&view, &Cell::of(site, &view, "_back", features)?, Pass::Back));
    }
    let dtype = site.result_dtype(0)?;
    let hidden = side_by_side(&runs, view.hidden, |r| &r.hidden);
    let (steps, sequence) = match view.output_sequence {
        true => (steps, side_by_side(&runs, view.hidden, |r| &r.sequence)),
        false => (1, hidden.clone()),
    };
    let mut out =
        vec![tensor(dtype, &[steps, batch, width], &sequence)?, tensor(dtype, &[batch, width], &hidden)?];
    if view.kind == RecurrentKind::Lstm {
        out.push(tensor(dtype, &[batch, width], &side_by_side(&runs, view.hidden, |r| &r.cell))?);
    }
    Ok(out)
}

fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Literal, Fault> {
    Tensor::from_f64s(dtype, shape, values).map(Literal::Tensor).map_err(|e| Fault::new(e.to_string()))
}
