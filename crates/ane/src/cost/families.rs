//! The formulas, one function per family of ops.

use super::{Basis, Estimate, PerBackend, Rates, Reach, Threshold};
use crate::operands::{bytes, elements, extent, tensor, volume};
use anemone_mil::ops::Site;
use anemone_mil::{Dim, TensorType, Uses};
use anemone_tensor::num::{f64_of, f64_of_usize};

/// Estimates one op on every backend, whether or not the backend takes it.
///
/// `uses` are those of the function around the op: of several results, the first that is used counts.
/// An op that lacks what its formula needs is estimated by the bytes that it moves.
pub fn estimate(site: &Site<'_>, uses: &Uses, rates: &Rates) -> Estimate {
    let op = Moved { site, output: output(site, uses) };
    let found = match site.def.name {
        "identity" => Some(Figures { family: "identity", time: per(0.0, 0.0, 0.0), reach: Reach::Observed }),
        "relu" => relu(&op, rates),
        "conv" => conv(&op, rates),
        "linear" => linear(&op, rates),
        "conv_transpose" => conv_transpose(&op, rates),
        "add" | "sub" => Some(per_element("add", op.input_elements(), rates.add)),
        "mul" => Some(per_element("mul", op.input_elements(), rates.mul)),
        "concat" => concat(&op, rates),
        "transpose" => transpose(&op, rates),
        "gather" => gather(&op, rates),
        "upsample_bilinear" => upsample_bilinear(&op, rates),
        "lstm" => recurrent(&op, "lstm", rates.lstm, rates),
        "gru" | "rnn" => recurrent(&op, "recurrent", rates.recurrent, rates),
        "matmul" => matmul(&op, rates),
        "avg_pool" | "max_pool" => pool(&op, rates),
        "l2_pool" => Some(moving("default", op.all_bytes(), op.pool_work(), rates)),
        "layer_norm" | "batch_norm" => {
            tensor(site, "x").map(|x| moving("default", bytes(x) + op.output_bytes(), 0.0, rates))
        }
        "stack" => stack(&op, rates),
        _ => None,
    };
    let figures = found.unwrap_or_else(|| moving("default", op.all_bytes(), 0.0, rates));
    let times = rates.times.of(figures.family);
    Estimate {
        ane: Some(figures.time.ane * times.ane),
        bnns: figures.time.bnns * times.bnns,
        classic_cpu: figures.time.classic_cpu * times.classic_cpu,
        basis: Basis {
            family: figures.family,
            reach: figures.reach,
            guessed_extent: op.has_unknown_extent(),
        },
    }
}

/// Times in ms and what they rest on.
struct Figures {
    family: &'static str,
    time: PerBackend,
    reach: Reach,
}

/// An op and the result that counts.
struct Moved<'s, 'a> {
    site: &'s Site<'a>,
    output: Option<&'a TensorType>,
}

const MS: f64 = 1e3;

const fn per(ane: f64, bnns: f64, classic_cpu: f64) -> PerBackend {
    PerBackend { ane, bnns, classic_cpu }
}

/// `amount` at `rate` per second, in ms.
fn at(amount: f64, rate: PerBackend) -> PerBackend {
    per(amount / rate.ane * MS, amount / rate.bnns * MS, amount / rate.classic_cpu * MS)
}

fn per_element(family: &'static str, amount: f64, rate: PerBackend) -> Figures {
    Figures { family, time: at(amount, rate), reach: Reach::Observed }
}

/// The default formula: as slow as the bytes or as the operations.
fn moving(family: &'static str, bytes: f64, operations: f64, rates: &Rates) -> Figures {
    let (moved, done) = (at(bytes, rates.bandwidth), at(operations, rates.peak));
    let time =
        per(moved.ane.max(done.ane), moved.bnns.max(done.bnns), moved.classic_cpu.max(done.classic_cpu));
    Figures { family, time, reach: Reach::Observed }
}

/// The rate for `size`, and how sure it is.
fn banded(rates: &[PerBackend], steps: &[Threshold], size: f64) -> (PerBackend, Reach) {
    let band = steps.iter().filter(|s| size >= s.used).count();
    let reach = steps.iter().find(|s| s.is_open_at(size)).map_or(Reach::Observed, |s| Reach::Between(*s));
    (rates[band.min(rates.len() - 1)], reach)
}

