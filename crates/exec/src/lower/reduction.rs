//! Reductions, softmax and normalisations.

use super::{Lowered, Lowering, plain};
use crate::kernels::norm;
use crate::kernels::reduce::{ReducePlan, Reduction};
use crate::kernels::softmax;
use anemone_mil::ops;

/// `reduce_*` with float results.
pub(super) fn reduce(l: &Lowering<'_>) -> Option<Lowered> {
    let reduction = match l.site.def.name {
        "reduce_sum" => Reduction::Sum,
        "reduce_mean" => Reduction::Mean,
        "reduce_max" => Reduction::Max,
        "reduce_min" => Reduction::Min,
        "reduce_prod" => Reduction::Prod,
        "reduce_sum_square" => Reduction::SumSquare,
        "reduce_l1_norm" => Reduction::L1Norm,
        "reduce_l2_norm" => Reduction::L2Norm,
        "reduce_log_sum" => Reduction::LogSum,
        "reduce_log_sum_exp" => Reduction::LogSumExp,
        _ => return None,
    };
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let view = ops::Reduction::of(&l.site).ok()?;
    if shape.contains(&0) {
        return None;
    }
    let plan = ReducePlan::new(reduction, &shape, &view.axes).ok()?;
    Some(plain(vec![x], move |io, pool| plan.run(io.inputs[0], io.outputs[0], pool)))
}

/// `softmax`.
pub(super) fn softmax(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let axis = l.site.axis("axis", shape.len()).ok()?;
    let around = Lowering::around(&shape, axis);
    if shape.contains(&0) {
        return None;
    }
    Some(plain(vec![x], move |io, pool| softmax::softmax(io.inputs[0], around, io.outputs[0], pool)))
}

/// `batch_norm` with constant statistics: `x * scale + shift` per channel.
pub(super) fn batch_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let (mean, variance) = (l.floats("mean")?, l.floats("variance")?);
    let channels = mean.len();
    let or = |param: &str, value: f32| {
        if l.value(param).is_some() { l.floats(param) } else { Some(vec![value; channels]) }
    };
    let (gamma, beta, epsilon) = (or("gamma", 1.0)?, or("beta", 0.0)?, l.float("epsilon")?);
    let lengths = [variance.len(), gamma.len(), beta.len(), *shape.get(1)?];
    if lengths != [channels; 4] || shape.contains(&0) {
        return None;
    }
    let scale: Vec<f32> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f32> = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    let inner: usize = shape[2..].iter().product();
    Some(plain(vec![x], move |io, pool| {
        norm::batch_norm(io.inputs[0], &scale, &shift, inner, io.outputs[0], pool);
    }))
}

/// `instance_norm`.
pub(super) fn instance_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let channels = *shape.get(1)?;
    let given = |param: &str| match l.value(param) {
        Some(_) => l.floats(param).filter(|v| v.len() == channels).map(Some),
        None => Some(None),
    };
    let (gamma, beta, epsilon) = (given("gamma")?, given("beta")?, l.float("epsilon")?);
    let inner: usize = shape[2..].iter().product();
    if shape.contains(&0) {
        return None;
    }
    Some(plain(vec![x], move |io, pool| {
        let (g, b) = (gamma.as_deref(), beta.as_deref());
        norm::instance_norm(io.inputs[0], g, b, (channels, inner), epsilon, io.outputs[0], pool);
    }))
}

/// `layer_norm` over neighbouring axes.
pub(super) fn layer_norm(l: &Lowering<'_>) -> Option<Lowered> {
    let x = l.value("x")?;
    let shape = l.shape(x)?;
    let rank = shape.len();
    let mut axes =
        if l.value("axes").is_some() { l.site.axes("axes", rank).ok()? } else { (0..rank).collect() };
    axes.sort_unstable();
    let (&first, &last) = (axes.first()?, axes.last()?);
    if last - first + 1 != axes.len() || shape.contains(&0) {
        return None;
    }
    let n: usize = shape[first..=last].iter().product();
    let around = (shape[..first].iter().product(), n, shape[last + 1..].iter().product());
    let given = |param: &str| match l.value(param) {
        Some(_) => l.floats(param).filter(|v| v.len() == n).map(Some),
        None => Some(None),
    };
    let (gamma, beta, epsilon) = (given("gamma")?, given("beta")?, l.float("epsilon")?);
    Some(plain(vec![x], move |io, pool| {
        norm::layer_norm(
            io.inputs[0],
            gamma.as_deref(),
            beta.as_deref(),
            around,
            epsilon,
            io.outputs[0],
            pool,
        );
    }))
}
