//! `batch_norm` after a convolution is worked into its weights.
//!
//! ```text
//! y = batch_norm(conv(x, W, b), mean, variance, gamma, beta)      becomes      y = conv(x, s W, s (b - mean) + beta)
//! ```
//! with `s = gamma / sqrt(variance + epsilon)` per output channel.

use super::affine;
use crate::{Miss, OpRef, Patch};

/// The rewrite; looks at `batch_norm`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["batch_norm"])?;
    let conv = op.sole(op.operand("x")?, &["conv", "conv_transpose"])?;
    let numbers = |param: &str| Ok::<_, Miss>(op.constant(op.operand(param)?)?.to_f64s());
    let (mean, variance) = (numbers("mean")?, numbers("variance")?);
    let or = |param: &str, default: f64| match op.op().value(param) {
        Some(_) => numbers(param),
        None => Ok(vec![default; mean.len()]),
    };
    let (gamma, beta) = (or("gamma", 1.0)?, or("beta", 0.0)?);
    let epsilon = op.site()?.float("epsilon")?;
    if [&variance, &gamma, &beta].iter().any(|v| v.len() != mean.len()) {
        return Err("the statistics differ in length".into());
    }
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f64> = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    affine::scaled(op, conv, &scale, &shift)
}