fn output<'a>(site: &Site<'a>, uses: &Uses) -> Option<&'a TensorType> {
    let results = &site.op.outputs;
    let used = results.iter().find(|&&v| !uses.is_dead(v)).or(results.first());
    used.and_then(|&v| site.function.value(v).ty.tensor())
}

impl<'a> Moved<'_, 'a> {
    fn inputs(&self) -> impl Iterator<Item = (&'a str, &'a TensorType)> {
        let function = self.site.function;
        let args = self.site.op.args.iter();
        let values = args.flat_map(|a| a.values.iter().map(move |&v| (&*a.param, v)));
        values.filter_map(move |(name, v)| Some((name, function.value(v).ty.tensor()?)))
    }

    fn input_elements(&self) -> f64 {
        self.inputs().map(|(_, t)| elements(t)).sum()
    }

    fn output_bytes(&self) -> f64 {
        self.output.map_or(0.0, bytes)
    }

    /// Bytes of every input, constant attributes included, and of the result.
    fn all_bytes(&self) -> f64 {
        self.inputs().map(|(_, t)| bytes(t)).sum::<f64>() + self.output_bytes()
    }

    fn has_unknown_extent(&self) -> bool {
        let open = |t: &TensorType| t.known_shape().is_none();
        self.inputs().any(|(_, t)| open(t)) || self.output.is_some_and(open)
    }

    /// Product of constant integers; 1 when they are not given.
    fn product(&self, param: &str) -> f64 {
        let values = self.site.known_ints(param).unwrap_or_default();
        values.into_iter().map(f64_of).product()
    }

    /// Elements that a pool looks at.
    fn pool_work(&self) -> f64 {
        self.output.map_or(0.0, elements) * self.product("kernel_sizes")
    }
}

fn relu(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let moved = bytes(tensor(op.site, "x")?) + op.output_bytes();
    Some(per_element("relu", moved, rates.relu))
}

/// The size by which the rate of an op is chosen, for families whose rate goes by size.
pub fn compared_size(site: &Site<'_>, uses: &Uses) -> Option<f64> {
    let op = Moved { site, output: output(site, uses) };
    match site.def.name {
        "conv" => conv_work(&op).map(|(_, intensity)| intensity),
        "linear" => op.output.map(elements),
        "conv_transpose" => conv_transpose_work(&op),
        _ => None,
    }
}

/// FLOP = 2 x weights x output positions / dilations, and FLOP per byte.
fn conv_work(op: &Moved<'_, '_>) -> Option<(f64, f64)> {
    let (x, weight, out) = (tensor(op.site, "x")?, tensor(op.site, "weight")?, op.output?);
    let positions = out.dims.first().map_or(1.0, extent) * volume(spatial(out));
    let dilation = op.product("dilations").max(1.0);
    let flop = 2.0 * elements(weight) * positions / dilation;
    Some((flop, flop / (bytes(x) + bytes(out) + bytes(weight))))
}

/// The rate goes by FLOP per byte.
fn conv(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let (weight, (flop, intensity)) = (tensor(op.site, "weight")?, conv_work(op)?);
    let (rate, reach) = banded(&rates.conv, &rates.conv_steps, intensity);
    let depthwise = op.site.int("groups").is_ok_and(|g| g > 1) && weight.dims.get(1) == Some(&Dim::Known(1));
    Some(Figures { family: if depthwise { "depthwise" } else { "conv" }, time: at(flop, rate), reach })
}

/// Dims after batch and channels.
fn spatial(ty: &TensorType) -> &[Dim] {
    ty.dims.get(2..).unwrap_or_default()
}

/// Operations = 2 x input elements x inner dim + outputs per row; the rate goes by output elements.
fn linear(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let (x, weight, out) = (tensor(op.site, "x")?, tensor(op.site, "weight")?, op.output?);
    let [rows, inner] = weight.dims.as_slice() else { return None };
    let operations = 2.0 * elements(x) * extent(inner) + extent(rows);
    let (rate, reach) = banded(&rates.linear, &rates.linear_steps, elements(out));
    Some(Figures { family: "linear", time: at(operations, rate), reach })
}

