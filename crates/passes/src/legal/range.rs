//! What has to stay in `fp32` because `fp16` reaches from 2^-24 to 65504 only, and counts to 2048.

use crate::Index;
use anemone_mil::{Const, DType, Function, Literal, Op, OpId, Tensor, ValueId};
use anemone_tensor::f16;
use std::collections::HashSet;

/// Stands for large numbers that only mask: three of them add up to less than 32768, from where sums are infinite on the
/// engine, and its exponential is 0.
pub(crate) const MASK: f64 = 1e4;

/// Half of the largest number of `fp16`: a mask from here on is bounded.
pub(crate) const LARGE: f64 = 32752.0;

/// How a constant fares in `fp16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is rounded at most.
    Fits,
    /// A number that is not zero becomes zero.
    Vanishes,
    /// A finite number becomes infinite.
    Overflows,
}

/// How the constant given for a parameter fares in `fp16`.
///
/// An `epsilon` is raised instead of vanishing, and a bound of `clip` may become infinite. Of several numbers some may
/// vanish: small weights do, and do no harm.
pub(super) fn fit(op: &Op, param: &str, constant: &Const) -> Fit {
    let Ok(Literal::Tensor(t)) = constant.literal() else { return Fit::Fits };
    let values = t.to_f32s();
    let overflows = |v: &f32| v.is_finite() && !f16::from_f32(*v).is_finite();
    let bound = op.is("clip") && matches!(param, "alpha" | "beta");
    if !bound && values.iter().any(overflows) {
        return Fit::Overflows;
    }
    let vanishes = |v: &f32| *v != 0.0 && f16::from_f32(*v) == f16::ZERO;
    if values.len() == 1 && param != "epsilon" && values.iter().any(vanishes) {
        return Fit::Vanishes;
    }
    Fit::Fits
}

/// The constant in `fp16`.
pub(super) fn half(constant: &Const, param: &str, masks: bool) -> Const {
    let tensor = |t: &Tensor| -> Tensor {
        let smallest = f64::from(f16::MIN_POSITIVE_SUBNORMAL.to_f32());
        match t.len() {
            1 if param == "epsilon" && t.f64_at(0) > 0.0 => {
                Tensor::scalar_f64(DType::F16, t.f64_at(0).max(smallest)).reshaped(t.shape())
            }
            _ if masks => {
                let clamped = |v: f64| if v.is_finite() && v.abs() >= LARGE { MASK.copysign(v) } else { v };
                let values: Vec<f64> = t.to_f64s().into_iter().map(clamped).collect();
                Tensor::from_f64s(DType::F16, t.shape(), &values)
            }
            _ => Ok(t.cast(DType::F16)),
        }
        .unwrap_or_else(|_| t.cast(DType::F16))
    };
    match constant {
        Const::Weight(w) if !masks => w.clone().cast(DType::F16).into(),
        Const::Weight(w) => w.tensor().map_or_else(|_| constant.clone(), |t| tensor(&t).into()),
        Const::Literal(Literal::Tensor(t)) => tensor(t).into(),
        Const::Literal(other) => Const::Literal(other.clone()),
    }
}

/// Ops that a mask passes on its way to a `softmax`, besides those that only move it.
const MASKED: [&str; 3] = ["add", "mul", "select"];
/// Most ops that are looked at between a mask and its `softmax`.
const FUEL: usize = 64;

/// True when all that the result of an op does is to be added to what a `softmax` takes, so that a large number only
/// says which elements count.
pub(crate) fn only_masks(function: &Function, index: &Index, id: OpId) -> bool {
    if !["add", "sub", "mul", "select", "fill"].contains(&function.op(id).kind.name()) {
        return false;
    }
    let mut seen = HashSet::from([id]);
    let mut queue = vec![id];
    while let Some(id) = queue.pop() {
        for &v in &function.op(id).outputs {
            if index.escapes(v) || index.users(v).is_empty() || seen.len() > FUEL {
                return false;
            }
            for &user in index.users(v) {
                let op = function.op(user);
                let kind = op.kind.name();
                if kind == "softmax" || op.value("attn_mask") == Some(v) {
                    continue;
                }
                if !MASKED.contains(&kind) && !moves(op) {
                    return false;
                }
                if seen.insert(user) {
                    queue.push(user);
                }
            }
        }
    }
    true
}

/// Operands whose zeros make a result infinite or no number, or move it far.
const STEEP: [(&str, &str); 6] =
    [("inverse", "x"), ("log", "x"), ("pow", "x"), ("real_div", "y"), ("rsqrt", "x"), ("sqrt", "x")];
/// True for ops that hand numbers on as they are.
pub(super) fn moves(op: &Op) -> bool {
    !op.kind.form().moved().is_empty()
}

/// True when an op must not take `fp16` versions of values that a small number keeps away from zero.
pub(super) fn needs_small_numbers(op: &Op, small: &HashSet<ValueId>) -> bool {
    let steep = STEEP.iter().filter(|(kind, _)| op.is(kind));
    let harmed = steep.filter_map(|(_, param)| op.value(param)).any(|v| small.contains(&v));
    harmed || moves(op) && op.operands().any(|v| small.contains(&v))
}

/// True when results of an op that stays in `fp32` are as small as what it takes; a root halves the exponent only.
pub(super) fn hands_on(op: &Op) -> bool {
    moves(op) || op.is("sqrt")
}

/// Ops that compute with whole numbers in floats.
const COUNTING: [&str; 12] = [
    "add",
    "sub",
    "mul",
    "real_div",
    "floor_div",
    "mod",
    "floor",
    "ceil",
    "round",
    "maximum",
    "minimum",
    "clip",
];

/// Ops between a `cast` from integers and one back to integers: shapes and positions, which `fp16` does not count.
pub(super) fn counting(function: &Function) -> HashSet<OpId> {
    let dtype = |v: ValueId| function.value(v).ty.tensor().map(|t| t.dtype);
    let is_int = |v: ValueId| dtype(v).is_some_and(|d| d.is_int());
    let is_float = |v: ValueId| dtype(v).is_some_and(|d| d.is_float());
    let walk = function.walk();
    let mut counted: HashSet<ValueId> = HashSet::new();
    for &(_, id) in &walk {
        let op = function.op(id);
        let from_ints = op.is("cast") && op.value("x").is_some_and(is_int);
        let mut floats = op.operands().filter(|&v| is_float(v) && function.constant(v).is_none()).peekable();
        let goes_on = (moves(op) || COUNTING.contains(&op.kind.name()))
            && floats.peek().is_some()
            && floats.all(|v| counted.contains(&v));
        if from_ints || goes_on {
            counted.extend(op.outputs.iter().copied().filter(|&v| is_float(v)));
        }
    }
    let mut wanted: HashSet<ValueId> = HashSet::new();
    let mut found = HashSet::new();
    for &(_, id) in walk.iter().rev() {
        let op = function.op(id);
        let to_ints = op.is("cast") && op.outputs.iter().all(|&v| is_int(v));
        if to_ints && op.operands().any(|v| counted.contains(&v))
            || op.outputs.iter().any(|v| wanted.contains(v))
        {
            found.insert(id);
            wanted.extend(op.operands().filter(|v| counted.contains(v)));
        }
    }
    found
}
