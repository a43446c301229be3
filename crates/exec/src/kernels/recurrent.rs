//! Recurrent layers over a sequence, in one direction.
//!
//! The products with the input of all steps are one large product; each step adds the product with the hidden state.

use super::activation::{Activation, Bias, Epilogue};
use super::elementwise::GRAIN;
use super::gemm::{Lhs, Mat, PackedRhs, Rhs, gemm, gemm_scratch};
use super::layout::copy;
use super::simd::{Isa, Kernel, Simd};
use super::{Misfit, fits};
use crate::pool::{Disjoint, Pool};

/// Extents of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentShape {
    /// Elements of an input vector.
    pub input: usize,
    /// Elements of a hidden vector.
    pub hidden: usize,
}

/// Weights of a layer; blocks of `hidden` rows, one per gate, in the order that the plan is told.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a> {
    /// `[gates * hidden, input]`
    pub input: &'a [f32],
    /// `[gates * hidden, hidden]`
    pub hidden: &'a [f32],
    /// `[gates * hidden]`
    pub bias: Option<&'a [f32]>,
}

/// The sequence a layer runs over.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// `[steps, batch, input]`
    pub x: &'a [f32],
    /// Steps.
    pub steps: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// From the last step to the first; step `t` of the result then belongs to step `t` of the input.
    pub reverse: bool,
}

/// What both kinds of layer share: the packed weights, gates in our order.
struct Gates {
    shape: RecurrentShape,
    count: usize,
    input: PackedRhs,
    hidden: PackedRhs,
    bias: Vec<f32>,
}

impl Gates {
    /// `order[g]` is the block of `weights` that holds our gate `g`.
    fn new(
        shape: RecurrentShape,
        weights: RecurrentWeights<'_>,
        order: &[usize],
        isa: Isa,
    ) -> Result<Self, Misfit> {
        let (count, h) = (order.len(), shape.hidden);
        fits!((0..count).all(|g| order.contains(&g)), "{order:?} is no order of {count} gates");
        fits!(shape.input > 0 && h > 0, "recurrent layer {shape:?} without elements");
        let rows = |what: &str, data: &[f32], width: usize| {
            let need = count.saturating_mul(h).saturating_mul(width);
            fits!(data.len() == need, "{what} weights have {} elements, not {need}", data.len());
            Ok(order
                .iter()
                .flat_map(|&g| data[g * h * width..(g + 1) * h * width].to_vec())
                .collect::<Vec<f32>>())
        };
        let pack = |data: Vec<f32>, width| PackedRhs::new(Mat::stored(&data, width, count * h, true), isa);
        Ok(Self {
            shape,
            count,
            input: pack(rows("input", weights.input, shape.input)?, shape.input),
            hidden: pack(rows("hidden", weights.hidden, h)?, h),
            bias: weights.bias.map_or(Ok(vec![0.0; count * h]), |bias| rows("bias", bias, 1))?,
        })
    }

    /// Elements of the gates of one vector.
    fn width(&self) -> usize {
        self.count * self.shape.hidden
    }

    /// Scratch: gates of all steps, gates of a step from the hidden state, and the products' own.
    fn scratch(&self, steps: usize, batch: usize, pool: &Pool) -> usize {
        let (n, k) = (self.width(), self.shape.input.max(self.shape.hidden));
        (steps + 1) * batch * n + gemm_scratch(steps * batch, k, n, pool)
    }

