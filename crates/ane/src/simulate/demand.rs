//! What an op asks of the unit that runs it: arithmetic, weights, activations.

use crate::operands::{bytes, elements, is_constant, is_load_time};
use anemone_mil::ops::{Form, Site};
use anemone_mil::{Dim, Function, Op, OpId, TensorType, Uses, ValueId};
use anemone_tensor::DType;
use anemone_tensor::num::f64_of_usize;
use std::collections::HashMap;

/// What kind of work an op is, as far as its speed goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Convolutions that mix channels.
    Conv,
    /// Convolutions with one input channel per group.
    Depthwise,
    /// Products with a constant matrix.
    Linear,
    /// Products of two activations, attention included.
    Matmul,
    /// One result per element.
    Elementwise,
    /// Sums over axes: reductions, norms, softmax.
    Reduction,
    /// Looking at neighbours: pools and resizing.
    Pool,
    /// Moving elements to another order.
    Transpose,
    /// Copying parts of tensors.
    Movement,
    /// Reading or writing a state.
    State,
    /// Ordering elements.
    Sort,
    /// Recurrent layers.
    Recurrent,
    /// Nothing: another view of the same bytes.
    View,
}

impl Class {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Conv => "conv",
            Class::Depthwise => "depthwise",
            Class::Linear => "linear",
            Class::Matmul => "matmul",
            Class::Elementwise => "elementwise",
            Class::Reduction => "reduction",
            Class::Pool => "pool",
            Class::Transpose => "transpose",
            Class::Movement => "movement",
            Class::State => "state",
            Class::Sort => "sort",
            Class::Recurrent => "recurrent",
            Class::View => "view",
        }
    }

    /// True for work that the multiply-add array does.
    pub const fn is_product(self) -> bool {
        matches!(self, Class::Conv | Class::Depthwise | Class::Linear | Class::Matmul)
    }
}

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// As it is used.
    Plain,
    /// Indices of so many bits into a table.
    Palette(usize),
    /// Whole numbers of so many bits with scales.
    Linear(usize),
    /// Only what is not zero.
    Sparse,
}

/// One weight of an op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightUse {
    /// How it is stored.
    pub scheme: Scheme,
    /// Bytes as stored, tables and scales included.
    pub stored: f64,
    /// Bytes as the op sees it.
    pub unpacked: f64,
}

/// What one execution of an op asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The op.
    pub id: OpId,
    /// What kind of work it is.
    pub class: Class,
    /// Additions and multiplications; a multiply-add counts as two.
    pub flops: f64,
    /// Its constant operands of a size that matters.
    pub weights: Vec<WeightUse>,
    /// Bytes of each activation that it reads.
    pub reads: Vec<f64>,
    /// Bytes of each activation that it writes.
    pub writes: Vec<f64>,
    /// Elements of its largest activation.
    pub elements: f64,
    /// Rows of a convolution's kernel; 1 for everything else.
    pub kernel_rows: f64,
    /// Rows of a convolution's input; 1 for everything else.
    pub input_rows: f64,
    /// True when it does its work while its producer writes, so that it costs nothing by itself on the same unit.
    pub fused: bool,
    /// Position of that producer, where it is an op of the body.
    pub producer: Option<usize>,
    /// True when its activations and weights are 8-bit numbers.
    pub eight_bits: bool,
}

impl Demand {
    /// Bytes of the weights as stored.
    pub fn stored_weights(&self) -> f64 {
        self.weights.iter().map(|w| w.stored).sum()
    }
}

/// A value that one op makes and others read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flow {
    /// Position of the op that makes it; `None` for an input of the function.
    pub from: Option<usize>,
    /// Positions of the ops that read it, in order.
    pub to: Vec<usize>,
    /// True when it leaves the function.
    pub leaves: bool,
    /// Its bytes.
    pub bytes: f64,
}

