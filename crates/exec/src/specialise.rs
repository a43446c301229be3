//! Gives a function with free dims the shapes of one prediction.

use anemone_mil::ops::{Effect, Site};
use anemone_mil::{Dim, FoldLimits, Function, Type, fold_constants};

/// Everything that can be folded is: it is done once, when a model is loaded.
pub(crate) const FOLD_ALL: FoldLimits = FoldLimits { constexpr: true, max_elements: usize::MAX };

/// The function with its inputs fixed to `shapes` (in input order) and all types inferred anew.
///
/// `None` when some result still has a free dim, as where a shape depends on data.
pub(crate) fn specialise(function: &Function, shapes: &[Vec<usize>]) -> Option<Function> {
    let mut f = function.clone();
    for (&input, shape) in function.inputs.iter().zip(shapes) {
        if let Type::Tensor(t) = &mut f.value_mut(input).ty {
            t.dims = shape.iter().map(|&n| Dim::Known(n)).collect();
        }
    }
    infer_again(&mut f)?;
    // Each round turns the shapes that became known into constants, and infers what follows from them.
    while fold_constants(&mut f, FOLD_ALL) > 0 {
        infer_again(&mut f)?;
    }
    is_static(&f).then_some(f)
}

fn infer_again(f: &mut Function) -> Option<()> {
    for (_, id) in f.walk() {
        let op = f.op(id);
        let outputs = op.outputs.clone();
        let types = Site::new(f, op).ok()?.infer().ok()?;
        for (v, ty) in outputs.into_iter().zip(types) {
            f.value_mut(v).ty = ty;
        }
    }
    Some(())
}

/// True when every tensor of the function has known dims and nothing but straight code is in it.
pub(crate) fn is_static(f: &Function) -> bool {
    let known = |ty: &Type| match ty {
        Type::Tensor(t) => t.known_shape().is_some(),
        Type::Dict(..) => true,
        _ => false,
    };
    let straight = |id| {
        let op = f.op(id);
        let effect = op.kind.def().map(|d| d.effect);
        op.blocks.is_empty() && matches!(effect, Some(Effect::Pure | Effect::Constexpr))
    };
    f.inputs.iter().all(|&v| known(&f.value(v).ty))
        && f.walk()
            .into_iter()
            .all(|(_, id)| straight(id) && f.op(id).outputs.iter().all(|&v| known(&f.value(v).ty)))
}