    /// Runs the sequence in its order: at every step `cell` gets for each vector of the batch its number, its gates
    /// from the input with bias, those from the hidden state, and the hidden state, which it renews; `out` takes the
    /// states of all steps unless it is empty.
    fn run(
        &self,
        sequence: Sequence<'_>,
        h: &mut [f32],
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
        cell: impl Fn(usize, &mut [f32], &[f32], &mut [f32]) + Sync,
    ) {
        let Sequence { x, steps, batch, reverse } = sequence;
        let (n, width, state) = (self.shape.hidden, self.width(), h.len());
        assert_eq!(x.len(), steps * batch * self.shape.input, "elements of a sequence");
        assert_eq!(state, batch * n, "elements of a hidden state");
        assert!(out.is_empty() || out.len() == steps * state, "elements of hidden states");
        assert!(scratch.len() >= self.scratch(steps, batch, pool), "scratch of a recurrent layer");
        let (from_input, scratch) = scratch.split_at_mut(steps * batch * width);
        let (from_hidden, scratch) = scratch.split_at_mut(batch * width);
        let all = Mat::new(x, steps * batch, self.shape.input);
        let biased = Epilogue { bias: Bias::Col(&self.bias), ..Epilogue::default() };
        gemm(Lhs::Plain(all), Rhs::Packed(&self.input), biased, from_input, scratch, pool);
        for i in 0..steps {
            let t = if reverse { steps - 1 - i } else { i };
            let plain = Epilogue::default();
            gemm(
                Lhs::Plain(Mat::new(h, batch, n)),
                Rhs::Packed(&self.hidden),
                plain,
                from_hidden,
                scratch,
                pool,
            );
            let gates = Disjoint::new(&mut from_input[t * batch * width..(t + 1) * batch * width]);
            let renewed = Disjoint::new(h);
            each_vector(batch, width, pool, |b| {
                // SAFETY: every vector of the batch has its own parts.
                let (gates, h) = unsafe { (row(&gates, b, width), row(&renewed, b, n)) };
                cell(b, gates, &from_hidden[b * width..(b + 1) * width], h);
            });
            if !out.is_empty() {
                copy(h, &mut out[t * state..(t + 1) * state], pool);
            }
        }
    }
}

/// Runs `f` for every vector of a batch, on several threads where their `width` gates are worth it: an activation
/// costs about as much as moving four numbers.
pub(super) fn each_vector(batch: usize, width: usize, pool: &Pool, f: impl Fn(usize) + Sync) {
    pool.parallel_for(batch, GRAIN / (4 * width).max(1), |vectors| vectors.for_each(&f));
}

/// Row `b` of a matrix with `width` columns.
///
/// # Safety
/// No two rows of the same number are alive at the same time.
#[allow(clippy::mut_from_ref)] // as [`Disjoint::slice`]
pub(super) unsafe fn row<'a>(matrix: &'a Disjoint<'_, f32>, b: usize, width: usize) -> &'a mut [f32] {
    // SAFETY: as the caller promises.
    unsafe { matrix.slice(b * width..(b + 1) * width) }
}

/// `x = activation(x)`
struct Activate<'a>(Activation, &'a mut [f32]);

impl Kernel for Activate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for x in self.1.chunks_mut(S::LANES) {
            let y = self.0.apply(s, s.load_part(x));
            s.store_part(x, y);
        }
    }
}

/// Where the blocks of weights of an LSTM's gates stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmOrder {
    /// Input gate.
    pub input: usize,
    /// Forget gate.
    pub forget: usize,
    /// Output gate.
    pub output: usize,
    /// Candidate of the cell.
    pub cell: usize,
}

impl LstmOrder {
    /// The order of MIL: input, forget, output, cell.
    pub const MIL: Self = Self { input: 0, forget: 1, output: 2, cell: 3 };
}

/// The functions of an LSTM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LstmFunctions {
    /// Of the three gates.
    pub recurrent: Activation,
    /// Of the candidate.
    pub cell: Activation,
    /// Of the cell before it becomes the hidden state.
    pub output: Activation,
    /// Bounds the cell to `-clip..=clip`.
    pub clip: Option<f32>,
}

impl Default for LstmFunctions {
    fn default() -> Self {
        let (recurrent, tanh) = (Activation::Sigmoid, Activation::Tanh);
        Self { recurrent, cell: tanh, output: tanh, clip: None }
    }
}

/// A long short-term memory: `c = f * c + i * z`, `h = o * output(c)`.
pub struct LstmPlan {
    gates: Gates,
    peephole: Option<Vec<f32>>,
    functions: LstmFunctions,
}

impl LstmPlan {
    /// Packs the weights; `peephole` is `[3 * hidden]` for the gates input, forget, output.
    ///
    /// # Errors
    /// [`Misfit`] when a length does not fit `shape` or `order` names a block twice.
    pub fn new(
        shape: RecurrentShape,
        weights: RecurrentWeights<'_>,
        peephole: Option<&[f32]>,
        order: LstmOrder,
        functions: LstmFunctions,
        isa: Isa,
    ) -> Result<Self, Misfit> {
        if let Some(p) = peephole {
            fits!(p.len() / 3 == shape.hidden && p.len() % 3 == 0, "peephole has {} elements", p.len());
        }
        let gates = Gates::new(shape, weights, &[order.input, order.forget, order.output, order.cell], isa)?;
        Ok(Self { gates, peephole: peephole.map(<[f32]>::to_vec), functions })
    }

