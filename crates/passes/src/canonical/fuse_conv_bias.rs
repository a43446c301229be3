//! A sum with one number, or one per channel, after a convolution becomes part of its bias.
//!
//! ```text
//! y = add(conv(x, W, b), c)      becomes      y = conv(x, W, b + c)
//! ```

use super::affine;
use crate::{Miss, OpRef, Patch};

/// The rewrite; looks at `add` and at `sub` of a constant.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["add", "sub"])?;
    let (term, other) = op.constant_side()?;
    let subtract = op.is(&["sub"]);
    if subtract && other == "y" {
        return Err("it subtracts from a constant".into());
    }
    let sum = op.operand(other)?;
    let conv = op.sole(sum, &["conv", "conv_transpose"])?;
    let channels = affine::channels(op, sum)?;
    let sign = if subtract { -1.0 } else { 1.0 };
    let terms = affine::per_channel(&term, channels, op.tensor(sum)?.rank())?;
    affine::shifted(op, conv, &terms.iter().map(|t| sign * t).collect::<Vec<_>>())
}
