//! `batch_norm(conv(x, W, b))` becomes `conv(x, W', b')`.
//!
//! With `s = gamma / sqrt(variance + epsilon)` per output channel: `W' = s W`, `b' = s (b - mean) + beta`.

use super::{fold_conv_scale::scaled_conv, numbers, sole_producer};
use crate::{Miss, Patch};
use anemone_mil::ops::Site;
use anemone_mil::{Function, OpId, Uses};

/// The rewrite; looks at `batch_norm`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    if !op.is("batch_norm") {
        return Err("not a batch_norm".into());
    }
    let conv = sole_producer(function, uses, id, "x", &["conv", "conv_transpose"])?;
    let operand = |param: &str| numbers(function, op.value(param)).map(|t| t.to_f64s());
    let mean = operand("mean").ok_or("mean is not constant")?;
    let variance = operand("variance").ok_or("variance is not constant")?;
    let channels = mean.len();
    let gamma = operand("gamma").unwrap_or_else(|| vec![1.0; channels]);
    let beta = operand("beta").unwrap_or_else(|| vec![0.0; channels]);
    let epsilon = Site::new(function, op)?.float("epsilon")?;
    if [&variance, &gamma, &beta].iter().any(|v| v.len() != channels) {
        return Err("statistics differ in length".into());
    }
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f64> = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    scaled_conv(function, id, conv, &scale, &shift)
}