/// The demands of a function's ops, and the values between them.
#[derive(Clone, Debug)]
pub(crate) struct Demands {
    /// One per planned op, in program order.
    pub ops: Vec<Demand>,
    /// Values that flow between ops, into the function or out of it.
    pub flows: Vec<Flow>,
}

/// Weights below so many bytes are parameters, not something to stream.
const SMALLEST_WEIGHT: f64 = 64.0;

impl Demands {
    /// Looks at every op of the body that runs while the model runs.
    pub(crate) fn of(function: &Function) -> Demands {
        let uses = Uses::of(function);
        let body = &function.block(function.body()).ops;
        let planned: Vec<OpId> = body.iter().copied().filter(|&id| !is_load_time(function.op(id))).collect();
        let mut ops: Vec<Demand> = planned.iter().map(|&id| demand(function, id)).collect();
        let at: HashMap<OpId, usize> = planned.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        for (index, &id) in planned.iter().enumerate() {
            ops[index].fused = is_fused(function, id, ops[index].class, &at, &uses);
            ops[index].producer = producer(function, id, &at);
            for (bytes, &result) in ops[index].writes.iter_mut().zip(&function.op(id).outputs) {
                if leaves_as_8_bits(function, result, &uses, 0) {
                    *bytes /= 2.0;
                }
            }
        }
        let mut flows = Vec::new();
        let mut add = |from: Option<usize>, value: ValueId| {
            let Some(ty) = function.value(value).ty.tensor() else { return };
            let mut to: Vec<usize> =
                uses.ops(value).iter().filter_map(|user| at.get(user).copied()).collect();
            to.sort_unstable();
            to.dedup();
            flows.push(Flow { from, to, leaves: uses.escapes(value), bytes: bytes(ty) });
        };
        function.inputs.iter().for_each(|&v| add(None, v));
        for (index, &id) in planned.iter().enumerate() {
            function.op(id).outputs.iter().for_each(|&v| add(Some(index), v));
        }
        Demands { ops, flows }
    }
}

fn demand(function: &Function, id: OpId) -> Demand {
    let op = function.op(id);
    let site = Site::new(function, op).ok();
    let class = class(function, op, site.as_ref());
    let mut reads = Vec::new();
    let mut weights = Vec::new();
    let mut largest = 0.0_f64;
    for value in op.operands() {
        let Some(ty) = function.value(value).ty.tensor() else { continue };
        if is_constant(function, value) {
            let weight = weight_use(function, value, ty);
            if weight.unpacked >= SMALLEST_WEIGHT {
                weights.push(weight);
            }
        } else {
            largest = largest.max(elements(ty));
            reads.push(activation_bytes(function, value, ty));
        }
    }
    let mut writes = Vec::new();
    for &value in &op.outputs {
        let Some(ty) = function.value(value).ty.tensor() else { continue };
        largest = largest.max(elements(ty));
        writes.push(bytes(ty));
    }
    if op.is("gather") {
        gathered(&mut weights, &mut reads, &writes);
    }
    let (kernel_rows, input_rows) = rows(site.as_ref(), class);
    let flops = site.as_ref().and_then(|s| (s.def.work)(s)).map_or(0.0, |w| {
        f64_of_usize(usize::try_from(w.flops.saturating_add(w.transcendental)).unwrap_or(usize::MAX))
    });
    let eight_bits = class.is_product() && op.value("x").is_some_and(|x| is_eight_bits(function, x));
    Demand {
        id,
        class,
        flops,
        weights,
        reads,
        writes,
        elements: largest,
        kernel_rows,
        input_rows,
        fused: false,
        producer: None,
        eight_bits,
    }
}

/// Of a table only the rows that are taken are read.
fn gathered(weights: &mut [WeightUse], reads: &mut [f64], writes: &[f64]) {
    let taken: f64 = writes.iter().sum();
    for weight in weights {
        let share = (taken / weight.unpacked.max(1.0)).min(1.0);
        weight.stored *= share;
        weight.unpacked *= share;
    }
    reads.iter_mut().for_each(|r| *r = r.min(taken));
}