    /// Scratch elements that [`LstmPlan::run`] needs.
    pub fn scratch(&self, steps: usize, batch: usize, pool: &Pool) -> usize {
        self.gates.scratch(steps, batch, pool)
    }

    /// Runs over `sequence`: `h` and `c` (`[batch, hidden]`) hold the first states and receive the last, `out`
    /// (`[steps, batch, hidden]`, or empty when not wanted) the hidden states of all steps.
    ///
    /// # Panics
    /// When a length does not fit.
    pub fn run(
        &self,
        sequence: Sequence<'_>,
        (h, c): (&mut [f32], &mut [f32]),
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
    ) {
        assert_eq!(c.len(), h.len(), "elements of a cell state");
        let (isa, size, c) = (self.gates.input.isa(), self.gates.shape.hidden, Disjoint::new(c));
        self.gates.run(sequence, h, out, scratch, pool, |b, gates, from_hidden, h| {
            gates.iter_mut().zip(from_hidden).for_each(|(g, x)| *g += *x);
            // SAFETY: every vector of the batch has its own part.
            self.cell(isa, gates, unsafe { row(&c, b, size) }, h);
        });
    }

    fn cell(&self, isa: Isa, gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
        let (n, f) = (c.len(), &self.functions);
        let peep = |gates: &mut [f32], c: &[f32], gate: usize| {
            if let Some(p) = &self.peephole {
                let weights = &p[gate * n..(gate + 1) * n];
                gates[gate * n..(gate + 1) * n]
                    .iter_mut()
                    .zip(weights)
                    .zip(c)
                    .for_each(|((g, w), c)| *g += w * c);
            }
        };
        peep(gates, c, 0);
        peep(gates, c, 1);
        isa.run(Activate(f.recurrent, &mut gates[..2 * n]));
        isa.run(Activate(f.cell, &mut gates[3 * n..]));
        for (j, c) in c.iter_mut().enumerate() {
            *c = gates[n + j] * *c + gates[j] * gates[3 * n + j];
            if let Some(clip) = f.clip {
                *c = c.max(-clip).min(clip);
            }
        }
        peep(gates, c, 2);
        isa.run(Activate(f.recurrent, &mut gates[2 * n..3 * n]));
        h.copy_from_slice(c);
        isa.run(Activate(f.output, h));
        h.iter_mut().zip(&gates[2 * n..3 * n]).for_each(|(h, o)| *h *= o);
    }
}

/// Where the blocks of weights of a GRU's gates stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GruOrder {
    /// Reset gate.
    pub reset: usize,
    /// Candidate of the hidden state.
    pub output: usize,
    /// Update gate.
    pub update: usize,
}

impl GruOrder {
    /// The order of MIL: reset, output, update.
    pub const MIL: Self = Self { reset: 0, output: 1, update: 2 };
}

/// A gated recurrent unit: `o = activation(Wx + b + r * (Uh + d))`, `h = (1 - z) * o + z * h`.
pub struct GruPlan {
    gates: Gates,
    recurrent: Activation,
    activation: Activation,
    hidden_bias: Option<Vec<f32>>,
}

impl GruPlan {
    /// Packs the weights; `hidden_bias` (`[hidden]`) is `d`, what is added to the candidate's hidden product before
    /// the reset gate multiplies it; `functions` are those of the gates and of the candidate.
    ///
    /// # Errors
    /// [`Misfit`] when a length does not fit `shape` or `order` names a block twice.
    pub fn new(
        shape: RecurrentShape,
        weights: RecurrentWeights<'_>,
        hidden_bias: Option<&[f32]>,
        order: GruOrder,
        (recurrent, activation): (Activation, Activation),
        isa: Isa,
    ) -> Result<Self, Misfit> {
        if let Some(b) = hidden_bias {
            fits!(b.len() == shape.hidden, "hidden bias has {} elements, not {}", b.len(), shape.hidden);
        }
        let gates = Gates::new(shape, weights, &[order.reset, order.update, order.output], isa)?;
        Ok(Self { gates, recurrent, activation, hidden_bias: hidden_bias.map(<[f32]>::to_vec) })
    }

