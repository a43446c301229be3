//! A `cast` after one that lost nothing takes the original.
//!
//! ```text
//! y = cast(cast(x: fp16, "fp32"), "fp16")      becomes      y = x
//! y = cast(cast(x: bool, "int32"), "fp32")     becomes      y = cast(x, "fp32")
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{DType, Type};

/// The rewrite; looks at the second `cast`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["cast"])?;
    let middle = op.operand("x")?;
    let first = op.made_by(middle, &["cast"])?;
    let x = first.operand("x")?;
    let (from, through) = (op.tensor(x)?.dtype, op.tensor(middle)?.dtype);
    if !holds_all(through, from) {
        return Err(Miss::because(format!("{through} does not hold every {from}")));
    }
    let result = op.result()?;
    if Type::Tensor(op.tensor(x)?.clone()) == op.function.value(result).ty {
        return Ok(Patch::redirect(result, x));
    }
    let mut patch = Patch::default();
    let new = patch.variant(op.op(), "cast", vec![("x", Ref::Value(x))]);
    Ok(patch.replacing(result, new))
}

/// True when a value of type `from` is the same value in type `through`.
fn holds_all(through: DType, from: DType) -> bool {
    let wide = |exponents: &[DType]| exponents.contains(&through);
    through == from
        || match from {
            DType::Bool => through.is_float() || through.is_int(),
            DType::I8 => wide(&[DType::I16, DType::I32, DType::F16, DType::F32]),
            DType::U8 => wide(&[DType::I16, DType::U16, DType::I32, DType::F16, DType::F32]),
            DType::I16 | DType::U16 => wide(&[DType::I32, DType::F32]),
            DType::F16 => wide(&[DType::F32]),
            _ => false,
        }
}
