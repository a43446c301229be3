//! Recurrent layers.

use crate::onnx::node::{Done, Node, int32};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Opset, Tensor, ValueId};

/// Steps up to which a layer that has no MIL op of its own is written out step by step.
const UNROLLED_STEPS: usize = 64;

/// What the three layers have in common.
struct Layer {
    /// `[steps, batch, features]`.
    x: ValueId,
    steps: Option<usize>,
    batch: Option<usize>,
    hidden: usize,
    /// True for each direction that runs from the last step to the first.
    reversed: Vec<bool>,
    batch_first: bool,
    activations: Vec<String>,
    /// `[directions, gates * hidden, features]`.
    input: Tensor,
    /// `[directions, gates * hidden, hidden]`.
    state: Tensor,
    /// `[directions, 2 * gates * hidden]`.
    bias: Option<Tensor>,
}

/// The results of one direction, or of both side by side: sequence `[steps, batch, width]`, last states `[batch, width]`.
struct Results {
    sequence: ValueId,
    last: Vec<ValueId>,
}

impl Layer {
    /// Reads what is common; `defaults` are the activations of one direction.
    fn of(n: &mut Node<'_, '_>, gates: usize, defaults: &[&str]) -> Result<Layer, Fault> {
        let reversed = match n.text("direction").as_deref() {
            None | Some("" | "forward") => vec![false],
            Some("reverse") => vec![true],
            Some("bidirectional") => vec![false, true],
            Some(other) => {
                return Err(Fault::new(format!(
                    "direction is {other}, but must be forward, reverse or bidirectional"
                )));
            }
        };
        let count = reversed.len();
        if n.float("clip").is_some_and(|c| c != 0.0) {
            return Err(Fault::new("clips what the activations get, which MIL cannot do"));
        }
        let batch_first = n.int("layout").unwrap_or(0) != 0;
        let names = [n.inner("x")];
        let given = n.input(0)?;
        let x = if batch_first {
            n.op("transpose").arg("x", given).ints("perm", &[1, 0, 2]).one(&names[0])?
        } else {
            given
        };
        let dims = n.dims(x)?;
        if dims.len() != 3 {
            return Err(n.impossible(format!("X has {} dims, but must have 3", dims.len())));
        }
        let input = weight(n, 1, "W")?;
        let state = weight(n, 2, "R")?;
        let bias = match n.maybe(3)? {
            None => None,
            Some(_) => Some(weight(n, 3, "B")?),
        };
        let hidden = state.shape().last().copied().unwrap_or(0);
        let rows = gates.saturating_mul(hidden);
        let fits = input.rank() == 3
            && input.shape()[..2] == [count, rows]
            && state.shape() == [count, rows, hidden]
            && bias.as_ref().is_none_or(|b| b.shape() == [count, 2 * rows]);
        if !fits || hidden == 0 {
            let shapes = (input.shape(), state.shape(), bias.as_ref().map(Tensor::shape));
            return Err(Fault::new(format!(
                "W, R and B have shapes {shapes:?}, which are not those of {gates} gates in {count} directions"
            )));
        }
        let mut activations: Vec<String> = n.texts("activations").unwrap_or_default();
        if activations.is_empty() {
            activations =
                defaults.iter().cycle().take(defaults.len() * count).map(|&s| s.to_owned()).collect();
        }
        if activations.len() != defaults.len() * count {
            return Err(Fault::new(format!(
                "has {} activations, but must have {}",
                activations.len(),
                defaults.len() * count
            )));
        }
        let layer = Layer {
            x,
            steps: dims[0].known(),
            batch: dims[1].known(),
            hidden,
            reversed,
            batch_first,
            activations: activations.iter().map(|a| activation(n, a)).collect::<Result<_, _>>()?,
            input,
            state,
            bias,
        };
        layer.whole_sequences(n)?;
        Ok(layer)
    }

    /// Refuses sequences of different lengths.
    fn whole_sequences(&self, n: &mut Node<'_, '_>) -> Done {
        let Some(lengths) = n.constant_ints(4, "sequence_lens")? else { return Ok(()) };
        let steps = self.steps.map(anemone_tensor::num::i64_of);
        if lengths.iter().all(|&l| Some(l) == steps) {
            return Ok(());
        }
        Err(Fault::new(format!("sequence_lens is {lengths:?}, but only whole sequences are supported")))
    }