    /// Scratch elements that [`GruPlan::run`] needs.
    pub fn scratch(&self, steps: usize, batch: usize, pool: &Pool) -> usize {
        self.gates.scratch(steps, batch, pool)
    }

    /// Runs over `sequence`: `h` (`[batch, hidden]`) holds the first state and receives the last, `out`
    /// (`[steps, batch, hidden]`, or empty when not wanted) the states of all steps.
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
        self.gates.run(sequence, h, out, scratch, pool, |_, gates, from_hidden, h| {
            self.cell(gates, from_hidden, h);
        });
    }

    fn cell(&self, gates: &mut [f32], from_hidden: &[f32], h: &mut [f32]) {
        let (n, isa) = (h.len(), self.gates.input.isa());
        let (both, candidate) = gates.split_at_mut(2 * n);
        both.iter_mut().zip(from_hidden).for_each(|(g, x)| *g += x);
        isa.run(Activate(self.recurrent, both));
        for (j, o) in candidate.iter_mut().enumerate() {
            let bias = self.hidden_bias.as_ref().map_or(0.0, |b| b[j]);
            *o += both[j] * (from_hidden[2 * n + j] + bias);
        }
        isa.run(Activate(self.activation, candidate));
        for (j, h) in h.iter_mut().enumerate() {
            *h = (1.0 - both[n + j]) * candidate[j] + both[n + j] * *h;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    const SHAPE: RecurrentShape = RecurrentShape { input: 7, hidden: 19 };
    const STEPS: usize = 5;
    const BATCH: usize = 3;

    /// `W[block] x + U[block] h` for hidden unit `j`.
    fn product(weights: &[f32], block: usize, j: usize, x: &[f64]) -> f64 {
        let row = (block * SHAPE.hidden + j) * x.len();
        weights[row..row + x.len()].iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn vectors(rng: &mut Rng, gates: usize) -> [Vec<f32>; 5] {
        let h = SHAPE.hidden;
        [
            rng.floats(STEPS * BATCH * SHAPE.input),
            rng.floats(gates * h * SHAPE.input),
            rng.floats(gates * h * h),
            rng.floats(gates * h),
            rng.floats(BATCH * h),
        ]
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| f64::from(x)).collect()
    }

    fn order_of_steps(reverse: bool) -> Vec<usize> {
        if reverse { (0..STEPS).rev().collect() } else { (0..STEPS).collect() }
    }

    #[test]
    fn lstm_agrees_with_its_formulas() {
        let (mut rng, n) = (Rng::new(1), SHAPE.hidden);
        let [x, wi, wh, bias, h0] = vectors(&mut rng, 4);
        let (c0, peephole) = (rng.floats(BATCH * n), rng.floats(3 * n));
        for (reverse, clip) in [(false, None), (true, Some(0.4))] {
            let mut want = vec![0f32; STEPS * BATCH * n];
            let mut cells = Vec::new();
            for b in 0..BATCH {
                let (mut h, mut c) = (wide(&h0[b * n..(b + 1) * n]), wide(&c0[b * n..(b + 1) * n]));
                for t in order_of_steps(reverse) {
                    let x = wide(&x[(t * BATCH + b) * SHAPE.input..][..SHAPE.input]);
                    let sum = |block: usize, j: usize| {
                        product(&wi, block, j, &x)
                            + product(&wh, block, j, &h)
                            + f64::from(bias[block * n + j])
                    };
                    let peep = |gate: usize, j: usize, c: f64| f64::from(peephole[gate * n + j]) * c;
                    let mut next = Vec::new();
                    for (j, &before) in c.iter().enumerate() {
                        let (i, f) = (
                            sigmoid(sum(0, j) + peep(0, j, before)),
                            sigmoid(sum(1, j) + peep(1, j, before)),
                        );
                        let cell = f * before + i * sum(3, j).tanh();
                        let cell = clip.map_or(cell, |l: f32| cell.clamp(-f64::from(l), f64::from(l)));
                        next.push((cell, sigmoid(sum(2, j) + peep(2, j, cell)) * cell.tanh()));
                    }
                    (c, h) = next.into_iter().unzip();
                    let to = &mut want[(t * BATCH + b) * n..][..n];
                    to.iter_mut().zip(&h).for_each(|(o, h)| *o = *h as f32);
                }
                cells.extend(c.iter().map(|&c| c as f32));
            }
            on_every_pool(|pool| {
                let weights = RecurrentWeights { input: &wi, hidden: &wh, bias: Some(&bias) };
                let functions = LstmFunctions { clip, ..LstmFunctions::default() };
                let plan =
                    LstmPlan::new(SHAPE, weights, Some(&peephole), LstmOrder::MIL, functions, pool.isa())
                        .unwrap();
                let (mut h, mut c, mut out) = (h0.clone(), c0.clone(), vec![f32::NAN; want.len()]);
                let mut scratch = vec![f32::NAN; plan.scratch(STEPS, BATCH, pool)];
                let sequence = Sequence { x: &x, steps: STEPS, batch: BATCH, reverse };
                plan.run(sequence, (&mut h, &mut c), &mut out, &mut scratch, pool);
                assert_close(&out, &want, 1e-5, "hidden states");
                assert_close(&c, &cells, 1e-5, "cell");
                let last = if reverse { 0 } else { STEPS - 1 };
                assert_close(&h, &want[last * BATCH * n..][..BATCH * n], 1e-5, "last state");
            });
        }
    }

    #[test]
    fn gru_agrees_with_its_formulas_in_any_order_of_gates() {
        let (mut rng, n) = (Rng::new(2), SHAPE.hidden);
        let [x, wi, wh, bias, h0] = vectors(&mut rng, 3);
        let hidden_bias = rng.floats(n);
        for order in [GruOrder::MIL, GruOrder { reset: 1, output: 2, update: 0 }] {
            let mut want = vec![0f32; STEPS * BATCH * n];
            for b in 0..BATCH {
                let mut h = wide(&h0[b * n..(b + 1) * n]);
                for t in 0..STEPS {
                    let x = wide(&x[(t * BATCH + b) * SHAPE.input..][..SHAPE.input]);
                    let input =
                        |block: usize, j: usize| product(&wi, block, j, &x) + f64::from(bias[block * n + j]);
                    let unit = |j: usize| {
                        let r = sigmoid(input(order.reset, j) + product(&wh, order.reset, j, &h));
                        let z = sigmoid(input(order.update, j) + product(&wh, order.update, j, &h));
                        let inner = product(&wh, order.output, j, &h) + f64::from(hidden_bias[j]);
                        (1.0 - z) * (input(order.output, j) + r * inner).tanh() + z * h[j]
                    };
                    h = (0..n).map(unit).collect();
                    let to = &mut want[(t * BATCH + b) * n..][..n];
                    to.iter_mut().zip(&h).for_each(|(o, h)| *o = *h as f32);
                }
            }
            on_every_pool(|pool| {
                let weights = RecurrentWeights { input: &wi, hidden: &wh, bias: Some(&bias) };
                let functions = (Activation::Sigmoid, Activation::Tanh);
                let plan =
                    GruPlan::new(SHAPE, weights, Some(&hidden_bias), order, functions, pool.isa()).unwrap();
                let (mut h, mut out) = (h0.clone(), vec![f32::NAN; want.len()]);
                let mut scratch = vec![f32::NAN; plan.scratch(STEPS, BATCH, pool)];
                let sequence = Sequence { x: &x, steps: STEPS, batch: BATCH, reverse: false };
                plan.run(sequence, &mut h, &mut out, &mut scratch, pool);
                assert_close(&out, &want, 1e-5, "hidden states");
            });
        }
    }

    #[test]
    fn impossible_layers_are_refused() {
        let weights = RecurrentWeights { input: &[0.0; 21], hidden: &[0.0; 9], bias: None };
        let shape = RecurrentShape { input: 7, hidden: 1 };
        let functions = (Activation::Sigmoid, Activation::Tanh);
        let refused =
            GruPlan::new(shape, weights, None, GruOrder::MIL, functions, Isa::best()).err().unwrap();
        assert_eq!(refused.to_string(), "hidden weights have 9 elements, not 3");
        let order = GruOrder { reset: 0, output: 0, update: 1 };
        assert!(GruPlan::new(shape, weights, None, order, functions, Isa::best()).is_err());
    }
}
