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

/// The elements `from..to` along dim `axis` of a tensor; packed ones must begin and end at whole bytes.
///
/// # Errors
/// When they do not, or the range is outside.
pub(super) fn part(tensor: &Tensor, axis: usize, from: usize, to: usize) -> Result<Tensor, Miss> {
    let extent = tensor.shape().get(axis).copied().unwrap_or(0);
    let step: usize = tensor.shape().iter().skip(axis + 1).product::<usize>() * tensor.dtype().bits();
    if from > to
        || to > extent
        || (axis > 0 || tensor.dtype().bits() < 8) && !(step * extent).is_multiple_of(8)
    {
        return Err("the weight cannot be cut".into());
    }
    if !(step * from).is_multiple_of(8) || !(step * to).is_multiple_of(8) {
        return Err("the weight would be cut within a byte".into());
    }
    let (row, from_byte, to_byte) = (step * extent / 8, step * from / 8, step * to / 8);
    let mut out = Vec::new();
    for bytes in tensor.bytes().chunks_exact(row.max(1)) {
        out.extend_from_slice(&bytes[from_byte..to_byte]);
    }
    let mut shape = tensor.shape().to_vec();
    shape[axis] = to - from;
    Ok(Tensor::new(tensor.dtype(), shape, out)?)
}
