//! Weights with a scale per block, decoded.

use crate::{Miss, OpRef};
use anemone_mil::ops::Site;
use anemone_mil::{DType, Dim, FoldLimits, Tensor, constant_value};

/// Weights with more elements than this are left alone.
const MOST: usize = 1 << 28;

/// The weight that an op unpacks, when its data is of one of these types and its scales go by block.
///
/// # Errors
/// When it is another op, its scales go by channel or tensor, or its bytes are not at hand.
pub(super) fn decoded(op: OpRef<'_>, types: &[DType]) -> Result<Tensor, Miss> {
    op.expect(&["constexpr_blockwise_shift_scale"])?;
    let site: Site<'_> = op.site()?;
    let (data, scale) = (site.tensor("data")?, site.tensor("scale")?);
    if !types.contains(&data.dtype) {
        return Err(Miss::because(format!("the data is {}", data.dtype)));
    }
    if scale.dims.iter().filter(|d| **d != Dim::Known(1)).count() < 2 {
        return Err("the scales go by channel or tensor".into());
    }
    let result = op.result()?;
    let limits = FoldLimits { constexpr: true, max_elements: MOST };
    let literal = constant_value(op.function, result, limits);
    let tensor = literal.and_then(|l| l.as_tensor().cloned());
    tensor.filter(|t| t.rank() > 1 && !t.is_empty()).ok_or_else(|| op.about(result, "cannot be unpacked"))
}