fn class(function: &Function, op: &Op, site: Option<&Site<'_>>) -> Class {
    let runtime = |param: &str| op.value(param).is_some_and(|v| !is_constant(function, v));
    match op.kind.name() {
        "conv" | "conv_transpose" => {
            let one = |s: &&Site<'_>| {
                s.tensor("weight").is_ok_and(|w| w.dims.get(1) == Some(&Dim::Known(1)))
                    && s.int("groups").is_ok_and(|g| g > 1)
            };
            if site.as_ref().is_some_and(one) { Class::Depthwise } else { Class::Conv }
        }
        "linear" => Class::Linear,
        "matmul" if !(runtime("x") && runtime("y")) => Class::Linear,
        "matmul" | "einsum" | "scaled_dot_product_attention" => Class::Matmul,
        "softmax" | "layer_norm" | "instance_norm" | "l2_norm" | "local_response_norm" | "cumsum" => {
            Class::Reduction
        }
        _ if op.kind.form() == Form::Reduction => Class::Reduction,
        "avg_pool" | "max_pool" | "l2_pool" | "resample" | "crop_resize" | "affine" => Class::Pool,
        name if name.starts_with("upsample_") || name.starts_with("resize") => Class::Pool,
        "transpose" | "reverse" | "depth_to_space" | "space_to_depth" | "pixel_shuffle"
        | "pixel_unshuffle" | "batch_to_space" | "space_to_batch" => Class::Transpose,
        "concat" | "split" | "stack" | "pad" | "tile" | "gather" | "gather_nd" | "gather_along_axis"
        | "sliding_windows" | "fill" | "band_part" => Class::Movement,
        name if name.starts_with("slice_") || name.starts_with("scatter") => Class::Movement,
        "topk" | "argsort" | "non_maximum_suppression" | "non_zero" => Class::Sort,
        "lstm" | "gru" | "rnn" => Class::Recurrent,
        "shape" | "const" => Class::View,
        _ if matches!(op.kind.form(), Form::Reshape | Form::Identity) => Class::View,
        "read_state" | "write_state" | "coreml_update_state" => Class::State,
        _ => Class::Elementwise,
    }
}

fn rows(site: Option<&Site<'_>>, class: Class) -> (f64, f64) {
    let Some(site) = site.filter(|_| class == Class::Conv || class == Class::Depthwise) else {
        return (1.0, 1.0);
    };
    let extent = |param: &str| {
        site.tensor(param).ok().and_then(|t| t.dims.get(2)).map_or(1.0, crate::operands::extent).max(1.0)
    };
    (extent("weight"), extent("x"))
}

/// Bytes of an activation: results of `dequantize` are kept as the 8-bit numbers they were.
fn activation_bytes(function: &Function, value: ValueId, ty: &TensorType) -> f64 {
    if is_eight_bits(function, value) { elements(ty) } else { bytes(ty) }
}

fn is_eight_bits(function: &Function, value: ValueId) -> bool {
    function.producer(value).is_some_and(|id| function.op(id).is("dequantize"))
        || function.value(value).ty.tensor().is_some_and(|t| matches!(t.dtype, DType::I8 | DType::U8))
}

/// Position of the op that makes the first activation of an op.
fn producer(function: &Function, id: OpId, at: &HashMap<OpId, usize>) -> Option<usize> {
    let input = function.op(id).operands().find(|&v| !is_constant(function, v))?;
    at.get(&function.producer(input)?).copied()
}

