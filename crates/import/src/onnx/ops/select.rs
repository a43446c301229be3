//! Choosing, marking and reordering elements.

use super::activation::flattened;
use crate::onnx::graph::narrowed;
use crate::onnx::node::{Done, Node, axis, int32};
use anemone_formats::onnx::ElementType;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Tensor, ValueId};
use anemone_tensor::num::i64_of;

/// `OneHot`; negative indices count from the end.
pub(crate) fn one_hot(n: &mut Node<'_, '_>) -> Done {
    let (indices, values, name) = (n.input(0)?, n.input(2)?, n.name());
    let names =
        ["int32", "negative", "shifted", "wrapped", "hot", "span", "scaled", "number"].map(|s| n.inner(s));
    let depth = n.constant(1)?.filter(|t| t.len() == 1).map(|t| t.i64_at(0));
    let depth = depth.ok_or_else(|| {
        Fault::new("depth (operand 1) is computed at run time; only a constant is supported")
    })?;
    let depth = int32(depth)?;
    let at = int32(n.int("axis").unwrap_or(-1))?;
    let indices = n.cast(indices, DType::I32, &names[0])?;
    let zero = n.constant_value("zero", &Tensor::scalar_i32(0));
    let size = n.constant_value("depth", &Tensor::scalar_i32(depth));
    let negative = n.binary("less", indices, zero, &names[1])?;
    let shifted = n.binary("add", indices, size, &names[2])?;
    let wrapped = n.op("select").arg("cond", negative).arg("a", shifted).arg("b", indices).one(&names[3])?;
    if let Some(pair) = n.numbers(values).filter(|t| t.len() == 2) {
        let dtype = n.dtype(values)?;
        let value = |i: usize| Tensor::scalar_f64(dtype, pair.f64_at(i));
        let op = n.op("one_hot").arg("indices", wrapped).int("one_hot_vector_size", depth).int("axis", at);
        let y = op.literal("on_value", value(1)).literal("off_value", value(0)).one(&name)?;
        return n.done(y);
    }
    // off + hot * (on - off)
    let dtype = n.dtype(values)?;
    let number = |v: f64| Tensor::scalar_f64(dtype, v);
    let op = n.op("one_hot").arg("indices", wrapped).int("one_hot_vector_size", depth).int("axis", at);
    let hot = op.literal("on_value", number(1.0)).literal("off_value", number(0.0)).one(&names[4])?;
    let parts = n.op("split").arg("x", values).int("num_splits", 2).int("axis", 0).all(&names[7])?;
    let [off, on] = parts[..] else { return Err(Fault::new("values is no pair")) };
    let span = n.binary("sub", on, off, &names[5])?;
    let scaled = n.binary("mul", hot, span, &names[6])?;
    let y = n.binary("add", scaled, off, &name)?;
    n.done(y)
}

/// `Hardmax`: 1 at the first of the largest elements along an axis.
pub(crate) fn hardmax(n: &mut Node<'_, '_>) -> Done {
    let name = n.name();
    let y = flattened(n, &name, |n, x, at, name| {
        let extent = n.dims(x)?[at].known();
        let extent = extent.ok_or_else(|| {
            Fault::new("needs a known extent along its axis; fix the input shapes with --input")
        })?;
        let (size, at, inner) = (int32(i64_of(extent))?, int32(i64_of(at))?, n.inner("largest"));
        let dtype = n.dtype(x)?;
        let largest =
            n.op("reduce_argmax").arg("x", x).int("axis", at).bool("keep_dims", false).one(&inner)?;
        let number = |v: f64| Tensor::scalar_f64(dtype, v);
        let op = n.op("one_hot").arg("indices", largest).int("one_hot_vector_size", size).int("axis", at);
        op.literal("on_value", number(1.0)).literal("off_value", number(0.0)).one(name)
    })?;
    n.done(y)
}

/// `NonZero`: MIL's answer has one row per element, ONNX's one column.
pub(crate) fn non_zero(n: &mut Node<'_, '_>) -> Done {
    let (x, name, inner) = (n.input(0)?, n.name(), n.inner("rows"));
    let rows = n.unary("non_zero", x, &inner)?;
    let y = n.op("transpose").arg("x", rows).ints("perm", &[1, 0]).one(&name)?;
    n.done(y)
}