    fn directions(&self) -> usize {
        self.reversed.len()
    }

    /// Blocks of `hidden` rows of direction `d` in another order, as a constant `[gates * hidden, columns]`.
    fn rows(
        &self,
        n: &mut Node<'_, '_>,
        what: &str,
        of: &Tensor,
        d: usize,
        order: &[usize],
    ) -> Result<ValueId, Fault> {
        let columns = of.shape().last().copied().unwrap_or(0);
        let all = of.to_f32s();
        let block = self.hidden * columns;
        let rows = order.len() * self.hidden;
        let start = d * rows * columns;
        let data: Vec<f32> =
            order.iter().flat_map(|&g| all[start + g * block..][..block].iter().copied()).collect();
        constant(n, what, &[rows, columns], &data, of.dtype())
    }

    /// The two biases of direction `d`, gates in another order: that of the input and that of the state.
    fn biases(&self, d: usize, order: &[usize]) -> Option<[Vec<f32>; 2]> {
        let all = self.bias.as_ref()?.to_f32s();
        let rows = order.len() * self.hidden;
        let half = |at: usize| {
            let from = &all[d * 2 * rows + at * rows..][..rows];
            order.iter().flat_map(|&g| from[g * self.hidden..][..self.hidden].iter().copied()).collect()
        };
        Some([half(0), half(1)])
    }

    /// The sum of both biases, as a constant.
    fn bias(
        &self,
        n: &mut Node<'_, '_>,
        what: &str,
        d: usize,
        order: &[usize],
    ) -> Result<Option<ValueId>, Fault> {
        let Some([input, state]) = self.biases(d, order) else { return Ok(None) };
        let sum: Vec<f32> = input.iter().zip(&state).map(|(a, b)| a + b).collect();
        constant(n, what, &[sum.len()], &sum, self.input.dtype()).map(Some)
    }

    /// The first states, `[directions, batch, hidden]` (`[batch, directions, hidden]` where batches come first) or
    /// left out, as `[batch, directions * hidden]`.
    fn first(&self, n: &mut Node<'_, '_>, operand: usize, what: &str) -> Result<ValueId, Fault> {
        let (count, width) = (self.directions(), self.directions() * self.hidden);
        let Some(given) = n.maybe(operand)? else {
            let batch = self.batch.ok_or_else(|| {
                Fault::new(format!("{what} is left out with a free batch; fix the input shapes with --input"))
            })?;
            let dtype = n.dtype(self.x)?;
            n.room(&[batch, width])?;
            let zeros = Tensor::zeros(dtype, [batch, width]).map_err(|e| Fault::new(e.to_string()))?;
            return Ok(n.constant_value(what, &zeros));
        };
        let names = [n.inner(&format!("{what}_batch")), n.inner(what)];
        let at = if self.batch_first { 1 } else { 0 };
        if count == 1 {
            return n.op("squeeze").arg("x", given).ints("axes", &[at]).one(&names[1]);
        }
        let batched = match self.batch_first {
            true => given,
            false => n.op("transpose").arg("x", given).ints("perm", &[1, 0, 2]).one(&names[0])?,
        };
        let width = int32(anemone_tensor::num::i64_of(width))?;
        n.op("reshape").arg("x", batched).ints("shape", &[-1, width]).one(&names[1])
    }

    /// Part `d` of `[batch, directions * hidden]`.
    fn part(&self, n: &mut Node<'_, '_>, v: ValueId, d: usize, what: &str) -> Result<ValueId, Fault> {
        if self.directions() == 1 {
            return Ok(v);
        }
        let h = int32(anemone_tensor::num::i64_of(self.hidden))?;
        let (d, inner) = (int32(anemone_tensor::num::i64_of(d))?, n.inner(&format!("{what}_{d}")));
        n.op("slice_by_index")
            .arg("x", v)
            .ints("begin", &[0, d * h])
            .ints("end", &[0, (d + 1) * h])
            .bools("begin_mask", &[true, false])
            .bools("end_mask", &[true, false])
            .one(&inner)
    }

