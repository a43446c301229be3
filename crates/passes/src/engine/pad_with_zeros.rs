//! Padding with another number than 0 becomes padding with 0, and the number is added at the border.
//!
//! ```text
//! y = pad(x, value = 1)      becomes      y = add(pad(x, value = 0), border: 1 where x does not reach, else 0)
//! ```
//! Nothing is rounded: inside 0 is added, and at the border the number to 0. The border has an extent of 1 along the
//! dims that are not padded.

use super::Limits;
use super::pieces::{binary, count, extents, number};
use crate::legal::LARGE;
use crate::{Miss, OpRef, Patch};
use anemone_mil::ops::{Pad, PadMode};
use anemone_mil::{Tensor, Weight};

/// A border with more elements is not written.
const LARGEST: usize = 1 << 22;

/// The rewrite; looks at `pad`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["pad"])?;
    let pad = Pad::of(&op.site()?)?;
    let PadMode::Constant(value) = pad.mode else { return Err("it pads with what is there".into()) };
    if value == 0.0 {
        return Err("it pads with 0".into());
    }
    if value.is_nan() || value.abs() >= LARGE {
        return Err(Miss::because(format!("sums with {value} are not finite on the engine")));
    }
    let (pads, shape) = (pad.pads.ok_or("the amounts are not constant")?, extents(op, op.result()?)?);
    let border: Vec<usize> =
        shape.iter().zip(&pads).map(|(&n, &p)| if p == (0, 0) { 1 } else { n }).collect();
    let count = count(&border)?;
    if count > LARGEST {
        return Err(Miss::because(format!("the border takes {count} elements")));
    }
    let dtype = op.tensor(op.result()?)?.dtype;
    let values: Vec<f64> = (0..count).map(|i| if inside(i, &border, &pads) { 0.0 } else { value }).collect();
    let mut patch = Patch::default();
    let zero = number(&mut patch, dtype, 0.0);
    let padded = patch.variant(op.op(), "padded", vec![("constant_val", zero)]);
    let border = patch.constant("border", Weight::of(&Tensor::from_f64s(dtype, border, &values)?));
    let sum = binary(&mut patch, "add", "bordered", padded, border);
    Ok(patch.replacing(op.result()?, sum))
}

/// True when element `at` of the border lies where the tensor is.
fn inside(mut at: usize, border: &[usize], pads: &[(usize, usize)]) -> bool {
    border.iter().zip(pads).rev().all(|(&n, &(before, after))| {
        let i = at % n;
        at /= n;
        i >= before && i + after < n
    })
}