/// `Trilu`: a triangle of each matrix.
pub(crate) fn trilu(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let upper = n.int("upper").unwrap_or(1) != 0;
    let k = n.constant_ints(1, "k")?.and_then(|v| v.first().copied()).unwrap_or(0);
    if upper && k <= 0 || !upper && k >= 0 {
        let reach = int32(k.saturating_abs())?;
        let (low, high) = if upper { (reach, -1) } else { (-1, reach) };
        let y = n.op("band_part").arg("x", x).int("lower", low).int("upper", high).one(&name)?;
        return n.done(y);
    }
    let dims = n.dims(x)?;
    let known = |back: usize| dims.len().checked_sub(back).and_then(|i| dims[i].known());
    let (Some(rows), Some(columns)) = (known(2), known(1)) else {
        return Err(Fault::new("needs a known matrix; fix the input shapes with --input"));
    };
    let inside = |i: usize| {
        let diagonal = i64_of(i % columns.max(1)) - i64_of(i / columns.max(1));
        if upper { diagonal >= k } else { diagonal <= k }
    };
    let mask: Vec<i64> = (0..n.room(&[rows, columns])?).map(|i| i64::from(inside(i))).collect();
    let mask =
        Tensor::from_i64s(DType::Bool, [rows, columns], &mask).map_err(|e| Fault::new(e.to_string()))?;
    let mask = n.constant_value("mask", &mask);
    let zero = n.scalar_like("zero", x, 0.0)?;
    let y = n.op("select").arg("cond", mask).arg("a", x).arg("b", zero).one(&name)?;
    n.done(y)
}

/// `EyeLike`: a constant, as its shape must be known.
pub(crate) fn eye_like(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    let shape = n.shape(x)?;
    let &[rows, columns] = shape.as_slice() else {
        return Err(Fault::new(format!("the operand has {} dims, but must have 2", shape.len())));
    };
    let dtype = match n.int("dtype") {
        Some(code) => {
            let element = ElementType(i32::try_from(code).unwrap_or(0));
            narrowed(element.dtype().map_err(|e| Fault::new(e.to_string()))?)
        }
        None => n.dtype(x)?,
    };
    let k = n.int("k").unwrap_or(0);
    let mut ones = vec![0i64; n.room(&shape)?];
    for row in 0..rows {
        if let Ok(column) = usize::try_from(i64_of(row).saturating_add(k))
            && column < columns
        {
            ones[row * columns + column] = 1;
        }
    }
    let eye = Tensor::from_i64s(dtype, [rows, columns], &ones).map_err(|e| Fault::new(e.to_string()))?;
    let v = n.constant_value("eye", &eye);
    n.done(v)
}

/// `ReverseSequence`.
pub(crate) fn reverse_sequence(n: &mut Node<'_, '_>) -> Done {
    let (x, lengths, name) = (n.input(0)?, n.input(1)?, n.name());
    let rank = n.rank(x)?;
    let place = |value: i64| axis(value, rank).and_then(|a| int32(i64_of(a)));
    let (batch, time) = (place(n.int("batch_axis").unwrap_or(1))?, place(n.int("time_axis").unwrap_or(0))?);
    let op = n.op("reverse_sequence").arg("x", x).arg("lengths", lengths);
    let y = op.int("seq_axis", time).int("batch_axis", batch).one(&name)?;
    n.done(y)
}

/// The last of equal elements: the first one in the reversed tensor, counted from the other end.
pub(super) fn last_extreme(n: &mut Node<'_, '_>, x: ValueId, kind: &str, at: i64, keep: bool) -> Done {
    let at = axis(at, n.rank(x)?)?;
    let extent = n.dims(x)?[at].known();
    let extent = extent.ok_or_else(|| {
        Fault::new("takes the last of equal elements along a free dim; fix the input shapes with --input")
    })?;
    let (at, name, names) = (int32(i64_of(at))?, n.name(), [n.inner("reversed"), n.inner("first")]);
    let reversed = n.op("reverse").arg("x", x).ints("axes", &[at]).one(&names[0])?;
    let first = n.op(kind).arg("x", reversed).int("axis", at).bool("keep_dims", keep).one(&names[1])?;
    let last = n.constant_value("last", &Tensor::scalar_i32(int32(i64_of(extent.saturating_sub(1)))?));
    let y = n.binary("sub", last, first, &name)?;
    n.done(y)
}