    /// Binds `Y`, `Y_h` and `Y_c`.
    fn finish(&self, n: &mut Node<'_, '_>, results: Results) -> Done {
        let sequence_axis = if self.batch_first { 2 } else { 1 };
        if n.wants(0) {
            let perm = if self.batch_first { [1, 0, 2, 3] } else { [0, 2, 1, 3] };
            let y = self.spread(n, results.sequence, 2, sequence_axis, &perm, 0)?;
            n.bind(0, y)?;
        }
        for (i, last) in results.last.into_iter().enumerate().filter(|(i, _)| *i < 2) {
            if n.wants(i + 1) {
                let (axis, perm) = if self.batch_first { (1, [0, 1, 2]) } else { (0, [1, 0, 2]) };
                let y = self.spread(n, last, 1, axis, &perm, i + 1)?;
                n.bind(i + 1, y)?;
            }
        }
        Ok(())
    }

    /// The first dim back to front. MIL's own `reverse` hands out steps in the order in which they are made; with the
    /// operand and the result turned around, each result stands beside its step, as in ONNX.
    fn turned(&self, n: &mut Node<'_, '_>, v: ValueId, what: &str) -> Result<ValueId, Fault> {
        let inner = n.inner(what);
        n.op("reverse").arg("x", v).ints("axes", &[0]).one(&inner)
    }

    /// Cuts the last dim of `v` into directions and hidden, then puts the dims in ONNX's order.
    fn spread(
        &self,
        n: &mut Node<'_, '_>,
        v: ValueId,
        at: usize,
        axis: i32,
        perm: &[i32],
        output: usize,
    ) -> Result<ValueId, Fault> {
        let name = n.proto.output[output].clone();
        let names = [format!("{name}_batch_first"), format!("{name}_directions")];
        if self.directions() == 1 {
            let batch_first = self.batch_first && at == 2;
            let v = match batch_first {
                true => n.op("transpose").arg("x", v).ints("perm", &[1, 0, 2]).one(&names[0])?,
                false => v,
            };
            return n.op("expand_dims").arg("x", v).ints("axes", &[axis]).one(&name);
        }
        let mut dims = n.dims(v)?;
        dims.truncate(at);
        dims.extend([self.directions().into(), self.hidden.into()]);
        let cut = n.reshape(v, &dims, &names[1])?;
        let moves: Vec<i32> = match (at, self.batch_first) {
            // [steps, batch, directions, hidden] to [batch, steps, directions, hidden].
            (2, _) => perm.to_vec(),
            (_, true) => return Ok(cut),
            (_, false) => perm.to_vec(),
        };
        n.op("transpose").arg("x", cut).ints("perm", &moves).one(&name)
    }
}

/// A constant operand as floats.
fn weight(n: &mut Node<'_, '_>, i: usize, what: &str) -> Result<Tensor, Fault> {
    let computed =
        || Fault::new(format!("{what} (operand {i}) is computed at run time; only a constant is supported"));
    n.constant(i)?.ok_or_else(computed)
}

fn constant(
    n: &mut Node<'_, '_>,
    what: &str,
    shape: &[usize],
    data: &[f32],
    dtype: DType,
) -> Result<ValueId, Fault> {
    let shape = if shape.len() == 2 && shape[1] == 0 { &shape[..1] } else { shape };
    let t = Tensor::from_f32s(shape, data).map_err(|e| Fault::new(e.to_string()))?;
    Ok(n.constant_value(what, &t.cast(dtype)))
}

/// MIL's name of an activation.
fn activation(n: &Node<'_, '_>, name: &str) -> Result<String, Fault> {
    let scaled = n.floats("activation_alpha").is_some_and(|a| !a.is_empty())
        || n.floats("activation_beta").is_some_and(|b| !b.is_empty());
    let known = match name.to_ascii_lowercase().as_str() {
        "sigmoid" => "sigmoid",
        "tanh" => "tanh",
        "relu" => "relu",
        "hardsigmoid" if !scaled => "hard_sigmoid",
        _ => {
            return Err(Fault::new(format!(
                "activation {name} is not supported; supported are Sigmoid, Tanh, Relu and HardSigmoid without parameters"
            )));
        }
    };
    Ok(known.to_owned())
}

