//! Gives a function with free dims the shapes of one prediction.

use crate::plan::fault;
use anemone_mil::ops::{Effect, Site};
use anemone_mil::{BlockId, Dim, FoldLimits, Function, OpId, Type, ValueId, fold_constants};
use anemone_model::PredictError;

/// Everything whose result memory allows is folded: it is done once, when a model is loaded.
pub(crate) fn fold_limits(memory_limit: u64) -> FoldLimits {
    let max_elements = usize::try_from(memory_limit / 64).unwrap_or(usize::MAX);
    FoldLimits { constexpr: true, max_elements }
}

/// The function with its inputs fixed to `shapes` (in input order, states left out) and all types inferred anew.
///
/// Dims that depend on data stay free.
///
/// # Errors
/// When an op does not take operands of the shapes that it would get.
pub(crate) fn specialise(
    function: &Function,
    shapes: &[Vec<usize>],
    memory_limit: u64,
) -> Result<Function, PredictError> {
    let mut f = function.clone();
    let inputs: Vec<ValueId> =
        f.inputs.iter().copied().filter(|&v| f.value(v).ty.tensor().is_some()).collect();
    for (input, shape) in inputs.into_iter().zip(shapes) {
        if let Type::Tensor(t) = &mut f.value_mut(input).ty {
            t.dims = shape.iter().map(|&n| Dim::Known(n)).collect();
        }
    }
    let body = f.body();
    infer_block(&mut f, body)?;
    // Each round turns the shapes that became known into constants, and infers what follows from them.
    while fold_constants(&mut f, fold_limits(memory_limit)) > 0 {
        infer_block(&mut f, body)?;
    }
    Ok(f)
}

fn infer_block(f: &mut Function, block: BlockId) -> Result<(), PredictError> {
    for id in f.block(block).ops.clone() {
        if f.op(id).is("while_loop") {
            infer_loop(f, id)?;
            continue;
        }
        f.op(id).blocks.clone().into_iter().try_for_each(|b| infer_block(f, b))?;
        infer_op(f, id)?;
    }
    Ok(())
}

fn infer_op(f: &mut Function, id: OpId) -> Result<(), PredictError> {
    let op = f.op(id);
    let outputs = op.outputs.clone();
    let types = Site::new(f, op).and_then(|site| site.infer()).map_err(|e| fault(f, id, e))?;
    outputs.into_iter().zip(types).for_each(|(v, ty)| f.value_mut(v).ty = ty);
    Ok(())
}

/// Gives the blocks and results of a loop the types of its variables; dims that change from round to round become free.
fn infer_loop(f: &mut Function, id: OpId) -> Result<(), PredictError> {
    let (vars, blocks) = (f.op(id).values("loop_vars").to_vec(), f.op(id).blocks.clone());
    let mut types: Vec<Type> = vars.iter().map(|&v| f.value(v).ty.clone()).collect();
    loop {
        for &block in &blocks {
            let inputs = f.block(block).inputs.clone();
            inputs.into_iter().zip(&types).for_each(|(v, ty)| f.value_mut(v).ty = ty.clone());
            infer_block(f, block)?;
        }
        let Some(&body) = blocks.get(1) else { return infer_op(f, id) };
        let next = f.block(body).outputs.iter().map(|&v| &f.value(v).ty);
        let joined: Vec<Type> = types.iter().zip(next).map(|(a, b)| joined(a, b)).collect();
        if joined.len() != types.len() || joined == types {
            infer_op(f, id)?;
            let results = f.op(id).outputs.clone();
            results.into_iter().zip(types).for_each(|(v, ty)| f.value_mut(v).ty = ty);
            return Ok(());
        }
        types = joined;
    }
}

/// The type with the dims free in which another differs; lists keep their type.
fn joined(a: &Type, b: &Type) -> Type {
    let (Type::Tensor(x), Type::Tensor(y)) = (a, b) else { return a.clone() };
    let mut both = x.clone();
    both.dims.iter_mut().zip(&y.dims).filter(|(a, b)| a != b).for_each(|(a, _)| *a = Dim::Unknown);
    both.into()
}

/// True when every tensor of the function has known dims and nothing but straight code is in it.
pub(crate) fn is_static(f: &Function) -> bool {
    let known = |ty: &Type| match ty {
        Type::Tensor(t) => t.known_shape().is_some(),
        Type::Dict(..) | Type::State(_) => true,
        _ => false,
    };
    let straight =
        |id| f.op(id).blocks.is_empty() && f.op(id).kind.def().is_some_and(|d| d.effect != Effect::Control);
    f.inputs.iter().all(|&v| known(&f.value(v).ty))
        && f.walk()
            .into_iter()
            .all(|(_, id)| straight(id) && f.op(id).outputs.iter().all(|&v| known(&f.value(v).ty)))
}
