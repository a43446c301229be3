//! Normalisations.

use crate::onnx::node::{Done, Node, axis, int32, int32s};
use anemone_mil::ops::Fault;

/// `BatchNormalization` as it infers: with the running statistics.
pub(crate) fn batch(n: &mut Node<'_, '_>) -> Done {
    if n.int("training_mode").unwrap_or(0) != 0 {
        return Err(Fault::new("is in training mode; export the model for inference"));
    }
    let (x, name) = (n.input(0)?, n.name());
    let [gamma, beta, mean, variance] = [n.input(1)?, n.input(2)?, n.input(3)?, n.input(4)?];
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let rank = n.rank(x)?;
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

/// `InstanceNormalization`.
pub(crate) fn instance(n: &mut Node<'_, '_>) -> Done {
    let (x, gamma, beta, name) = (n.input(0)?, n.input(1)?, n.input(2)?, n.name());
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let op = n.op("instance_norm").arg("x", x).arg("gamma", gamma).arg("beta", beta);
    let y = op.float("epsilon", "x", epsilon).one(&name)?;
    n.done(y)
}

/// `LayerNormalization` from `axis` to the end.
pub(crate) fn layer(n: &mut Node<'_, '_>) -> Done {
    if n.proto.output.iter().skip(1).any(|o| !o.is_empty()) {
        return Err(Fault::new("hands out mean or deviation, which MIL's layer_norm does not"));
    }
    let (x, gamma, beta, name) = (n.input(0)?, n.maybe(1)?, n.maybe(2)?, n.name());
    let rank = n.rank(x)?;
    let first = axis(n.int("axis").unwrap_or(-1), rank)?;
    let axes: Vec<i64> = (first..rank).map(anemone_tensor::num::i64_of).collect();
    let epsilon = n.float("epsilon").unwrap_or(1e-5);
    let op = n
        .op("layer_norm")
        .arg("x", x)
        .ints("axes", &int32s(&axes)?)
        .maybe("gamma", gamma)
        .maybe("beta", beta);
    let y = op.float("epsilon", "x", epsilon).one(&name)?;
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