/// ONNX's gates are input, output, forget, cell; MIL's input, forget, output, cell.
const LSTM_ORDER: [usize; 4] = [0, 2, 1, 3];

/// `LSTM`.
pub(crate) fn lstm(n: &mut Node<'_, '_>) -> Done {
    if n.int("input_forget").unwrap_or(0) != 0 {
        return Err(Fault::new("couples input and forget gate, which MIL cannot do"));
    }
    let layer = Layer::of(n, 4, &["Sigmoid", "Tanh", "Tanh"])?;
    if layer.directions() == 2 && layer.activations[..3] != layer.activations[3..] {
        return Err(Fault::new("has other activations in each direction, which MIL cannot do"));
    }
    let peepholes = match n.maybe(7)? {
        None => None,
        Some(_) => Some(weight(n, 7, "P")?),
    };
    if let Some(p) = &peepholes
        && p.shape() != [layer.directions(), 3 * layer.hidden]
    {
        let (actual, allowed) = (p.shape(), [layer.directions(), 3 * layer.hidden]);
        return Err(Fault::new(format!("P has shape {actual:?}, but must have {allowed:?}")));
    }
    let mut parts = Vec::new();
    for d in 0..layer.directions() {
        let input = layer.rows(n, "weight_ih", &layer.input, d, &LSTM_ORDER)?;
        let state = layer.rows(n, "weight_hh", &layer.state, d, &LSTM_ORDER)?;
        let bias = layer.bias(n, "bias", d, &LSTM_ORDER)?;
        let peephole = match &peepholes {
            None => None,
            Some(p) => {
                let (all, h) = (p.to_f32s(), layer.hidden);
                // ONNX: input, output, forget; MIL: input, forget, output.
                let data: Vec<f32> =
                    [0, 2, 1].iter().flat_map(|&g| all[(d * 3 + g) * h..][..h].iter().copied()).collect();
                Some(constant(n, "peephole", &[3 * h], &data, p.dtype())?)
            }
        };
        parts.push((input, state, bias, peephole));
    }
    let (h, c) = (layer.first(n, 5, "initial_h")?, layer.first(n, 6, "initial_c")?);
    let backward = layer.reversed == [true];
    let name = n.inner("lstm");
    let x = if backward { layer.turned(n, layer.x, "x_turned")? } else { layer.x };
    let direction = if layer.directions() == 2 { "bidirectional" } else { "forward" };
    let (input, state, bias, peephole) = parts[0];
    let mut op = n
        .op("lstm")
        .arg("x", x)
        .arg("initial_h", h)
        .arg("initial_c", c)
        .arg("weight_ih", input)
        .arg("weight_hh", state)
        .maybe("bias", bias)
        .maybe("peephole", peephole);
    if let Some(&(input, state, bias, peephole)) = parts.get(1) {
        op = op
            .arg("weight_ih_back", input)
            .arg("weight_hh_back", state)
            .maybe("bias_back", bias)
            .maybe("peephole_back", peephole);
    }
    let results = op
        .str("direction", direction)
        .bool("output_sequence", true)
        .str("recurrent_activation", &layer.activations[0])
        .str("cell_activation", &layer.activations[1])
        .str("activation", &layer.activations[2])
        .all(&name)?;
    let [sequence, h, c] = results[..] else { return Err(Fault::new("lstm has not three results")) };
    let sequence = if backward { layer.turned(n, sequence, "sequence_turned")? } else { sequence };
    layer.finish(n, Results { sequence, last: vec![h, c] })
}

/// `RNN`.
pub(crate) fn rnn(n: &mut Node<'_, '_>) -> Done {
    let layer = Layer::of(n, 1, &["Tanh"])?;
    let first = layer.first(n, 5, "initial_h")?;
    each_direction(n, &layer, &mut |n, layer, d, x| {
        let input = layer.rows(n, "weight_ih", &layer.input, d, &[0])?;
        let state = layer.rows(n, "weight_hh", &layer.state, d, &[0])?;
        let bias = layer.bias(n, "bias", d, &[0])?;
        let h = layer.part(n, first, d, "initial_h")?;
        let name = n.inner(&format!("rnn_{d}"));
        let op = n.op("rnn").arg("x", x).arg("initial_h", h).arg("weight_ih", input).arg("weight_hh", state);
        let op = op.maybe("bias", bias).bool("output_sequence", true);
        op.str("activation", &layer.activations[d]).all(&name)
    })
}

