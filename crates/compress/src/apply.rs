//! Puts compressed weights into a program.

use crate::config::{Granularity, Linear, Palette, Scheme};
use crate::encode::Encoder;
use crate::select::{Chosen, channel_axes, select};
use crate::{Config, Error, Fit, PaletteMode, PaletteSpec, Refusal, joint, palettize, prune, quantize};
use anemone_mil::{Function, OpId, Opset, Program, TensorType, ValueId};
use anemone_passes::Index;
use anemone_tensor::{DType, Tensor};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// What the caller lends: threads, a place for what is made, and an ear.
pub struct Work<'a> {
    /// Threads to use, at least 1.
    pub workers: usize,
    /// Takes the data of each compressed weight and hands it back from where it shall stay, such as a mapped file.
    pub store: &'a mut Store<'a>,
    /// Hears what is done; may ask to stop.
    pub progress: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
}

/// Keeps the data of a weight.
pub type Store<'a> = dyn FnMut(Tensor) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> + 'a;

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Weight that comes next.
    pub weight: &'a str,
    /// Elements done, and elements in all.
    pub done: (usize, usize),
}

/// What became of one weight.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Function that has it.
    pub function: String,
    /// Name of the weight.
    pub weight: String,
    /// First op that takes it: kind and name.
    pub user: (String, String),
    /// Dims, outermost first.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: DType,
    /// What was asked for, in words.
    pub scheme: String,
    /// Bytes before and after, tables, scales and masks included.
    pub bytes: (u64, u64),
    /// How near the new weight is to the old one, or why it was left as it is.
    pub result: Result<Fit, Refusal>,
}

/// What became of every weight that a rule asked for.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The weights, in the order of the program.
    pub weights: Vec<Outcome>,
}

/// Compresses the weights of a program as `config` says; with `joint`, also what earlier steps left of compressed weights.
///
/// A weight whose data cannot be compressed as asked is left as it is; the report says why.
///
/// # Errors
/// When the program's op set has no op for the scheme, the rules for one weight contradict each other, a weight's bytes are
/// missing, the store fails, or `progress` asks to stop. The program is then half done and to be dropped.
pub fn compress(
    program: &mut Program,
    config: &Config,
    joint: bool,
    work: &mut Work<'_>,
) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut plans = Vec::new();
    for (at, function) in program.functions.iter().enumerate() {
        let index = Index::of(function);
        let mut chosen = select(function, &index, config)?;
        if joint {
            chosen.extend(joint::select(function, &index, config)?);
        }
        chosen.iter().try_for_each(|c| fits_opset(function, &c.rule.scheme))?;
        plans.push((at, index, chosen));
    }
    let elements = |f: &Function, c: &Chosen| {
        f.value(c.value).ty.tensor().and_then(TensorType::element_count).unwrap_or(0)
    };
    let total = plans
        .iter()
        .map(|(at, _, c)| c.iter().map(|c| elements(&program.functions[*at], c)).sum::<usize>())
        .sum();
    let mut done = 0;
    for (at, index, chosen) in plans {
        let function = &mut program.functions[at];
        let mut encoder = Encoder::of(function);
        for c in chosen {
            let name = function.value(c.value).name.clone();
            if (work.progress)(Progress { weight: &name, done: (done, total) }).is_break() {
                return Err(Error::stopped());
            }
            done += elements(function, &c);
            report.weights.push(one(function, &index, &c, &mut encoder, work)?);
        }
        drop_dead(function);
    }
    Ok(report)
}

/// Removes ops that unpack weights that nothing takes any more.
fn drop_dead(function: &mut Function) {
    let index = Index::of(function);
    let unpacks = |id: OpId| function.op(id).kind.name().starts_with("constexpr_");
    let unused = |id: OpId| function.op(id).outputs.iter().all(|&v| index.is_dead(v));
    let dead: HashSet<OpId> =
        function.walk().into_iter().map(|(_, id)| id).filter(|&id| unpacks(id) && unused(id)).collect();
    if !dead.is_empty() {
        function.remove_ops(&dead);
    }
}

