//! A function made ready for emulation: norms and softmax in steps, products of 8-bit operands found.

use super::{EmulatedOp, Emulation, Gauge, How, SumRange};
use crate::precision::expand_some;
use anemone_mil::ops::Site;
use anemone_mil::{DType, Function, OpId, Tensor, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// A product of 8-bit weights and 8-bit activations.
#[derive(Debug)]
pub(crate) struct WholeProduct {
    /// The activations, `int8`.
    pub input: ValueId,
    /// Weights `[channels_out, ...]`.
    pub weight: Vec<f32>,
    /// Scale of activations times scale of weights: one, or one for each output channel.
    pub scales: Vec<f64>,
}

/// What is emulated, by the name of an op's first result.
#[derive(Debug)]
pub(crate) struct Ready {
    emulation: Emulation,
    ops: HashMap<String, One>,
    order: Vec<String>,
}

#[derive(Debug)]
struct One {
    kind: String,
    how: How,
    whole: Option<WholeProduct>,
    gauge: Arc<Gauge>,
}

impl Ready {
    /// Rewrites `function` where ops are computed in steps, and looks at every op that is to be emulated.
    pub(crate) fn new(function: &mut Function, emulation: &Emulation) -> Ready {
        let mut emulation = emulation.clone();
        let wanted = |name: &str| emulation.ops.contains(name);
        let steps = expand_some(function, &wanted);
        emulation.ops.extend(steps);
        let mut ready = Ready { emulation, ops: HashMap::new(), order: Vec::new() };
        for (_, id) in function.walk() {
            ready.look_at(function, id);
        }
        ready
    }

    fn look_at(&mut self, function: &Function, id: OpId) {
        let Some(name) = result_name(function, id).filter(|n| self.emulation.ops.contains(*n)) else {
            return;
        };
        let Ok(site) = Site::new(function, function.op(id)) else { return };
        let whole = whole_product(&site);
        let how = self.emulation.arithmetic.how(&site, whole.is_some());
        let how = if in_half(function, id) || how == How::Moves { how } else { How::Unknown };
        let one = One { kind: site.def.name.to_owned(), how, whole, gauge: Arc::default() };
        if self.ops.insert(name.to_owned(), one).is_none() {
            self.order.push(name.to_owned());
        }
    }

    /// How an op is computed, when it is to be emulated.
    pub(crate) fn how(&self, function: &Function, id: OpId) -> Option<How> {
        // An op alone, planned while it runs, may have lost what it was.
        let known = |one: &&One| one.kind == function.op(id).kind.name() && in_half(function, id);
        self.ops.get(result_name(function, id)?).filter(known).map(|one| one.how)
    }

    /// The 8-bit product that an op is.
    pub(crate) fn whole(&self, function: &Function, id: OpId) -> Option<&WholeProduct> {
        self.ops.get(result_name(function, id)?)?.whole.as_ref()
    }

    /// Where an op tells how near its sums come to the limit; `None` when nobody asks.
    pub(crate) fn gauge(&self, function: &Function, id: OpId) -> Option<Arc<Gauge>> {
        let one = self.ops.get(result_name(function, id)?)?;
        self.emulation.measure.then(|| Arc::clone(&one.gauge))
    }

    /// Every op in program order.
    pub(crate) fn ops(&self) -> Vec<EmulatedOp> {
        let op = |name: &String| {
            let one = self.ops.get(name)?;
            let (kind, how) = (one.kind.clone(), one.how);
            Some(EmulatedOp { name: name.clone(), kind, how, sums: one.range() })
        };
        self.order.iter().filter_map(op).collect()
    }
}

impl One {
    fn range(&self) -> Option<SumRange> {
        let step = if self.how == How::WholeSums { 1.0 } else { super::number::STEPS };
        let ((largest, any_order), (infinite, results)) = (self.gauge.largest(), self.gauge.counts());
        let limit = super::number::LIMIT / step;
        let (largest, any_order) = (largest / step, any_order / step);
        (results > 0).then_some(SumRange { largest, any_order, limit, infinite, results })
    }
}

fn result_name(function: &Function, id: OpId) -> Option<&str> {
    Some(&function.value(*function.op(id).outputs.first()?).name)
}

/// True when all float operands and results are `fp16`.
fn in_half(function: &Function, id: OpId) -> bool {
    let op = function.op(id);
    let ty = |v: ValueId| function.value(v).ty.tensor().map(|t| t.dtype);
    op.operands()
        .chain(op.outputs.iter().copied())
        .all(|v| ty(v).is_none_or(|d| !d.is_float() || d == DType::F16))
        && op.outputs.iter().all(|&v| ty(v) == Some(DType::F16))
}

/// An op on activations out of `dequantize` and weights out of 8-bit codes, both `int8` around 0.
fn whole_product(site: &Site<'_>) -> Option<WholeProduct> {
    if !matches!(site.def.name, "conv" | "linear") {
        return None;
    }
    let function = site.function;
    let mut x = function.producer(site.op.value("x")?)?;
    if function.op(x).is("cast") {
        x = function.producer(function.op(x).value("x")?)?;
    }
    let activations = Site::new(function, function.op(x)).ok().filter(|s| s.def.name == "dequantize")?;
    let scale = centred(&activations, "scale", "zero_point").filter(|s| s.len() == 1)?;
    let input = activations.op.value("input")?;
    let is_i8 = function.value(input).ty.tensor()?.dtype == DType::I8;
    let weights = Site::new(function, function.op(function.producer(site.op.value("weight")?)?)).ok()?;
    let (data, scales) = match weights.def.name {
        "constexpr_affine_dequantize" => ("quantized_data", centred(&weights, "scale", "zero_point")?),
        "constexpr_blockwise_shift_scale" => ("data", centred(&weights, "scale", "offset")?),
        _ => return None,
    };
    let codes = weights.numbers(data).filter(|c| c.dtype() == DType::I8 && is_i8)?;
    let channels = *codes.shape().first()?;
    let by_channel = scales.len() == 1 || scales.len() == channels && along_first(&weights, channels);
    let scales = scales.to_f64s().into_iter().map(|s| s * scale.f64_at(0)).collect();
    by_channel.then(|| WholeProduct { input, weight: codes.to_f32s(), scales })
}

/// The scales of an op whose zero points are 0.
fn centred(site: &Site<'_>, scale: &str, zero: &str) -> Option<Tensor> {
    let none = !site.has(zero) || site.numbers(zero)?.to_f64s().iter().all(|&z| z == 0.0);
    site.numbers(scale).filter(|_| none)
}

/// True when scales go along the first dim.
fn along_first(site: &Site<'_>, channels: usize) -> bool {
    match site.def.name {
        "constexpr_affine_dequantize" => site.int("axis").is_ok_and(|axis| axis == 0),
        _ => site.numbers("scale").is_some_and(|s| s.shape().first() == Some(&channels)),
    }
}