/// What runs one direction, first step first: `run(node, layer, d, x)`.
type Run<'r> = &'r mut dyn FnMut(&mut Node<'_, '_>, &Layer, usize, ValueId) -> Result<Vec<ValueId>, Fault>;

/// Runs each direction by itself and puts the results side by side.
fn each_direction(n: &mut Node<'_, '_>, layer: &Layer, run: Run<'_>) -> Done {
    let (mut sequences, mut lasts) = (Vec::new(), Vec::new());
    for (d, &reversed) in layer.reversed.iter().enumerate() {
        let x = if reversed { layer.turned(n, layer.x, "x_turned")? } else { layer.x };
        let results = run(n, layer, d, x)?;
        let [sequence, last] = results[..] else { return Err(Fault::new("the layer has not two results")) };
        sequences.push(if reversed { layer.turned(n, sequence, "sequence_turned")? } else { sequence });
        lasts.push(last);
    }
    let names = [n.inner("sequences"), n.inner("lasts")];
    let mut join = |values: Vec<ValueId>, name: &str| match values[..] {
        [one] => Ok(one),
        _ => n.op("concat").args("values", values).int("axis", -1).bool("interleave", false).one(name),
    };
    let (sequence, last) = (join(sequences, &names[0])?, join(lasts, &names[1])?);
    layer.finish(n, Results { sequence, last: vec![last] })
}

/// ONNX's gates are update, reset, output; MIL's reset, output, update.
const GRU_ORDER: [usize; 3] = [1, 2, 0];

/// `GRU`.
///
/// With `linear_before_reset` the reset gate multiplies the product with the state and its bias; MIL can say so since
/// `ios18`. Before, the steps are written out.
pub(crate) fn gru(n: &mut Node<'_, '_>) -> Done {
    let layer = Layer::of(n, 3, &["Sigmoid", "Tanh"])?;
    let after = n.int("linear_before_reset").unwrap_or(0) != 0;
    let first = layer.first(n, 5, "initial_h")?;
    let new = n.importer.builder.function().opset >= Opset::Ios18;
    each_direction(n, &layer, &mut |n, layer, d, x| {
        let h = layer.part(n, first, d, "initial_h")?;
        if after && !new {
            return unrolled_gru(n, layer, d, x, h);
        }
        let input = layer.rows(n, "weight_ih", &layer.input, d, &GRU_ORDER)?;
        let state = layer.rows(n, "weight_hh", &layer.state, d, &GRU_ORDER)?;
        let (bias, input_bias) = match (after, layer.biases(d, &GRU_ORDER)) {
            (true, Some([input, state])) => {
                let dtype = layer.input.dtype();
                let state = constant(n, "bias", &[state.len()], &state, dtype)?;
                (Some(state), Some(constant(n, "input_bias", &[input.len()], &input, dtype)?))
            }
            _ => (layer.bias(n, "bias", d, &GRU_ORDER)?, None),
        };
        let name = n.inner(&format!("gru_{d}"));
        let op = n.op("gru").arg("x", x).arg("initial_h", h).arg("weight_ih", input).arg("weight_hh", state);
        let mut op = op.maybe("bias", bias).bool("output_sequence", true);
        op = op
            .str("recurrent_activation", &layer.activations[2 * d])
            .str("activation", &layer.activations[2 * d + 1]);
        if after {
            op = op.maybe("input_bias", input_bias).bool("reset_after", true);
        }
        op.all(&name)
    })
}