/// True for ops that work on what their producer is about to write, element by element.
fn is_fused(function: &Function, id: OpId, class: Class, at: &HashMap<OpId, usize>, uses: &Uses) -> bool {
    let op = function.op(id);
    if matches!(op.kind.name(), "quantize" | "dequantize" | "cast") {
        return true;
    }
    if class != Class::Elementwise || op.outputs.len() != 1 {
        return false;
    }
    let mut activations = op.operands().filter(|&v| !is_constant(function, v));
    let (Some(input), None) = (activations.next(), activations.next()) else { return false };
    let alone = uses.ops(input).len() == 1 && !uses.escapes(input);
    alone && function.producer(input).is_some_and(|p| at.contains_key(&p) && writes_through(function.op(p)))
}

/// True when nobody reads an fp16 value but as the 8-bit numbers that it is quantised to.
fn leaves_as_8_bits(function: &Function, value: ValueId, uses: &Uses, depth: usize) -> bool {
    let users = uses.ops(value);
    let halves = function.value(value).ty.tensor().is_some_and(|t| t.dtype == DType::F16);
    let ends = |id: &OpId| {
        let op = function.op(*id);
        let alone = op.operands().filter(|&v| !is_constant(function, v)).count() == 1;
        let through = || op.outputs.len() == 1 && leaves_as_8_bits(function, op.outputs[0], uses, depth + 1);
        let elementwise = || class(function, op, None) == Class::Elementwise;
        op.is("quantize") || (alone && depth < MOST_STEPS && elementwise() && through())
    };
    halves && !users.is_empty() && !uses.escapes(value) && users.iter().all(ends)
}

/// True for ops whose results pass the unit that applies activations.
fn writes_through(op: &Op) -> bool {
    !matches!(op.kind.name(), "reshape" | "squeeze" | "expand_dims" | "split" | "read_state")
}

fn weight_use(function: &Function, value: ValueId, ty: &TensorType) -> WeightUse {
    let unpacked = bytes(ty);
    let Some(producer) = function.producer(value) else {
        return WeightUse { scheme: Scheme::Plain, stored: unpacked, unpacked };
    };
    WeightUse { scheme: scheme(function, producer), stored: stored(function, producer, 0), unpacked }
}

/// Longest chain of ops that is looked through.
const MOST_STEPS: usize = 8;

/// Bytes of every constant that an unpacking op takes, directly or through others.
fn stored(function: &Function, id: OpId, depth: usize) -> f64 {
    let of = |value: ValueId| match (function.producer(value), depth < MOST_STEPS) {
        (Some(inner), true) => stored(function, inner, depth + 1),
        _ => function.value(value).ty.tensor().map_or(0.0, bytes),
    };
    function.op(id).operands().map(of).sum()
}

fn scheme(function: &Function, id: OpId) -> Scheme {
    let op = function.op(id);
    let bits = |param: &str| {
        let ty = op.value(param).and_then(|v| function.value(v).ty.tensor());
        ty.map_or(8, |t| t.dtype.bits())
    };
    match op.kind.name() {
        "constexpr_affine_dequantize" => Scheme::Linear(bits("quantized_data")),
        "constexpr_blockwise_shift_scale" => match op.value("data").and_then(|v| function.producer(v)) {
            Some(inner) => scheme(function, inner),
            None => Scheme::Linear(bits("data")),
        },
        name if name.contains("sparse") => Scheme::Sparse,
        "constexpr_lut_to_dense" => Scheme::Palette(palette_bits(function, op)),
        _ => Scheme::Plain,
    }
}

/// Bits of an index: its type says so, or the number of entries where indices are packed into bytes.
fn palette_bits(function: &Function, op: &Op) -> usize {
    let ty = |param: &str| op.value(param).and_then(|v| function.value(v).ty.tensor());
    let indices = ty("indices").map_or(8, |t| t.dtype.bits());
    if indices < 8 {
        return indices;
    }
    let entries = ty("lut").map(|t| match t.dims.as_slice() {
        [Dim::Known(n)] => *n,
        [.., Dim::Known(n), _] => *n,
        _ => 256,
    });
    entries.map_or(8, |n| usize::try_from(n.max(2).next_power_of_two().trailing_zeros()).unwrap_or(8))
}
