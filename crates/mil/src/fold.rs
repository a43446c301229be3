//! Evaluates what does not depend on inputs.

use crate::eval::EvalSite;
use crate::ops::{Effect, Site};
use crate::{Const, Function, Literal, Op, OpId, Type, ValueId, Weight};
use std::collections::{HashMap, HashSet};

/// What [`fold_constants`] may fold.
#[derive(Clone, Copy, Debug)]
pub struct FoldLimits {
    /// Also unpack compressed weights (`constexpr_*`).
    pub constexpr: bool,
    /// Leave results with more elements alone.
    pub max_elements: usize,
}

/// Replaces ops of the body whose operands are all constant by their results; returns how many went.
///
/// `shape` of a tensor of known dims counts as constant. Ops that the reference evaluation cannot compute stay.
/// Results that the function hands out keep their names.
pub fn fold_constants(function: &mut Function, limits: FoldLimits) -> usize {
    let mut replaced: HashMap<ValueId, ValueId> = HashMap::new();
    let mut folded: HashSet<OpId> = HashSet::new();
    for (_, id) in function.walk() {
        redirect(function, id, &replaced);
        let Some(constants) = fold_op(function, id, limits) else { continue };
        if retypes_output(function, id, &constants) {
            continue;
        }
        let outputs = function.op(id).outputs.clone();
        for (old, constant) in outputs.into_iter().zip(constants) {
            let name = function.value(old).name.clone();
            replaced.insert(old, function.add_const(name, constant));
        }
        folded.insert(id);
    }
    for block in function.block_ids() {
        let outputs = &mut function.block_mut(block).outputs;
        outputs.iter_mut().for_each(|v| *v = replaced.get(v).copied().unwrap_or(*v));
    }
    function.remove_ops(&folded);
    folded.len()
}

/// Longest chain of ops that [`constant_value`] goes through.
const MAX_CHAIN: usize = 256;

/// What a value is that depends on constants alone, computed now whether or not its ops have been folded.
///
/// `None` when it depends on an input, on an op that the reference evaluation cannot compute, or when the results on
/// the way together exceed `limits`.
pub fn constant_value(function: &Function, value: ValueId, limits: FoldLimits) -> Option<Literal> {
    Chain { function, limits, known: HashMap::new() }.value(value, 0)
}

/// The ops that one value rests on, each computed once.
struct Chain<'f> {
    function: &'f Function,
    /// What is left of it.
    limits: FoldLimits,
    known: HashMap<ValueId, Literal>,
}

impl Chain<'_> {
    fn value(&mut self, value: ValueId, depth: usize) -> Option<Literal> {
        let function = self.function;
        if let Some(constant) = function.constant(value) {
            return constant.literal().ok();
        }
        if let Some(literal) = self.known.get(&value) {
            return Some(literal.clone());
        }
        let op = function.op(function.producer(value)?);
        if depth >= MAX_CHAIN {
            return None;
        }
        // Extents are known whatever the operand is.
        if !op.is("shape") && op.operands().any(|v| !rests_on_constants(function, v, depth + 1)) {
            return None;
        }
        let site = foldable(function, op, self.limits)?;
        let results = if op.is("shape") { known_shape(&site)? } else { self.computed(op, site, depth)? };
        let elements = results.iter().filter_map(Literal::as_tensor).map(crate::Tensor::len).sum();
        self.limits.max_elements = self.limits.max_elements.checked_sub(elements)?;
        self.known.extend(op.outputs.iter().copied().zip(results));
        self.known.get(&value).cloned()
    }

    fn computed(&mut self, op: &Op, site: Site<'_>, depth: usize) -> Option<Vec<Literal>> {
        let mut values = Vec::with_capacity(op.args.len());
        for arg in &op.args {
            values.push(arg.values.iter().map(|v| self.value(*v, depth + 1)).collect::<Option<Vec<_>>>()?);
        }
        site.def.evaluate(&EvalSite { site, values: &values }).ok()
    }
}

/// A look along the first operands, so that chains from an input are left early.
fn rests_on_constants(function: &Function, value: ValueId, depth: usize) -> bool {
    let mut at = value;
    for _ in depth..MAX_CHAIN {
        let Some(op) = function.producer(at).map(|id| function.op(id)) else {
            return function.constant(at).is_some();
        };
        if op.is("shape") {
            return true;
        }
        let computed = op.operands().find(|&v| function.constant(v).is_none());
        match computed {
            Some(v) => at = v,
            None => return true,
        }
    }
    false
}

/// True when the function hands out a result under another type than the constant would have.
fn retypes_output(function: &Function, id: OpId, constants: &[Const]) -> bool {
    let results = function.op(id).outputs.iter().zip(constants);
    results.into_iter().any(|(v, c)| function.outputs().contains(v) && function.value(*v).ty != c.ty())
}

fn redirect(function: &mut Function, id: OpId, replaced: &HashMap<ValueId, ValueId>) {
    let args = function.op_mut(id).args.iter_mut().flat_map(|a| a.values.iter_mut());
    args.for_each(|v| *v = replaced.get(v).copied().unwrap_or(*v));
}

/// The results of an op whose operands are all constant; `None` when it cannot or may not be folded.
pub(crate) fn fold_op(function: &Function, id: OpId, limits: FoldLimits) -> Option<Vec<Const>> {
    let constant = |literal| match literal {
        Literal::Tensor(t) if t.rank() > 0 => Const::Weight(Weight::of(&t)),
        other => Const::Literal(other),
    };
    results(function, id, limits).map(|r| r.into_iter().map(constant).collect())
}

/// The op where it stands, when it may be evaluated ahead of time.
fn foldable<'f>(function: &'f Function, op: &'f Op, limits: FoldLimits) -> Option<Site<'f>> {
    let site = Site::new(function, op).ok()?;
    let allowed = match site.def.effect {
        Effect::Pure => true,
        Effect::Constexpr => limits.constexpr,
        _ => false,
    };
    let large = |v: &ValueId| too_large(&function.value(*v).ty, limits);
    let usable = allowed && !op.args.is_empty() && !op.outputs.iter().any(large);
    usable.then_some(site)
}

fn results(function: &Function, id: OpId, limits: FoldLimits) -> Option<Vec<Literal>> {
    let op = function.op(id);
    if op.is("shape") {
        return known_shape(&Site::new(function, op).ok()?);
    }
    let site = foldable(function, op, limits)?;
    // Asked first, since a constant that is computed is only made for an op that can be folded.
    if op.operands().any(|v| function.constant(v).is_none()) {
        return None;
    }
    let one = |v: &ValueId| function.constant(*v).and_then(|c| c.literal().ok());
    let values: Option<Vec<Vec<Literal>>> =
        op.args.iter().map(|a| a.values.iter().map(one).collect()).collect();
    site.def.evaluate(&EvalSite { site, values: &values? }).ok()
}

fn too_large(ty: &Type, limits: FoldLimits) -> bool {
    ty.tensor().and_then(crate::TensorType::element_count).is_some_and(|n| n > limits.max_elements)
}

/// The extents of `x`, when all are known.
fn known_shape(site: &Site<'_>) -> Option<Vec<Literal>> {
    let dims = site.tensor("x").ok()?.known_shape()?;
    let result = site.op.outputs.first()?;
    let dtype = site.function.value(*result).ty.tensor()?.dtype;
    let dims: Vec<i64> = dims.into_iter().map(anemone_tensor::num::i64_of).collect();
    Some(vec![crate::Tensor::from_i64s(dtype, [dims.len()], &dims).ok()?.into()])
}
