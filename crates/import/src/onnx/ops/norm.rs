//! Normalisations.

use crate::onnx::node::{Done, Node, axis, int32, int32s, volume};
use anemone_mil::ops::Fault;
use anemone_mil::{Dim, ValueId};

/// `BatchNormalization` as it infers: with the running statistics.
pub(crate) fn batch(n: &mut Node<'_, '_>) -> Done {
    if n.int("training_mode").unwrap_or(0) != 0 {
        return Err(Fault::new("is in training mode; export the model for inference"));
    }
    let (x, name) = (n.input(0)?, n.name());
    let operands = [n.input(1)?, n.input(2)?, n.input(3)?, n.input(4)?];
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let rank = n.rank(x)?;
    if operands.iter().any(|&v| n.numbers(v).is_none()) || rank < 2 {
        return batch_in_parts(n, x, operands, epsilon);
    }
    let [gamma, beta, mean, variance] = operands;
    // MIL wants 3 to 5 dims: a matrix of features gets a third one.
    let (inner_x, inner_y) = (n.inner("x"), n.inner("y"));
    let wide = if rank == 2 { n.op("expand_dims").arg("x", x).ints("axes", &[2]).one(&inner_x)? } else { x };
    let y = n
        .op("batch_norm")
        .arg("x", wide)
        .arg("mean", mean)
        .arg("variance", variance)
        .arg("gamma", gamma)
        .arg("beta", beta)
        .float("epsilon", "x", epsilon)
        .one(if rank == 2 { &inner_y } else { &name })?;
    let y = if rank == 2 { n.op("squeeze").arg("x", y).ints("axes", &[2]).one(&name)? } else { y };
    n.done(y)
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` with operands that are computed at run time.
fn batch_in_parts(n: &mut Node<'_, '_>, x: ValueId, operands: [ValueId; 4], epsilon: f64) -> Done {
    let (rank, name) = (n.rank(x)?, n.name());
    let labels = ["gamma", "beta", "mean", "variance"];
    let mut parts = Vec::with_capacity(4);
    for (v, what) in operands.into_iter().zip(labels) {
        parts.push(per_channel(n, v, rank, what)?);
    }
    let names = ["centred", "deviation", "scaled", "weighted"].map(|s| n.inner(s));
    let centred = n.binary("sub", x, parts[2], &names[0])?;
    let inverse = n.op("rsqrt").arg("x", parts[3]).float("epsilon", "x", epsilon).one(&names[1])?;
    let scaled = n.binary("mul", centred, inverse, &names[2])?;
    let weighted = n.binary("mul", scaled, parts[0], &names[3])?;
    let y = n.binary("add", weighted, parts[1], &name)?;
    n.done(y)
}

/// A vector with one number per channel, shaped to broadcast against `[batch, channels, ..]`.
fn per_channel(n: &mut Node<'_, '_>, v: ValueId, rank: usize, what: &str) -> Result<ValueId, Fault> {
    let mut dims = vec![Dim::Known(1); rank];
    let at = usize::from(rank > 1);
    if let Some(slot) = dims.get_mut(at) {
        *slot = n.dims(v)?.first().cloned().unwrap_or(Dim::Known(1));
    }
    let inner = n.inner(what);
    n.reshape(v, &dims, &inner)
}

/// `InstanceNormalization`.
pub(crate) fn instance(n: &mut Node<'_, '_>) -> Done {
    let (x, gamma, beta, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    if n.numbers(gamma).is_some() && n.numbers(beta).is_some() {
        let op = n.op("instance_norm").arg("x", x).arg("gamma", gamma).arg("beta", beta);
        let y = op.float("epsilon", "x", epsilon).one(&name)?;
        return n.done(y);
    }
    let names = [n.inner("plain"), n.inner("weighted")];
    let plain = n.op("instance_norm").arg("x", x).float("epsilon", "x", epsilon).one(&names[0])?;
    let rank = n.rank(x)?;
    let gamma = per_channel(n, gamma, rank, "gamma")?;
    let beta = per_channel(n, beta, rank, "beta")?;
    let weighted = n.binary("mul", plain, gamma, &names[1])?;
    let y = n.binary("add", weighted, beta, &name)?;
    n.done(y)
}

/// `GroupNormalization`: weights per group before opset 21, per channel since.
pub(crate) fn group(n: &mut Node<'_, '_>) -> Done {
    let (x, gamma, beta, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let dims = n.dims(x)?;
    let groups = n.int("num_groups").and_then(|g| usize::try_from(g).ok()).filter(|&g| g > 0);
    let groups = groups.ok_or_else(|| Fault::new("attribute `num_groups` is missing"))?;
    let rank = dims.len();
    if rank < 2 || dims[1..].iter().any(|d| d.known().is_none()) {
        return Err(Fault::new("needs known channels and spatial dims; fix the input shapes with --input"));
    }
    let names = ["groups", "normalized", "back", "weighted"].map(|s| n.inner(s));
    let volume = volume(&dims[1..].iter().filter_map(Dim::known).collect::<Vec<_>>())?;
    let grouped = [dims[0].clone(), Dim::Known(groups), Dim::Known(volume / groups)];
    let wide = n.reshape(x, &grouped, &names[0])?;
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let op = n.op("layer_norm").arg("x", wide).ints("axes", &[2]);
    let mut y = op.float("epsilon", "x", epsilon).one(&names[1])?;
    let by_group = n.dims(gamma)?.first().and_then(Dim::known) == Some(groups) && n.opset() < 21;
    if by_group {
        let (gamma, beta) = (per_channel(n, gamma, 3, "gamma")?, per_channel(n, beta, 3, "beta")?);
        y = n.binary("mul", y, gamma, &names[3])?;
        y = n.binary("add", y, beta, &names[2])?;
        let y = n.reshape(y, &dims, &name)?;
        return n.done(y);
    }
    let y = n.reshape(y, &dims, &names[2])?;
    let (gamma, beta) = (per_channel(n, gamma, rank, "gamma")?, per_channel(n, beta, rank, "beta")?);
    let y = n.binary("mul", y, gamma, &names[3])?;
    let y = n.binary("add", y, beta, &name)?;
    n.done(y)
}

/// `LayerNormalization` from `axis` to the end.
pub(crate) fn layer(n: &mut Node<'_, '_>) -> Done {
    let (x, gamma, beta, name) = (n.input(0)?, n.maybe(1)?, n.maybe(2)?, n.name());
    let axes = trailing_axes(n, x)?;
    let y = normalized(n, x, gamma, beta, &axes, &name)?;
    n.done(y)?;
    statistics(n, x, &axes)
}

/// The axes from attribute `axis` to the last one.
fn trailing_axes(n: &Node<'_, '_>, x: ValueId) -> Result<Vec<i32>, Fault> {
    let rank = n.rank(x)?;
    let first = axis(n.int("axis").unwrap_or(-1), rank)?;
    let axes: Vec<i64> = (first..rank).map(anemone_tensor::num::i64_of).collect();
    int32s(&axes)
}

/// A layer norm; weights that are computed at run time are applied after it.
fn normalized(
    n: &mut Node<'_, '_>,
    x: ValueId,
    gamma: Option<ValueId>,
    beta: Option<ValueId>,
    axes: &[i32],
    name: &str,
) -> Result<ValueId, Fault> {
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let shape = n.dims(x)?;
    let count = axes.len();
    let inside = |n: &Node<'_, '_>, v: Option<ValueId>| match v {
        None => true,
        Some(v) => {
            n.numbers(v).is_some()
                && n.dims(v).is_ok_and(|d| d[..] == shape[shape.len().saturating_sub(count)..])
        }
    };
    if inside(n, gamma) && inside(n, beta) {
        let op = n.op("layer_norm").arg("x", x).ints("axes", axes).maybe("gamma", gamma).maybe("beta", beta);
        return op.float("epsilon", "x", epsilon).one(name);
    }
    let names = [format!("{name}_plain"), format!("{name}_weighted")];
    let op = n.op("layer_norm").arg("x", x).ints("axes", axes);
    let mut y = op.float("epsilon", "x", epsilon).one(&names[0])?;
    if let Some(gamma) = gamma {
        y = n.binary("mul", y, gamma, if beta.is_none() { name } else { &names[1] })?;
    }
    match beta {
        Some(beta) => n.binary("add", y, beta, name),
        None => Ok(y),
    }
}

/// Results 1 and 2, where they are asked for: the mean, and the inverse of the deviation.
fn statistics(n: &mut Node<'_, '_>, x: ValueId, axes: &[i32]) -> Done {
    if !n.wants(1) && !n.wants(2) {
        return Ok(());
    }
    let names = ["mean", "centred", "variance", "inverse"].map(|s| n.inner(s));
    let mean = n.op("reduce_mean").arg("x", x).ints("axes", axes).bool("keep_dims", true).one(&names[0])?;
    n.bind(1, mean)?;
    if !n.wants(2) {
        return Ok(());
    }
    let centred = n.binary("sub", x, mean, &names[1])?;
    let inner = n.inner("square");
    let square = n.unary("square", centred, &inner)?;
    let variance =
        n.op("reduce_mean").arg("x", square).ints("axes", axes).bool("keep_dims", true).one(&names[2])?;
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let inverse = n.op("rsqrt").arg("x", variance).float("epsilon", "x", epsilon).one(&names[3])?;
    n.bind(2, inverse)
}

/// `RMSNormalization`: `x / sqrt(mean(x^2) + epsilon) * scale`.
pub(crate) fn root_mean_square(n: &mut Node<'_, '_>) -> Done {
    let (x, scale, name) = (n.input(0)?, n.maybe(1)?, n.name());
    let axes = trailing_axes(n, x)?;
    let y = by_root_mean_square(n, x, scale, &axes, &name)?;
    n.done(y)
}

fn by_root_mean_square(
    n: &mut Node<'_, '_>,
    x: ValueId,
    scale: Option<ValueId>,
    axes: &[i32],
    name: &str,
) -> Result<ValueId, Fault> {
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let names = ["square", "mean", "inverse", "normalized"].map(|s| n.inner(s));
    let square = n.unary("square", x, &names[0])?;
    let mean =
        n.op("reduce_mean").arg("x", square).ints("axes", axes).bool("keep_dims", true).one(&names[1])?;
    let inverse = n.op("rsqrt").arg("x", mean).float("epsilon", "x", epsilon).one(&names[2])?;
    let y = n.binary("mul", x, inverse, if scale.is_none() { name } else { &names[3] })?;
    match scale {
        Some(scale) => n.binary("mul", y, scale, name),
        None => Ok(y),
    }
}

/// `SkipLayerNormalization` of ONNX Runtime, and the same by root mean squares: the norm of a sum.
pub(crate) fn skip_layer(n: &mut Node<'_, '_>) -> Done {
    let simple = n.proto.op_type.contains("Simplified");
    let (x, skip, gamma, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let (beta, bias) = if simple { (None, n.maybe(3)?) } else { (n.maybe(3)?, n.maybe(4)?) };
    let names = [n.inner("sum"), n.inner("biased")];
    let mut sum = n.binary("add", x, skip, &names[0])?;
    if let Some(bias) = bias {
        sum = n.binary("add", sum, bias, &names[1])?;
    }
    if n.wants(1) || n.wants(2) {
        return Err(Fault::new("hands out mean or deviation, which is not supported"));
    }
    let y = match simple {
        true => by_root_mean_square(n, sum, Some(gamma), &[-1], &name)?,
        false => normalized(n, sum, Some(gamma), beta, &[-1], &name)?,
    };
    n.done(y)?;
    n.bind(3, sum)
}

/// `LpNormalization`: `x` over its norm along an axis.
pub(crate) fn lp(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let names = [n.inner("norm"), n.inner("is_zero"), n.inner("divisor")];
    let kind = match n.int("p").unwrap_or(2) {
        1 => "reduce_l1_norm",
        2 => "reduce_l2_norm",
        p => return Err(Fault::new(format!("p is {p}, but must be 1 or 2"))),
    };
    let at = int32(n.int("axis").unwrap_or(-1))?;
    let norm = n.op(kind).arg("x", x).ints("axes", &[at]).bool("keep_dims", true).one(&names[0])?;
    // Nothing but zeros stays as it is.
    let (zero, one) = (n.scalar_like("zero", x, 0.0)?, n.scalar_like("one", x, 1.0)?);
    let is_zero = n.binary("equal", norm, zero, &names[1])?;
    let divisor = n.op("select").arg("cond", is_zero).arg("a", one).arg("b", norm).one(&names[2])?;
    let y = n.binary("real_div", x, divisor, &name)?;
    n.done(y)
}

/// `MeanVarianceNormalization`: `(x - mean) / (deviation + 1e-9)`.
pub(crate) fn mean_variance(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let axes = int32s(&n.ints("axes").unwrap_or_else(|| vec![0, 2, 3]))?;
    let names = ["mean", "centred", "square", "variance", "deviation", "guarded"].map(|s| n.inner(s));
    let mean = n.op("reduce_mean").arg("x", x).ints("axes", &axes).bool("keep_dims", true).one(&names[0])?;
    let centred = n.binary("sub", x, mean, &names[1])?;
    let square = n.unary("square", centred, &names[2])?;
    let variance =
        n.op("reduce_mean").arg("x", square).ints("axes", &axes).bool("keep_dims", true).one(&names[3])?;
    let deviation = n.unary("sqrt", variance, &names[4])?;
    let tiny = n.scalar_like("tiny", x, 1e-9)?;
    let guarded = n.binary("add", deviation, tiny, &names[5])?;
    let y = n.binary("real_div", centred, guarded, &name)?;
    n.done(y)
}

/// `LRN`.
pub(crate) fn local_response(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let size = n.int("size").ok_or_else(|| Fault::new("attribute `size` is missing"))?;
    let (alpha, beta, bias) =
        (n.float("alpha").unwrap_or(1e-4), n.float("beta").unwrap_or(0.75), n.float("bias").unwrap_or(1.0));
    let op = n.op("local_response_norm").arg("x", x).int("size", int32(size)?);
    let y = op.float("alpha", "x", alpha).float("beta", "x", beta).float("k", "x", bias).one(&name)?;
    n.done(y)
}
