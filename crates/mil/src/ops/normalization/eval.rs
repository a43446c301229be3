//! Reference normalizations, in `f64`.

use crate::eval::EvalSite;
use crate::ops::Fault;
use crate::ops::common::{for_each_index, offset, strides};
use crate::ops::rearrange::made;
use crate::ops::window::volume;
use crate::{Literal, Tensor};
use anemone_tensor::num::{f64_of_usize, usize_of};

/// The numbers of an optional argument, `count` of them; `fill` when it is left out.
fn numbers(site: &EvalSite<'_>, param: &str, count: usize, fill: f64) -> Result<Vec<f64>, Fault> {
    let Some(t) = site.optional(param) else { return Ok(vec![fill; made(&[count], 0)?]) };
    if t.len() == count {
        return Ok(t.to_f64s());
    }
    Err(Fault::arg(param, format!("of {} elements", t.len()), format!("of {count}")))
}

/// Number of channels of `x`, and of elements per channel.
fn planes(x: &Tensor) -> Result<(usize, usize), Fault> {
    match x.shape() {
        [_, c, space @ ..] => Ok((*c, volume(space))),
        s => Err(Fault::arg("x", format!("of shape {s:?}"), "of rank 2 or more")),
    }
}

/// Evaluates `batch_norm`.
pub(super) fn batch_norm(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if x.is_empty() {
        return Ok(vec![x.into()]);
    }
    let (channels, plane) = planes(&x)?;
    let of = |param: &str, fill: f64| numbers(site, param, channels, fill);
    let (mean, variance) = (of("mean", 0.0)?, of("variance", 1.0)?);
    let (gamma, beta, epsilon) = (of("gamma", 1.0)?, of("beta", 0.0)?, site.float("epsilon")?);
    let one = |(i, v): (usize, f64)| {
        let c = i / plane % channels;
        gamma[c] * (v - mean[c]) / (variance[c] + epsilon).sqrt() + beta[c]
    };
    let values: Vec<f64> = x.to_f64s().into_iter().enumerate().map(one).collect();
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

/// Centres and scales in place by mean and variance.
fn standardize(group: &mut [f64], epsilon: f64) {
    let count = f64_of_usize(group.len());
    let mean = group.iter().sum::<f64>() / count;
    let variance = group.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    let scale = (variance + epsilon).sqrt();
    group.iter_mut().for_each(|v| *v = (*v - mean) / scale);
}

/// Evaluates `instance_norm`.
pub(super) fn instance_norm(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if x.is_empty() {
        return Ok(vec![x.into()]);
    }
    let (channels, plane) = planes(&x)?;
    let (gamma, beta) = (numbers(site, "gamma", channels, 1.0)?, numbers(site, "beta", channels, 0.0)?);
    let epsilon = site.float("epsilon")?;
    let mut values = x.to_f64s();
    for (i, group) in values.chunks_mut(plane.max(1)).enumerate() {
        standardize(group, epsilon);
        group.iter_mut().for_each(|v| *v = *v * gamma[i % channels] + beta[i % channels]);
    }
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

/// Evaluates `layer_norm`.
pub(super) fn layer_norm(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if x.is_empty() {
        return Ok(vec![x.into()]);
    }
    let axes = site.site.axes("axes", x.rank())?;
    let steps = strides(x.shape());
    let split = |inside: bool| {
        let chosen = (0..x.rank()).filter(|i| axes.contains(i) == inside);
        chosen.map(|i| (x.shape()[i], steps[i])).unzip::<usize, usize, Vec<_>, Vec<_>>()
    };
    let ((inner, inner_steps), (outer, outer_steps)) = (split(true), split(false));
    let mut positions = Vec::new();
    for_each_index(&inner, |i| positions.push(offset(i, &inner_steps)));
    let count = positions.len();
    let (gamma, beta) = (numbers(site, "gamma", count, 1.0)?, numbers(site, "beta", count, 0.0)?);
    let epsilon = site.float("epsilon")?;
    let mut values = x.to_f64s();
    for_each_index(&outer, |i| {
        let start = offset(i, &outer_steps);
        let mut group: Vec<f64> = positions.iter().map(|p| values[start + p]).collect();
        standardize(&mut group, epsilon);
        for (n, (p, v)) in positions.iter().zip(group).enumerate() {
            values[start + p] = v * gamma[n] + beta[n];
        }
    });
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

/// Evaluates `l2_norm`.
pub(super) fn l2_norm(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if x.is_empty() {
        return Ok(vec![x.into()]);
    }
    let Some(lead) = x.rank().checked_sub(3) else {
        return Err(Fault::arg("x", format!("of rank {}", x.rank()), "of rank 3 or more"));
    };
    let group = volume(&x.shape()[lead..]);
    let epsilon = site.float("epsilon")?;
    let mut values = x.to_f64s();
    for item in values.chunks_mut(group.max(1)) {
        let length = (item.iter().map(|v| v * v).sum::<f64>() + epsilon).sqrt();
        item.iter_mut().for_each(|v| *v /= length);
    }
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

/// Evaluates `local_response_norm`.
///
/// The window of channel `c` is `c - size / 2 ..= c + (size - 1) / 2`, as in PyTorch.
pub(super) fn local_response_norm(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if x.is_empty() {
        return Ok(vec![x.into()]);
    }
    let (channels, plane) = planes(&x)?;
    let size = site.int("size")?;
    let Some(reach) = usize_of(size).filter(|&n| n > 0) else {
        return Err(Fault::arg("size", size, "at least 1"));
    };
    let (alpha, beta, k) = (site.float("alpha")?, site.float("beta")?, site.float("k")?);
    let xs = x.to_f64s();
    let one = |i: usize| {
        let (item, c, at) = (i / plane / channels, i / plane % channels, i % plane);
        let last = c.saturating_add((reach - 1) / 2).min(channels - 1);
        let window = c.saturating_sub(reach / 2)..=last;
        let squares: f64 = window.map(|c| xs[(item * channels + c) * plane + at].powi(2)).sum();
        xs[i] / (k + alpha / f64_of_usize(reach) * squares).powf(beta)
    };
    let values: Vec<f64> = (0..xs.len()).map(one).collect();
    EvalSite::floats(x.dtype(), x.shape(), &values)
}
