//! A product with one number, or one per channel, after a `conv` is worked into its weights.
//!
//! ```text
//! y = mul(conv(x, W, b), s)      becomes      y = conv(x, s W, s b)
//! ```

use super::affine;
use crate::{Miss, OpRef, Patch};

/// The rewrite; looks at `mul` and at `real_div` by a constant.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["mul", "real_div"])?;
    let (factor, other) = op.constant_side()?;
    let divide = op.is(&["real_div"]);
    if divide && other == "y" {
        return Err("it divides a constant".into());
    }
    let product = op.operand(other)?;
    let conv = op.sole(product, &["conv", "conv_transpose"])?;
    let channels = affine::channels(op, product)?;
    let factors = affine::per_channel(&factor, channels, op.tensor(product)?.rank())?;
    let scale: Vec<f64> = factors.iter().map(|&f| if divide { 1.0 / f } else { f }).collect();
    affine::scaled(op, conv, &scale, &vec![0.0; channels])
}
