//! Recurrent layers whose state product stands alone: `rnn`, and the `gru` that resets before the product.

use super::activation::{Activation, Bias, Epilogue};
use super::gemm::{Lhs, Mat, PackedRhs, Rhs, gemm, gemm_scratch};
use super::layout::copy;
use super::recurrent::{RecurrentShape, RecurrentWeights, Sequence, each_vector, row};
use super::simd::Isa;
use super::{Misfit, fits};
use crate::pool::{Disjoint, Pool};

/// How a step renews the hidden state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `h = activation(Wx + b + Uh)`
    Rnn,
    /// Gates `r`, `z` with this function; `o = activation(Wx + b + U(r * h))`, `h = (1 - z) * o + z * h`. Weights in
    /// the order `r`, `o`, `z`.
    Gru(Activation),
}

/// A layer with its weights packed.
pub struct PlainPlan {
    shape: RecurrentShape,
    rule: Rule,
    activation: Activation,
    input: PackedRhs,
    /// Weights of the state for the candidate, and of a `gru` those of `r` and `z`.
    candidate: PackedRhs,
    gates: Option<PackedRhs>,
    bias: Vec<f32>,
}

impl PlainPlan {
    /// Packs the weights.
    ///
    /// # Errors
    /// [`Misfit`] when a length does not fit `shape`.
    pub fn new(
        shape: RecurrentShape,
        weights: RecurrentWeights<'_>,
        rule: Rule,
        activation: Activation,
        isa: Isa,
    ) -> Result<Self, Misfit> {
        let (n, k) = (shape.hidden, shape.input);
        let count = if rule == Rule::Rnn { 1 } else { 3 };
        fits!(n > 0 && k > 0, "recurrent layer {shape:?} without elements");
        let lengths = [weights.input.len(), weights.hidden.len()];
        fits!(lengths == [count * n * k, count * n * n], "weights of {lengths:?} elements for {shape:?}");
        let bias = weights.bias.map_or_else(|| vec![0.0; count * n], <[f32]>::to_vec);
        fits!(bias.len() == count * n, "bias has {} elements, not {}", bias.len(), count * n);
        let pack = |data: &[f32], width: usize, rows: usize| {
            PackedRhs::new(Mat::stored(data, width, rows, true), isa)
        };
        let block = |g: usize| &weights.hidden[g * n * n..(g + 1) * n * n];
        let (candidate, gates) = match rule {
            Rule::Rnn => (pack(block(0), n, n), None),
            Rule::Gru(_) => (pack(block(1), n, n), Some(pack(&[block(0), block(2)].concat(), n, 2 * n))),
        };
        Ok(Self { shape, rule, activation, input: pack(weights.input, k, count * n), candidate, gates, bias })
    }

    /// Gates times hidden.
    fn width(&self) -> usize {
        self.bias.len()
    }

    /// Scratch elements that [`PlainPlan::run`] needs.
    pub fn scratch(&self, steps: usize, batch: usize, pool: &Pool) -> usize {
        let (n, k) = (self.width(), self.shape.input.max(self.shape.hidden));
        steps * batch * n + 4 * batch * self.shape.hidden + gemm_scratch(steps * batch, k, n, pool)
    }

    /// Runs over `sequence`: `h` (`[batch, hidden]`) holds the first state and receives the last, `out`
    /// (`[steps, batch, hidden]`) the states of all steps.
    ///
    /// # Panics
    /// When a length does not fit.
    pub fn run(
        &self,
        sequence: Sequence<'_>,
        h: &mut [f32],
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
    ) {
        let Sequence { x, steps, batch, reverse } = sequence;
        let (n, width, state) = (self.shape.hidden, self.width(), batch * self.shape.hidden);
        assert_eq!((x.len(), h.len()), (steps * batch * self.shape.input, state), "a sequence and its state");
        assert_eq!(out.len(), steps * state, "elements of hidden states");
        let (from_input, scratch) = scratch.split_at_mut(steps * batch * width);
        let (gates, scratch) = scratch.split_at_mut(2 * state);
        let (kept, scratch) = scratch.split_at_mut(state);
        let (candidate, scratch) = scratch.split_at_mut(state);
        let all = Lhs::Plain(Mat::new(x, steps * batch, self.shape.input));
        let biased = Epilogue { bias: Bias::Col(&self.bias), ..Epilogue::default() };
        gemm(all, Rhs::Packed(&self.input), biased, from_input, scratch, pool);
        let isa = self.input.isa();
        let product = |h: &[f32], weights: &PackedRhs, out: &mut [f32], scratch: &mut [f32]| {
            let state = Lhs::Plain(Mat::new(h, batch, n));
            gemm(state, Rhs::Packed(weights), Epilogue::default(), out, scratch, pool);
        };
        let activate = |function: Activation, data: &mut [f32]| {
            Epilogue { activation: function, ..Epilogue::default() }.apply(isa, data, data.len());
        };
        for i in 0..steps {
            let t = if reverse { steps - 1 - i } else { i };
            let from_input = &from_input[t * batch * width..(t + 1) * batch * width];
            if let (Rule::Gru(function), Some(weights)) = (self.rule, &self.gates) {
                product(h, weights, gates, scratch);
                let (gates, kept) = (Disjoint::new(gates), Disjoint::new(kept));
                each_vector(batch, width, pool, |b| {
                    // SAFETY: every vector of the batch has its own parts.
                    let (g, kept) = unsafe { (row(&gates, b, 2 * n), row(&kept, b, n)) };
                    let x = &from_input[b * width..(b + 1) * width];
                    g.iter_mut().zip(x[..n].iter().chain(&x[2 * n..])).for_each(|(g, x)| *g += x);
                    activate(function, g);
                    let state = &h[b * n..(b + 1) * n];
                    kept.iter_mut().zip(state).zip(g).for_each(|((k, h), r)| *k = h * *r);
                });
            }
            let gated = self.gates.is_some();
            product(if gated { kept } else { h }, &self.candidate, candidate, scratch);
            let (made, renewed, gates) = (Disjoint::new(candidate), Disjoint::new(h), &*gates);
            each_vector(batch, width, pool, |b| {
                // SAFETY: every vector of the batch has its own parts.
                let (c, h) = unsafe { (row(&made, b, n), row(&renewed, b, n)) };
                let x = &from_input[b * width + if gated { n } else { 0 }..][..n];
                c.iter_mut().zip(x).for_each(|(c, x)| *c += x);
                activate(self.activation, c);
                if !gated {
                    return h.copy_from_slice(c);
                }
                let updates = &gates[b * 2 * n + n..][..n];
                h.iter_mut().zip(c).zip(updates).for_each(|((h, c), z)| *h = (1.0 - z) * *c + z * *h);
            });
            copy(h, &mut out[t * state..(t + 1) * state], pool);
        }
    }
}
