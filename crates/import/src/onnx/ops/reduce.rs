//! Reductions and searches.

use super::select::last_extreme;
use crate::onnx::node::{Done, Node, axis, int32, int32s};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Tensor, ValueId};

fn mil_name(op_type: &str) -> &'static str {
    match op_type {
        "ReduceL1" => "reduce_l1_norm",
        "ReduceL2" => "reduce_l2_norm",
        "ReduceLogSum" => "reduce_log_sum",
        "ReduceLogSumExp" => "reduce_log_sum_exp",
        "ReduceMax" => "reduce_max",
        "ReduceMean" => "reduce_mean",
        "ReduceMin" => "reduce_min",
        "ReduceProd" => "reduce_prod",
        "ReduceSumSquare" => "reduce_sum_square",
        "ArgMax" => "reduce_argmax",
        "ArgMin" => "reduce_argmin",
        _ => "reduce_sum",
    }
}

/// Axes are an attribute, and since opset 18 (`ReduceSum`: 13) an operand.
pub(crate) fn reduce(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let kind = mil_name(&n.proto.op_type);
    let rank = n.rank(x)?;
    let axes = match n.ints("axes") {
        Some(axes) => Some(axes),
        None => n.constant_ints(1, "axes")?,
    };
    let axes = axes.filter(|a| !a.is_empty());
    if axes.is_none() && n.int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return n.done(x);
    }
    let all = || (0..rank).map(anemone_tensor::num::i64_of).collect();
    let axes: Vec<i64> = axes.unwrap_or_else(all);
    let keep = n.int("keepdims").unwrap_or(1) != 0;
    if let Some(value) = of_nothing(n, x, kind, &axes)? {
        return fill_reduced(n, x, &axes, keep, value);
    }
    if n.dtype(x)? == DType::Bool {
        // Extremes of booleans are those of 0 and 1.
        let names = [n.inner("int32"), n.inner("extreme")];
        let x = n.cast(x, DType::I32, &names[0])?;
        let y =
            n.op(kind).arg("x", x).ints("axes", &int32s(&axes)?).bool("keep_dims", keep).one(&names[1])?;
        let y = n.cast(y, DType::Bool, &name)?;
        return n.done(y);
    }
    let y = n.op(kind).arg("x", x).ints("axes", &int32s(&axes)?).bool("keep_dims", keep).one(&name)?;
    n.done(y)
}

/// What a reduction over no elements answers, where MIL has no answer.
fn of_nothing(n: &Node<'_, '_>, x: ValueId, kind: &str, axes: &[i64]) -> Result<Option<f64>, Fault> {
    let dims = n.dims(x)?;
    let mut empty = false;
    for &a in axes {
        empty |= dims[axis(a, dims.len())?].known() == Some(0);
    }
    let value = match kind {
        "reduce_max" | "reduce_log_sum_exp" => f64::NEG_INFINITY,
        "reduce_min" => f64::INFINITY,
        _ => return Ok(None),
    };
    Ok(empty.then_some(value))
}

fn fill_reduced(n: &mut Node<'_, '_>, x: ValueId, axes: &[i64], keep: bool, value: f64) -> Done {
    let (shape, dtype) = (n.shape(x)?, n.dtype(x)?);
    let reduced = axes.iter().map(|&a| axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?;
    let kept = |(d, &extent): (usize, &usize)| match (reduced.contains(&d), keep) {
        (true, true) => Some(1),
        (true, false) => None,
        (false, _) => Some(extent),
    };
    let shape: Vec<usize> = shape.iter().enumerate().filter_map(kept).collect();
    n.room(&shape)?;
    let value = if dtype == DType::Bool { f64::from(value > 0.0) } else { value };
    let filled = vec![value; shape.iter().product()];
    let filled = Tensor::from_f64s(dtype, shape, &filled).map_err(|e| Fault::new(e.to_string()))?;
    let v = n.constant_value("empty", &filled);
    n.done(v)
}

/// `ArgMax` and `ArgMin`.
pub(crate) fn arg(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let kind = mil_name(&n.proto.op_type);
    let (at, keep) = (n.int("axis").unwrap_or(0), n.int("keepdims").unwrap_or(1) != 0);
    if n.int("select_last_index").unwrap_or(0) != 0 {
        return last_extreme(n, x, kind, at, keep);
    }
    let y = n.op(kind).arg("x", x).int("axis", int32(at)?).bool("keep_dims", keep).one(&name)?;
    n.done(y)
}

/// `CumSum`.
pub(crate) fn cumulative_sum(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let at = n.constant_ints(1, "axis")?.and_then(|v| v.first().copied());
    let at = at.ok_or_else(|| Fault::new("axis is missing"))?;
    let at = anemone_tensor::num::i64_of(axis(at, n.rank(x)?)?);
    let (exclusive, reverse) = (n.int("exclusive").unwrap_or(0) != 0, n.int("reverse").unwrap_or(0) != 0);
    let op = n.op("cumsum").arg("x", x).int("axis", int32(at)?);
    let y = op.bool("exclusive", exclusive).bool("reverse", reverse).one(&name)?;
    n.done(y)
}

/// `TopK` with a constant `k`.
pub(crate) fn top_k(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let k = match n.int("k") {
        Some(k) => k,
        None => n
            .constant_ints(1, "k")?
            .and_then(|v| v.first().copied())
            .ok_or_else(|| Fault::new("k is missing"))?,
    };
    let at = n.int("axis").unwrap_or(-1);
    let ascending = n.int("largest").unwrap_or(1) == 0;
    let op = n.op("topk").arg("x", x).int("k", int32(k)?).int("axis", int32(at)?);
    let results = op.bool("ascending", ascending).all(&name)?;
    for (i, v) in results.into_iter().enumerate() {
        n.bind(i, v)?;
    }
    Ok(())
}
