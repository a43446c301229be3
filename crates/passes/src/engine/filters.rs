//! Parts of weights and windows that several rewrites cut.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Const, Literal, Tensor, ValueId, Weight};

/// A list of numbers as a constant.
///
/// # Errors
/// When one does not fit `int32`.
pub(super) fn ints(patch: &mut Patch, suffix: &'static str, values: &[usize]) -> Result<Ref, Miss> {
    let values: Result<Vec<i32>, _> = values.iter().map(|&v| i32::try_from(v)).collect();
    Ok(patch.literal(suffix, Tensor::vector_i32(&values.map_err(|_| "a number is too large")?)))
}

/// Elements before and after each spatial dim as the parameter `pad` has them.
///
/// # Errors
/// When one does not fit `int32`.
pub(super) fn pads(patch: &mut Patch, pads: &[(usize, usize)]) -> Result<Ref, Miss> {
    let flat: Vec<usize> = pads.iter().flat_map(|&(before, after)| [before, after]).collect();
    ints(patch, "pad", &flat)
}

/// The text that says that `pad` counts.
pub(super) fn custom(patch: &mut Patch) -> Ref {
    patch.literal("pad_type", Literal::string("custom"))
}

/// A weight whose bytes are at hand, not made yet.
///
/// # Errors
/// When the value is computed, or only the place of its bytes is known.
pub(super) fn weight(op: OpRef<'_>, value: ValueId) -> Result<Weight, Miss> {
    let weight = match op.function.constant(value) {
        Some(Const::Weight(w)) => w.clone(),
        Some(Const::Literal(l)) => {
            let tensor = l.as_tensor().ok_or_else(|| op.about(value, "is no tensor of numbers"))?;
            Weight::of(tensor)
        }
        None => return Err(op.about(value, "is not constant")),
    };
    if weight.is_available() { Ok(weight) } else { Err(op.about(value, "has no bytes")) }
}

/// The elements `from..to` along dim `axis` of a tensor of whole bytes an element.
///
/// # Errors
/// When the elements are packed closer, or the range is outside.
pub(super) fn part(tensor: &Tensor, axis: usize, from: usize, to: usize) -> Result<Tensor, Miss> {
    let size = tensor.dtype().bits() / 8;
    let extent = tensor.shape().get(axis).copied().unwrap_or(0);
    if size == 0 || from > to || to > extent {
        return Err("the weight cannot be cut".into());
    }
    let inner: usize = tensor.shape()[axis + 1..].iter().product::<usize>() * size;
    let bytes = tensor.bytes();
    let mut out = Vec::new();
    for row in bytes.chunks_exact((extent * inner).max(1)) {
        out.extend_from_slice(&row[from * inner..to * inner]);
    }
    let mut shape = tensor.shape().to_vec();
    shape[axis] = to - from;
    Ok(Tensor::new(tensor.dtype(), shape, out)?)
}
