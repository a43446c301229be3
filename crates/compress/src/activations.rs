//! Activations in 8 bits: `quantize` and `dequantize` around the ops that take them.
//!
//! Which values are quantised, with which scales, is what coremltools 9.0 does (`insert_prefix_quantize_dequantize_pair` in
//! `optimize/coreml/_quantization_passes.py`, `insert_suffix_quantize_dequantize_pair` in
//! `converters/mil/mil/passes/defs/optimize_activation_quantization.py`): what `conv`, `linear`, pools and `add` of two
//! computed values read, and what they, or an activation behind them, hand to ops of other kinds. A value that several ops
//! read is quantised once.

use crate::config::{Activation, Scheme};
use crate::{Config, Error, LinearMode};
use anemone_mil::{
    BlockId, Const, DType, Function, Literal, Name, Op, OpId, OpKind, Opset, Origin, TensorType, ValueId,
};
use anemone_passes::Index;
use anemone_tensor::{Tensor, f16};
use std::collections::{HashMap, HashSet};

/// Ops whose operand `x` is quantised.
const ONE_OPERAND: [&str; 4] = ["conv", "avg_pool", "max_pool", "linear"];
/// Activations that an op is quantised together with.
const ACTIVATIONS: [&str; 6] = ["leaky_relu", "tanh", "scaled_tanh", "sigmoid", "relu", "relu6"];

/// Smallest and largest number that a value was seen to have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest.
    pub min: f32,
    /// Largest.
    pub max: f32,
}

impl Range {
    /// Both ranges together.
    pub fn and(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// A value that is quantised now.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// Name of the value.
    pub value: String,
    /// Ops that read the quantised value: kind and name of the first result.
    pub readers: Vec<(String, String)>,
    /// `int8` or `uint8`.
    pub dtype: DType,
    /// `value = (quantised - zero_point) * scale`.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i64,
    /// What it was calibrated on.
    pub range: Range,
}

/// Quantises the activations that rules of `config` ask for, by what `ranges` says of each value.
///
/// Inputs and results of a `concat` share one range, so that it works on integers. Values without a finite range are left
/// as they are.
///
/// # Errors
/// When the op set has no `quantize`.
pub fn quantize_activations(
    function: &mut Function,
    config: &Config,
    ranges: &HashMap<String, Range>,
) -> Result<Vec<Quantised>, Error> {
    if function.opset < Opset::Ios17 {
        return Err(Error::opset("quantisation of activations", function.opset, Opset::Ios17));
    }
    let index = Index::of(function);
    let mut ranges = ranges.clone();
    share_at_concats(function, &mut ranges);
    let uses = uses(function, &index, config);
    let mut names: HashSet<Name> = function.values().map(|(_, v)| v.name.clone()).collect();
    let mut done = Vec::new();
    let mut behind: HashMap<Option<OpId>, Vec<OpId>> = HashMap::new();
    let mut homes: HashMap<BlockId, HashSet<Option<OpId>>> = HashMap::new();
    for Use { value, how, readers } in uses {
        let name = function.value(value).name.to_string();
        let Some(ty) = function.value(value).ty.tensor().filter(|t| t.dtype.is_float()).cloned() else {
            continue;
        };
        let Some(range) = ranges.get(&name).copied().filter(|r| r.min.is_finite() && r.max.is_finite())
        else {
            continue;
        };
        let producer = function.producer(value);
        let home = producer.and_then(|op| index.home(op)).or_else(|| home_of_input(function, value));
        let Some(home) = home else { continue };
        let (scale, zero) = grid(range, how);
        let mut pair = Pair { function, names: &mut names, home, how, scale, zero };
        let (ids, new) = pair.insert(value, &name, &ty);
        behind.entry(producer).or_default().extend(ids);
        homes.entry(home).or_default().insert(producer);
        let told = readers.iter().map(|&op| told(function, op)).collect();
        for op in readers {
            let args = function.op_mut(op).args.iter_mut().filter(|a| how.is_read(&a.param));
            args.flat_map(|a| a.values.iter_mut()).filter(|v| **v == value).for_each(|v| *v = new);
        }
        done.push(Quantised {
            value: name,
            readers: told,
            dtype: how.dtype(),
            scale,
            zero_point: zero,
            range,
        });
    }
    for (home, producers) in homes {
        reorder(function, home, &producers, &behind);
    }
    Ok(done)
}

/// How a value is quantised, and for whom.
#[derive(Clone, Copy, Debug, PartialEq)]
struct How {
    rule: Activation,
    /// Every op reads the quantised value, whatever its parameter is called.
    all: bool,
}

impl How {
    fn dtype(self) -> DType {
        self.rule.dtype
    }