/// The steps of a `linear_before_reset` layer one after the other.
fn unrolled_gru(
    n: &mut Node<'_, '_>,
    layer: &Layer,
    d: usize,
    x: ValueId,
    first: ValueId,
) -> Result<Vec<ValueId>, Fault> {
    let steps = layer.steps.filter(|s| (1..=UNROLLED_STEPS).contains(s)).ok_or_else(|| {
        Fault::new(format!(
            "linear_before_reset over a sequence that is free or longer than {UNROLLED_STEPS} steps needs --target ios18"
        ))
    })?;
    if layer.activations[2 * d..][..2] != ["sigmoid".to_owned(), "tanh".to_owned()] {
        return Err(Fault::new(
            "linear_before_reset with other activations than Sigmoid and Tanh needs --target ios18",
        ));
    }
    // Gates stay in ONNX's order: update, reset, output.
    let order = [0, 1, 2];
    let input = layer.rows(n, "weight_ih", &layer.input, d, &order)?;
    let state = layer.rows(n, "weight_hh", &layer.state, d, &order)?;
    let [input_bias, state_bias] = match layer.biases(d, &order) {
        Some(both) => both,
        None => [vec![0.0; 3 * layer.hidden], vec![0.0; 3 * layer.hidden]],
    };
    let dtype = layer.input.dtype();
    let input_bias = constant(n, "input_bias", &[input_bias.len()], &input_bias, dtype)?;
    let state_bias = constant(n, "bias", &[state_bias.len()], &state_bias, dtype)?;
    let names = [n.inner("x_steps"), n.inner("from_input"), n.inner("sequence")];
    let projected = n.op("linear").arg("x", x).arg("weight", input).arg("bias", input_bias).one(&names[1])?;
    let count = int32(anemone_tensor::num::i64_of(steps))?;
    let slices = match steps {
        1 => vec![projected],
        _ => n.op("split").arg("x", projected).int("num_splits", count).int("axis", 0).all(&names[0])?,
    };
    let mut h = first;
    let mut sequence = vec![h; steps];
    for (t, slice) in slices.into_iter().enumerate() {
        h = gru_step(n, slice, h, state, state_bias, &format!("step_{d}_{t}"))?;
        sequence[t] = h;
    }
    let all = n.op("stack").args("values", sequence).int("axis", 0).one(&names[2])?;
    Ok(vec![all, h])
}

/// One step: `x` is `[1, batch, 3 * hidden]`, the product with the input, `h` is `[batch, hidden]`.
fn gru_step(
    n: &mut Node<'_, '_>,
    x: ValueId,
    h: ValueId,
    weight: ValueId,
    bias: ValueId,
    step: &str,
) -> Result<ValueId, Fault> {
    let name = |what: &str| format!("{step}_{what}");
    let inner = |n: &Node<'_, '_>, what: &str| n.inner(&name(what));
    let label = inner(n, "x");
    let x = n.op("squeeze").arg("x", x).ints("axes", &[0]).one(&label)?;
    let label = inner(n, "from_state");
    let state = n.op("linear").arg("x", h).arg("weight", weight).arg("bias", bias).one(&label)?;
    let thirds = |n: &mut Node<'_, '_>, v: ValueId, what: &str| {
        let label = inner(n, what);
        n.op("split").arg("x", v).int("num_splits", 3).int("axis", 1).all(&label)
    };
    let (xs, hs) = (thirds(n, x, "x_gates")?, thirds(n, state, "state_gates")?);
    let gate = |n: &mut Node<'_, '_>, i: usize, what: &str| {
        let labels = [inner(n, &format!("{what}_sum")), inner(n, what)];
        let sum = n.binary("add", xs[i], hs[i], &labels[0])?;
        n.unary("sigmoid", sum, &labels[1])
    };
    let (update, reset) = (gate(n, 0, "update")?, gate(n, 1, "reset")?);
    let labels = ["kept", "sum", "candidate", "change", "change_kept", "h"].map(|w| inner(n, w));
    let kept = n.binary("mul", reset, hs[2], &labels[0])?;
    let sum = n.binary("add", xs[2], kept, &labels[1])?;
    let candidate = n.unary("tanh", sum, &labels[2])?;
    // (1 - z) * c + z * h = c + z * (h - c)
    let change = n.binary("sub", h, candidate, &labels[3])?;
    let part = n.binary("mul", update, change, &labels[4])?;
    n.binary("add", candidate, part, &labels[5])
}
