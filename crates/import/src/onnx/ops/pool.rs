//! Pooling.

use super::conv::{padding, per_dim};
use crate::onnx::node::{Done, Node, int32s};
use anemone_mil::ops::Fault;

/// `MaxPool`.
pub(crate) fn max(n: &mut Node<'_, '_>) -> Done {
    if n.proto.output.get(1).is_some_and(|o| !o.is_empty()) {
        return Err(Fault::new("hands out indices, which MIL's max_pool does not"));
    }
    pool(n, "max_pool")
}

/// `AveragePool`.
pub(crate) fn average(n: &mut Node<'_, '_>) -> Done {
    pool(n, "avg_pool")
}

fn pool(n: &mut Node<'_, '_>, kind: &str) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let spatial = n.rank(x)?.saturating_sub(2);
    let kernel = per_dim(n, "kernel_shape", spatial)?;
    let strides = per_dim(n, "strides", spatial)?;
    if per_dim(n, "dilations", spatial)?.iter().any(|&d| d != 1) {
        return Err(Fault::new("dilations are not 1 everywhere, which MIL's pools cannot do"));
    }
    let padding = padding(n, spatial)?;
    let ceil = n.int("ceil_mode").unwrap_or(0) != 0;
    let exclude = n.int("count_include_pad").unwrap_or(0) == 0;
    let mut op = n
        .op(kind)
        .arg("x", x)
        .ints("kernel_sizes", &kernel)
        .ints("strides", &strides)
        .str("pad_type", if ceil { "custom" } else { padding.kind })
        .ints("pad", &padding.pad)
        .bool("ceil_mode", ceil);
    if kind == "avg_pool" {
        op = op.bool("exclude_padding_from_average", exclude);
    }
    let y = op.one(&name)?;
    n.done(y)
}

/// `GlobalAveragePool` and `GlobalMaxPool`.
pub(crate) fn global(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let rank = n.rank(x)?;
    let axes: Vec<i64> = (2..rank).map(anemone_tensor::num::i64_of).collect();
    let kind = if n.proto.op_type == "GlobalMaxPool" { "reduce_max" } else { "reduce_mean" };
    let y = n.op(kind).arg("x", x).ints("axes", &int32s(&axes)?).bool("keep_dims", true).one(&name)?;
    n.done(y)
}