    fn is_read(self, param: &str) -> bool {
        self.all || matches!(param, "x" | "y")
    }
}

struct Use {
    value: ValueId,
    how: How,
    readers: Vec<OpId>,
}

/// The values that are quantised, and the ops that read them so, in the order of the program.
fn uses(function: &Function, index: &Index, config: &Config) -> Vec<Use> {
    let computed = |v: ValueId| function.constant(v).is_none();
    let mut cores: Vec<(OpId, Activation)> = Vec::new();
    let mut marked: HashSet<(OpId, ValueId)> = HashSet::new();
    let mut wanted: Vec<(ValueId, Activation, OpId)> = Vec::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        let Some(rule) = rule(config, op) else { continue };
        let params: &[&str] = if ONE_OPERAND.contains(&op.kind.name()) {
            &["x"]
        } else if op.is("add") {
            &["x", "y"]
        } else {
            continue;
        };
        let operands: Vec<ValueId> = params.iter().filter_map(|p| op.value(p)).collect();
        if operands.len() < params.len() || !operands.iter().all(|&v| computed(v)) {
            continue;
        }
        cores.push((id, rule));
        for v in operands {
            if marked.insert((id, v)) {
                wanted.push((v, rule, id));
            }
        }
    }
    let only_quantised = |v: ValueId| matches!(index.users(v), [one] if marked.contains(&(*one, v)));
    for (id, rule) in cores {
        let Some(&out) = function.op(id).outputs.first() else { continue };
        let Some(&first) = index.users(out).first().filter(|_| !only_quantised(out)) else { continue };
        let mut last = out;
        if ACTIVATIONS.contains(&function.op(first).kind.name())
            && let Some(&after) = function.op(first).outputs.first()
            && !index.users(after).is_empty()
        {
            if only_quantised(after) {
                continue;
            }
            last = after;
        }
        wanted.extend(index.users(last).iter().map(|&user| (last, rule, user)));
    }
    gathered(index, wanted, &marked)
}

/// One use per value and rule.
fn gathered(
    index: &Index,
    wanted: Vec<(ValueId, Activation, OpId)>,
    marked: &HashSet<(OpId, ValueId)>,
) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    let mut taken: HashSet<(ValueId, OpId)> = HashSet::new();
    let mut at: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (value, rule, reader) in wanted {
        if !taken.insert((value, reader)) {
            continue;
        }
        let known = at.entry(value).or_default();
        match known.iter().find(|i| uses[**i].how.rule == rule) {
            Some(&i) => uses[i].readers.push(reader),
            None => {
                known.push(uses.len());
                uses.push(Use { value, how: How { rule, all: false }, readers: vec![reader] });
            }
        }
    }
    for u in &mut uses {
        let everyone = index.users(u.value).iter().all(|op| u.readers.contains(op));
        u.how.all = everyone && u.readers.iter().any(|op| !marked.contains(&(*op, u.value)));
    }
    uses
}

fn rule(config: &Config, op: &Op) -> Option<Activation> {
    let named = config.op_names.get(&*op.name).or_else(|| config.op_types.get(op.kind.name()));
    let rule = named.map_or(config.global.as_ref(), Option::as_ref);
    match rule.map(|r| &r.scheme) {
        Some(Scheme::Activation(a)) => Some(*a),
        _ => None,
    }
}

/// Values that one `concat` joins, and its result, get the range of all; so do those of `concat`s that share a value.
fn share_at_concats(function: &Function, ranges: &mut HashMap<String, Range>) {
    let mut groups: Vec<HashSet<String>> = Vec::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        if op.is("concat") {
            let all = op.values("values").iter().chain(op.outputs.first());
            let group: HashSet<String> = all.map(|&v| function.value(v).name.to_string()).collect();
            match groups.iter_mut().find(|g| !g.is_disjoint(&group)) {
                Some(known) => known.extend(group),
                None => groups.push(group),
            }
        }
    }
    for group in groups {
        let joint = group.iter().filter_map(|n| ranges.get(n).copied()).reduce(Range::and);
        for name in group {
            if let (Some(slot), Some(joint)) = (ranges.get_mut(&name), joint) {
                *slot = joint;
            }
        }
    }
}

