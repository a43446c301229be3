//! Evaluates what does not depend on inputs.

use crate::eval::EvalSite;
use crate::ops::{Effect, Site};
use crate::{Const, Function, Literal, OpId, Type, ValueId, Weight};
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
        let outputs = function.op(id).outputs.clone();
        for (old, constant) in outputs.into_iter().zip(constants) {
            let name = function.value(old).name.clone();
            replaced.insert(old, function.add_const(name, constant));
        }
        folded.insert(id);
    }
    let outputs = &mut function.block_mut(function.body()).outputs;
    outputs.iter_mut().for_each(|v| *v = replaced.get(v).copied().unwrap_or(*v));
    function.remove_ops(&folded);
    folded.len()
}

fn redirect(function: &mut Function, id: OpId, replaced: &HashMap<ValueId, ValueId>) {
    let args = function.op_mut(id).args.iter_mut().flat_map(|a| a.values.iter_mut());
    args.for_each(|v| *v = replaced.get(v).copied().unwrap_or(*v));
    for block in function.op(id).blocks.clone() {
        let outputs = &mut function.block_mut(block).outputs;
        outputs.iter_mut().for_each(|v| *v = replaced.get(v).copied().unwrap_or(*v));
    }
}

/// The results of an op whose operands are all constant; `None` when it cannot or may not be folded.
pub(crate) fn fold_op(function: &Function, id: OpId, limits: FoldLimits) -> Option<Vec<Const>> {
    let constant = |literal| match literal {
        Literal::Tensor(t) if t.rank() > 0 => Const::Weight(Weight::of(&t)),
        other => Const::Literal(other),
    };
    results(function, id, limits).map(|r| r.into_iter().map(constant).collect())
}

fn results(function: &Function, id: OpId, limits: FoldLimits) -> Option<Vec<Literal>> {
    let op = function.op(id);
    let site = Site::new(function, op).ok()?;
    if op.is("shape") {
        return known_shape(&site);
    }
    let allowed = match site.def.effect {
        Effect::Pure => true,
        Effect::Constexpr => limits.constexpr,
        _ => false,
    };
    if !allowed || op.args.is_empty() || op.outputs.iter().any(|&v| too_large(&function.value(v).ty, limits))
    {
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
