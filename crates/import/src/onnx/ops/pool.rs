//! Pooling.

use super::conv::{padding, per_dim};
use crate::onnx::node::{Done, Node, int32s};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Dim};

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

/// `LpPool` with `p = 2`.
pub(crate) fn lp(n: &mut Node<'_, '_>) -> Done {
    match n.int("p").unwrap_or(2) {
        2 => pool(n, "l2_pool"),
        p => Err(Fault::new(format!("p is {p}, but only 2 is supported"))),
    }
}

fn pool(n: &mut Node<'_, '_>, kind: &str) -> Done {
    let (given, name) = (n.input(0)?, n.name());
    let dtype = n.dtype(given)?;
    let names = [n.inner("float"), n.inner("pooled")];
    let float = if dtype.is_float() { dtype } else { DType::F32 };
    let x = n.cast(given, float, &names[0])?;
    let dims = n.dims(x)?;
    let spatial = dims.len().saturating_sub(2);
    let kernel = per_dim(n, "kernel_shape", spatial)?;
    let strides = per_dim(n, "strides", spatial)?;
    if per_dim(n, "dilations", spatial)?.iter().any(|&d| d != 1) {
        return Err(Fault::new("dilations are not 1 everywhere, which MIL's pools cannot do"));
    }
    let mut padding = padding(n, spatial)?;
    let mut ceil = n.int("ceil_mode").unwrap_or(0) != 0 && matches!(padding.kind, "valid" | "custom");
    let exclude = n.int("count_include_pad").unwrap_or(0) == 0;
    if ceil && (kind != "avg_pool" || exclude) {
        // MIL rounds up by a rule of its own; what the last window needs is padded instead, where it is known.
        if let Some(pad) = padded_up(&dims[2..], &kernel, &strides, &padding.pad) {
            padding.pad = pad;
            ceil = false;
        }
        padding.kind = "custom";
    }
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
    let y = op.one(if dtype.is_float() { &name } else { &names[1] })?;
    let y = n.cast(y, dtype, &name)?;
    n.done(y)
}

/// The pads that make rounding down give what ONNX's rounding up gives: windows that start in the padding behind
/// the tensor do not count.
fn padded_up(dims: &[Dim], kernel: &[i32], strides: &[i32], pad: &[i32]) -> Option<Vec<i32>> {
    let mut out = pad.to_vec();
    for (d, dim) in dims.iter().enumerate() {
        let extent = i32::try_from(dim.known()?).ok()?;
        let (k, s) = (*kernel.get(d)?, *strides.get(d)?);
        let (before, after) = (*pad.get(2 * d)?, *pad.get(2 * d + 1)?);
        let free = extent.checked_add(before)?.checked_add(after)?.checked_sub(k)?;
        let mut last = (free.max(0) + s - 1) / s;
        if last.checked_mul(s)? >= extent.checked_add(before)? {
            last -= 1;
        }
        let missing = last.checked_mul(s)?.checked_add(k)?.checked_sub(extent + before + after)?;
        // Padding that no window reaches does no harm.
        out[2 * d + 1] = after + missing.max(0);
        if missing < 0 && -missing >= s {
            out[2 * d + 1] = (after + missing).max(0);
        }
    }
    Some(out)
}

/// `GlobalLpPool` with `p = 2`.
pub(crate) fn global_lp(n: &mut Node<'_, '_>) -> Done {
    match n.int("p").unwrap_or(2) {
        2 => global(n),
        p => Err(Fault::new(format!("p is {p}, but only 2 is supported"))),
    }
}

/// `GlobalAveragePool` and `GlobalMaxPool`.
pub(crate) fn global(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let rank = n.rank(x)?;
    let axes: Vec<i64> = (2..rank).map(anemone_tensor::num::i64_of).collect();
    let kind = match n.proto.op_type.as_str() {
        "GlobalMaxPool" => "reduce_max",
        "GlobalLpPool" => "reduce_l2_norm",
        _ => "reduce_mean",
    };
    let y = n.op(kind).arg("x", x).ints("axes", &int32s(&axes)?).bool("keep_dims", true).one(&name)?;
    n.done(y)
}
