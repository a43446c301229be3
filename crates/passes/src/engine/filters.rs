//! Parts of weights and windows that several rewrites cut.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Const, Literal, Tensor, ValueId, Weight, WeightData};
use anemone_tensor::num;

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

/// Dims of 1 that a weight gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ones {
    /// Before which dim.
    pub(super) at: usize,
    /// How many.
    pub(super) count: usize,
}

/// Operands of ops that unpack weights, which have the dims of the weight.
const SHAPED: [&str; 5] = ["data", "scale", "offset", "indices", "quantized_data"];

impl Ones {
    fn of(self, mut shape: Vec<usize>) -> Vec<usize> {
        let at = self.at.min(shape.len());
        shape.splice(at..at, std::iter::repeat_n(1, self.count));
        shape
    }

    /// A weight with those dims.
    ///
    /// # Errors
    /// When it is computed and cannot be made.
    pub(super) fn add(self, patch: &mut Patch, weight: Weight) -> Result<Ref, Miss> {
        let shape = self.of(weight.shape.clone());
        let new = match weight.data {
            WeightData::Bytes(_) => Weight { shape, origin: None, ..weight },
            _ => Weight::of(&weight.tensor()?.reshaped(shape)?),
        };
        Ok(patch.constant("weight", new))
    }

    /// The op that unpacks a weight, for a weight with those dims.
    ///
    /// # Errors
    /// When it is written in a form that does not tell its dims, or names one behind.
    pub(super) fn unpack(
        self,
        op: OpRef<'_>,
        unpacked: OpRef<'_>,
        value: ValueId,
        patch: &mut Patch,
    ) -> Result<Ref, Miss> {
        let kinds =
            ["constexpr_blockwise_shift_scale", "constexpr_lut_to_dense", "constexpr_affine_dequantize"];
        op.made_by(value, &kinds)?;
        let rank = op.tensor(value)?.rank();
        let mut changed: Vec<(&str, Ref)> = Vec::new();
        for arg in &unpacked.op().args {
            let [v] = *arg.values.as_slice() else { return Err("an operand is a list".into()) };
            let (param, of) = (&*arg.param, unpacked.tensor(v)?.rank());
            if param == "axis"
                && !(0..self.at).any(|at| unpacked.constant(v).is_ok_and(|t| t.i64_at(0) == num::i64_of(at)))
            {
                return Err("the scales go along a dim behind".into());
            }
            // A palette `[.., entries, width]` has its own two dims behind those of the weight.
            let shaped = SHAPED.contains(&param) && of == rank || param == "lut" && of == rank + 2;
            if !shaped && (param == "lut" || param == "shape") {
                return Err("the palette is written as before iOS 18".into());
            }
            if !shaped {
                continue;
            }
            let inside = weight(op, v)?;
            if !matches!(inside.data, WeightData::Bytes(_)) {
                return Err(op.about(v, "is computed"));
            }
            let constant =
                Const::Weight(Weight { shape: self.of(inside.shape.clone()), origin: None, ..inside });
            changed.push((param, patch.constant("packed", constant)));
        }
        Ok(patch.variant(unpacked.op(), "weight", changed))
    }
}