/// Refuses schemes that the op set has no op for.
fn fits_opset(function: &Function, scheme: &Scheme) -> Result<(), Error> {
    let need = |what: &str, need: Opset| match function.opset >= need {
        true => Ok(()),
        false => Err(Error::opset(what, function.opset, need)),
    };
    need("a compressed weight", Opset::Ios16)?;
    match scheme {
        Scheme::Linear(l) if matches!(l.dtype, DType::I4 | DType::U4) => {
            need("4-bit quantisation", Opset::Ios18)
        }
        Scheme::Linear(Linear {
            granularity: Granularity::PerBlock(_) | Granularity::PerBlockOf(_), ..
        }) => need("quantisation per block", Opset::Ios18),
        Scheme::Palette(p) if p.bits == Some(3) => need("a palette of 3 bits", Opset::Ios18),
        Scheme::Palette(p) if p.cluster_dim > 1 => need("a palette of vectors", Opset::Ios18),
        Scheme::Palette(p) if p.per_channel_scale => need("a palette scaled per channel", Opset::Ios18),
        Scheme::Palette(Palette { granularity: Granularity::PerGroupedChannel { .. }, .. }) => {
            need("a palette per grouped channel", Opset::Ios18)
        }
        _ => Ok(()),
    }
}

/// Compresses one weight and puts it in the place of the old one.
fn one(
    function: &mut Function,
    index: &Index,
    chosen: &Chosen,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<Outcome, Error> {
    let value = chosen.value;
    let name = function.value(value).name.to_string();
    let plain = function.constant(value).is_some();
    let tensor = plain_or_dense(function, value).ok_or_else(|| Error::missing(&name))?;
    let first = index.users(value).first().map(|&op| function.op(op));
    let user = first.map_or_else(Default::default, |op| (op.kind.name().to_string(), op.name.to_string()));
    let mut outcome = Outcome {
        function: function.name.to_string(),
        weight: name,
        user,
        shape: tensor.shape().to_vec(),
        dtype: tensor.dtype(),
        scheme: chosen.rule.scheme.to_string(),
        bytes: (size(&tensor), size(&tensor)),
        result: Ok(Fit::default()),
    };
    let scheme = &chosen.rule.scheme;
    let made = if plain {
        compressed(function, index, value, &tensor, scheme, encoder, work)
    } else {
        joint::compressed(function, index, value, scheme, encoder, work)
    };
    match made {
        Ok(made) => {
            outcome.bytes.1 = made.bytes;
            outcome.result = Ok(made.fit);
            replace(function, index, value, made.value);
        }
        Err(Failure::Refused(why)) => outcome.result = Err(why),
        Err(Failure::Store(cause)) => return Err(Error::store(cause)),
    }
    Ok(outcome)
}

/// A weight as it is, or what a compressed one stands for.
fn plain_or_dense(function: &Function, value: ValueId) -> Option<Tensor> {
    match function.constant(value) {
        Some(constant) => constant.literal().ok()?.as_tensor().cloned(),
        None => joint::dense(function, value).ok(),
    }
}

fn size(tensor: &Tensor) -> u64 {
    u64::try_from(tensor.bytes().len()).unwrap_or(u64::MAX)
}

/// Why a weight did not come out.
pub(crate) enum Failure {
    Refused(Refusal),
    Store(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Failure {
        Failure::Refused(why)
    }
}

/// A compressed weight in the function.
pub(crate) struct Made {
    pub(crate) value: ValueId,
    pub(crate) bytes: u64,
    pub(crate) fit: Fit,
}

fn compressed(
    function: &mut Function,
    index: &Index,
    value: ValueId,
    tensor: &Tensor,
    scheme: &Scheme,
    encoder: &mut Encoder,
    work: &mut Work<'_>,
) -> Result<Made, Failure> {
    let name = function.value(value).name.clone();
    match scheme {
        Scheme::Linear(l) => {
            let sizes = block_sizes(function, index, value, tensor.shape(), &l.granularity)?.0;
            let made = quantize(tensor, l.dtype, l.mode, &sizes, work.workers)?;
            encoder.quantized(function, &name, tensor.shape(), made, work)
        }
        Scheme::Palette(p) => {
            let (sizes, axis) = block_sizes(function, index, value, tensor.shape(), &p.granularity)?;
            if p.cluster_dim > 1 {
                vectors_fit_groups(function, index, value, axis, p.cluster_dim)?;
            }
            let spec = palette_spec(p, &sizes, axis, tensor.shape());
            if p.per_channel_scale {
                let (scaled, scale) = divided(tensor, axis)?;
                let made = palettize(&scaled, &spec, work.workers)?;
                let mut made =
                    encoder.palettized(function, &name, tensor.shape(), made, Some(scale), work)?;
                made.fit = joint::fit(tensor, &joint::dense(function, made.value)?);
                return Ok(made);
            }
            let made = palettize(tensor, &spec, work.workers)?;
            encoder.palettized(function, &name, tensor.shape(), made, None, work)
        }
        Scheme::Activation(_) => Err(Refusal::NotPlain.into()),
        Scheme::Prune(p) => {
            let made = prune(tensor, *p)?;
            encoder.pruned(function, &name, tensor.shape(), made, work)
        }
    }
}

pub(crate) fn palette_spec(p: &Palette, sizes: &[usize], axis: usize, shape: &[usize]) -> PaletteSpec {
    let group = sizes.get(axis).copied().filter(|&s| s != shape[axis]).unwrap_or(0);
    let bits = if matches!(p.mode, PaletteMode::Unique | PaletteMode::Custom(_)) { None } else { p.bits };
    PaletteSpec { mode: p.mode.clone(), bits, axis, group, cluster_dim: p.cluster_dim }
}

/// Block sizes per dim, and the axis of the output channels.
pub(crate) fn block_sizes(
    function: &Function,
    index: &Index,
    value: ValueId,
    shape: &[usize],
    granularity: &Granularity,
) -> Result<(Vec<usize>, usize), Refusal> {
    let axes = channel_axes(function, index, value, shape.len());
    if let Granularity::PerBlockOf(sizes) = granularity {
        let cut: Vec<usize> =
            (0..shape.len().min(sizes.len())).filter(|&i| sizes[i] != 0 && sizes[i] != shape[i]).collect();
        let axis = if let [only] = cut.as_slice() { *only } else { axes.map_or(0, |a| a.1) };
        return Ok((sizes.clone(), axis));
    }
    let (input, output) = axes.ok_or(Refusal::NoAxis)?;
    let mut sizes = vec![0; shape.len()];
    let mut axis = output;
    match granularity {
        Granularity::PerTensor | Granularity::PerBlockOf(_) => {}
        Granularity::PerChannel => sizes[output] = 1,
        Granularity::PerGroupedChannel { size, axis: given } => {
            axis = given.unwrap_or(output);
            *sizes.get_mut(axis).ok_or(Refusal::Axis { axis, rank: shape.len() })? = *size;
        }
        Granularity::PerBlock(size) => {
            sizes[input] = *size;
            sizes[output] = 1;
        }
    }
    Ok((sizes, axis))
}

/// Refuses vectors that would reach across the groups of a convolution.
fn vectors_fit_groups(
    f: &Function,
    index: &Index,
    value: ValueId,
    axis: usize,
    d: usize,
) -> Result<(), Refusal> {
    for &user in index.users(value) {
        let op = f.op(user);
        if !matches!(op.kind.name(), "conv" | "conv_transpose") {
            continue;
        }
        let groups = op.value("groups").and_then(|v| f.constant(v)).and_then(|c| c.literal().ok());
        let groups = groups.as_ref().and_then(|l| l.as_tensor()).map_or(1, |t| t.i64_at(0).max(1));
        let ty = &f.value(value).ty;
        let dim = ty.tensor().and_then(|t| t.known_shape()).and_then(|s| s.get(axis).copied()).unwrap_or(0);
        let dim = if axis == 0 { dim / usize::try_from(groups).unwrap_or(1) } else { dim };
        if dim % d != 0 {
            return Err(Refusal::Indivisible { axis, dim, size: d });
        }
    }
    Ok(())
}

/// A weight divided by the largest magnitude along `axis`, and those magnitudes, with one element along `axis`.
fn divided(tensor: &Tensor, axis: usize) -> Result<(Tensor, Tensor), Refusal> {
    let numbers = crate::weight::Numbers::of(tensor)?;
    let shape = tensor.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    let along = shape[axis];
    let mut values = numbers.all();
    let place = |i: usize| i / (inner * along) * inner + i % inner;
    let mut largest = vec![0f32; values.len() / along.max(1)];
    values.iter().enumerate().for_each(|(i, v)| largest[place(i)] = largest[place(i)].max(v.abs()));
    largest.iter_mut().filter(|l| **l == 0.0).for_each(|l| *l = 1.0);
    values.iter_mut().enumerate().for_each(|(i, v)| *v = numbers.round(*v / largest[place(i)]));
    let mut scale_shape = shape.to_vec();
    scale_shape[axis] = 1;
    Ok((numbers.tensor(shape, &values)?, numbers.tensor(&scale_shape, &largest)?))
}

/// Every op that took `old` takes `new`.
fn replace(function: &mut Function, index: &Index, old: ValueId, new: ValueId) {
    for &user in index.users(old) {
        for arg in &mut function.op_mut(user).args {
            arg.values.iter_mut().filter(|v| **v == old).for_each(|v| *v = new);
        }
    }
}