/// FLOP = 2 x weights x output positions.
fn conv_transpose_work(op: &Moved<'_, '_>) -> Option<f64> {
    let (weight, out) = (tensor(op.site, "weight")?, op.output?);
    Some(2.0 * elements(weight) * out.dims.first().map_or(1.0, extent) * volume(spatial(out)))
}

fn conv_transpose(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let flop = conv_transpose_work(op)?;
    let (rate, reach) = banded(&rates.conv_transpose, &rates.conv_transpose_steps, flop);
    Some(Figures { family: "conv_transpose", time: at(flop, rate), reach })
}

fn concat(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let parts = op.site.tensors("values").ok()?;
    Some(per_element("concat", parts.into_iter().map(elements).sum(), rates.concat))
}

/// Elements and one per axis; moving axis 0 has rates of its own.
fn transpose(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let x = tensor(op.site, "x")?;
    let outer = op.site.axes("perm", x.rank()).ok()?.first().is_some_and(|&p| p != 0);
    let rate = if outer { rates.transpose_outer } else { rates.transpose };
    Some(per_element("transpose", elements(x) + f64_of_usize(x.rank()), rate))
}

/// On the CPU the whole table counts, whatever is taken out of it; on the ANE the default formula holds.
fn gather(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    const ATTRIBUTES: f64 = 3.0;
    let read = elements(tensor(op.site, "x")?) + elements(tensor(op.site, "indices")?) + ATTRIBUTES;
    let (cpu, ane) = (at(read, rates.gather), moving("gather", op.all_bytes(), 0.0, rates).time.ane);
    Some(Figures { family: "gather", time: PerBackend { ane, ..cpu }, reach: Reach::Observed })
}

fn upsample_bilinear(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let time = at(elements(op.output?), rates.upsample_bilinear);
    Some(Figures { family: "upsample_bilinear", time, reach: Reach::OneSize })
}

/// FLOP = 2 x weights x steps x batch; the ANE takes none of these, its figure is the default one.
fn recurrent(op: &Moved<'_, '_>, family: &'static str, rate: PerBackend, rates: &Rates) -> Option<Figures> {
    let x = tensor(op.site, "x")?;
    let steps = volume(x.dims.get(..x.rank().checked_sub(1)?)?);
    let weights = elements(tensor(op.site, "weight_ih")?) + elements(tensor(op.site, "weight_hh")?);
    let (cpu, ane) = (at(2.0 * weights * steps, rate), moving(family, op.all_bytes(), 0.0, rates).time.ane);
    Some(Figures { family, time: PerBackend { ane, ..cpu }, reach: Reach::OneSize })
}

/// Operations = 2 x outputs x inner dim, and one per element of an operand that is transposed; attributes do not count.
fn matmul(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let (x, y, out) = (tensor(op.site, "x")?, tensor(op.site, "y")?, op.output?);
    let flip = |param| op.site.bool(param).unwrap_or(false);
    let turned = [("transpose_x", x), ("transpose_y", y)];
    let turning: f64 = turned.iter().filter(|(p, _)| flip(p)).map(|(_, t)| elements(t)).sum();
    let operations = 2.0 * elements(out) * extent(inner_dim(x, flip("transpose_x"))?) + turning;
    Some(moving("default", bytes(x) + bytes(y) + bytes(out), operations, rates))
}

/// The dim of `x` that a matrix product sums over.
pub(crate) fn inner_dim(x: &TensorType, transposed: bool) -> Option<&Dim> {
    x.dims.get(x.rank().checked_sub(if transposed && x.rank() > 1 { 2 } else { 1 })?)
}

/// Of the attributes only the kernel counts, with 4 bytes an element of its area.
fn pool(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let moved = bytes(tensor(op.site, "x")?) + op.output_bytes() + 4.0 * op.product("kernel_sizes");
    Some(moving("default", moved, op.pool_work(), rates))
}

/// Of the stacked tensors only the first counts.
fn stack(op: &Moved<'_, '_>, rates: &Rates) -> Option<Figures> {
    let first = bytes(op.site.tensors("values").ok()?.first()?);
    let attributes: f64 = op.inputs().filter(|(p, _)| *p != "values").map(|(_, t)| bytes(t)).sum();
    Some(moving("default", first + attributes + op.output_bytes(), 0.0, rates))
}