/// Scale and zero point, worked out in half precision as coremltools does whatever the type of the value.
fn grid(range: Range, how: How) -> (f32, i64) {
    let half = |x: f32| f16::from_f32(x).to_f32();
    let signed = how.dtype() == DType::I8;
    let (low, high) = (half(range.min), half(range.max));
    if how.rule.mode == LinearMode::Symmetric {
        let most = low.abs().max(high.abs());
        let scale = half(half(most + most) / 254.0);
        let scale = if scale.is_finite() { scale } else { range.min.abs().max(range.max.abs()) / 127.0 };
        return (if scale > 0.0 { scale } else { 1.0 }, if signed { 0 } else { 127 });
    }
    let (least, most) = if signed { (-128.0, 127.0) } else { (0.0, 255.0) };
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = half(half(high - low) / 255.0);
    if scale == 0.0 {
        return (1.0, 0);
    }
    let rough = half(half(half(least * high) - half(most * low)) / half(high - low));
    let exact =
        (least * range.max.max(0.0) - most * range.min.min(0.0)) / (range.max.max(0.0) - range.min.min(0.0));
    let zero = if rough.is_finite() { rough } else { exact };
    let scale = if scale.is_finite() { scale } else { (range.max.max(0.0) - range.min.min(0.0)) / 255.0 };
    (scale, zero.round_ties_even().clamp(least, most) as i64)
}

/// A `quantize` and a `dequantize`, at the end of the block `home` until it is put in order.
struct Pair<'a> {
    function: &'a mut Function,
    names: &'a mut HashSet<Name>,
    home: BlockId,
    how: How,
    scale: f32,
    zero: i64,
}

impl Pair<'_> {
    fn insert(&mut self, value: ValueId, name: &str, ty: &TensorType) -> ([OpId; 2], ValueId) {
        let dtype = self.how.dtype();
        let output = self.function.add_const("", Const::Literal(Literal::string(dtype.name())));
        let mut quantize = self.op("quantize", &format!("{name}_quantized"), ty.dtype);
        quantize.set_arg("input", vec![value]);
        quantize.set_arg("output_dtype", vec![output]);
        let (quantize, codes) = self.append(quantize, ty.with_dtype(dtype));
        let mut dequantize = self.op("dequantize", &format!("{name}_dequantized"), ty.dtype);
        dequantize.set_arg("input", vec![codes]);
        let (dequantize, new) = self.append(dequantize, ty.clone());
        ([quantize, dequantize], new)
    }

    fn op(&mut self, kind: &str, wanted: &str, float: DType) -> Op {
        let numbered = (1..).map(|n| Name::from(format!("{wanted}_{n}")));
        let name = std::iter::once(Name::from(wanted)).chain(numbered).find(|n| self.names.insert(n.clone()));
        let mut op = Op::new(OpKind::named(kind), name.unwrap_or_else(|| wanted.into()));
        op.origin = Origin { source: None, pass: Some("compress") };
        let scale = self.function.add_const("", Const::from(Tensor::scalar_f64(float, self.scale.into())));
        op.set_arg("scale", vec![scale]);
        if self.zero != 0 || self.how.rule.mode == LinearMode::Affine {
            let zero = Tensor::scalar_f64(self.how.dtype(), self.zero as f64);
            let zero = self.function.add_const("", Const::from(zero));
            op.set_arg("zero_point", vec![zero]);
        }
        op
    }

    fn append(&mut self, op: Op, ty: TensorType) -> (OpId, ValueId) {
        let name = op.name.clone();
        let id = self.function.append(self.home, op, vec![(name, ty.into())]);
        (id, self.function.op(id).outputs[0])
    }
}

fn told(function: &Function, id: OpId) -> (String, String) {
    let op = function.op(id);
    let name = op.outputs.first().map_or(&op.name, |&v| &function.value(v).name);
    (op.kind.name().to_owned(), name.to_string())
}

/// The block whose input a value is.
fn home_of_input(function: &Function, value: ValueId) -> Option<BlockId> {
    if function.inputs.contains(&value) {
        return Some(function.body());
    }
    function.block_ids().find(|&b| function.block(b).inputs.contains(&value))
}

/// Moves new ops from the end of a block to behind the ops that make what they take.
fn reorder(
    function: &mut Function,
    home: BlockId,
    producers: &HashSet<Option<OpId>>,
    behind: &HashMap<Option<OpId>, Vec<OpId>>,
) {
    let ops = std::mem::take(&mut function.block_mut(home).ops);
    let mine = |p: &Option<OpId>| behind.get(p).into_iter().flatten().copied();
    let new: HashSet<OpId> = producers.iter().flat_map(mine).filter(|id| ops.contains(id)).collect();
    let first = if producers.contains(&None) {
        mine(&None).filter(|id| new.contains(id)).collect()
    } else {
        Vec::new()
    };
    let mut ordered: Vec<OpId> = first;
    for id in ops.into_iter().filter(|id| !new.contains(id)) {
        ordered.push(id);
        ordered.extend(behind.get(&Some(id)).into_iter().flatten());
    }
    function.block_mut(home).ops = ordered;
}
