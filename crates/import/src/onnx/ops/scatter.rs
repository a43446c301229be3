//! Putting elements.

use crate::onnx::node::{Done, Node, axis, int32, volume};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Tensor, ValueId};
use anemone_tensor::num::i64_of;

/// MIL's mode of a `reduction`.
fn mode(n: &Node<'_, '_>) -> Result<&'static str, Fault> {
    match n.text("reduction").as_deref() {
        None | Some("" | "none") => Ok("update"),
        Some("add") => Ok("add"),
        Some("mul") => Ok("mul"),
        Some("max") => Ok("max"),
        Some("min") => Ok("min"),
        Some(other) => {
            Err(Fault::new(format!("reduction is {other}, but must be none, add, mul, max or min")))
        }
    }
}

/// Data and updates as numbers, and the type to go back to.
fn numbers(n: &mut Node<'_, '_>) -> Result<(ValueId, ValueId, DType), Fault> {
    let (data, updates) = (n.input(0)?, n.input(2)?);
    let dtype = n.dtype(data)?;
    if dtype != DType::Bool {
        return Ok((data, updates, dtype));
    }
    let names = [n.inner("data_int32"), n.inner("updates_int32")];
    Ok((n.cast(data, DType::I32, &names[0])?, n.cast(updates, DType::I32, &names[1])?, dtype))
}

fn finish(n: &mut Node<'_, '_>, y: ValueId, dtype: DType) -> Done {
    let name = n.name();
    let y = n.cast(y, dtype, &name)?;
    n.done(y)
}

/// Name of an op whose result may be converted yet.
fn inner_name(n: &Node<'_, '_>, dtype: DType) -> String {
    if dtype == DType::Bool { n.inner("int32") } else { n.name() }
}

/// `ScatterND`.
pub(crate) fn nd(n: &mut Node<'_, '_>) -> Done {
    let mode = mode(n)?;
    let (data, updates, dtype) = numbers(n)?;
    let (indices, name) = (n.input(1)?, inner_name(n, dtype));
    let op = n.op("scatter_nd").arg("data", data).arg("indices", indices).arg("updates", updates);
    let y = op.str("mode", mode).one(&name)?;
    finish(n, y, dtype)
}

/// `ScatterElements` and its ancestor `Scatter`.
///
/// MIL wants indices as large as the data in all dims but one; where they are smaller, each element gets its full
/// position and `scatter_nd` does it.
pub(crate) fn elements(n: &mut Node<'_, '_>) -> Done {
    let mode = mode(n)?;
    let (data, updates, dtype) = numbers(n)?;
    let (indices, name) = (n.input(1)?, inner_name(n, dtype));
    let at = axis(n.int("axis").unwrap_or(0), n.rank(data)?)?;
    let y = if covers(n, data, indices, at)? {
        let op = n.op("scatter_along_axis").arg("data", data).arg("indices", indices).arg("updates", updates);
        op.int("axis", int32(i64_of(at))?).str("mode", mode).one(&name)?
    } else {
        let places = positions(n, indices, at)?;
        let op = n.op("scatter_nd").arg("data", data).arg("indices", places).arg("updates", updates);
        op.str("mode", mode).one(&name)?
    };
    finish(n, y, dtype)
}

/// True when the extents agree in all dims but `at`.
pub(super) fn covers(n: &Node<'_, '_>, data: ValueId, indices: ValueId, at: usize) -> Result<bool, Fault> {
    let (data, indices) = (n.dims(data)?, n.dims(indices)?);
    if data.len() != indices.len() {
        return Err(Fault::new(format!("indices have {} dims, but data have {}", indices.len(), data.len())));
    }
    Ok(data.iter().zip(&indices).enumerate().all(|(d, (a, b))| d == at || a.compatible(b)))
}

/// Full positions `[..indices, rank]` of elements whose position is theirs in `indices`, but for dim `at`.
pub(super) fn positions(n: &mut Node<'_, '_>, indices: ValueId, at: usize) -> Result<ValueId, Fault> {
    let shape = n.shape(indices)?;
    let count = volume(&shape)?;
    n.room(&[count, shape.len()])?;
    let mut parts = Vec::with_capacity(shape.len());
    let mut wide = shape.clone();
    wide.push(1);
    for d in 0..shape.len() {
        if d == at {
            let inner = n.inner("along");
            let axes = [int32(i64_of(shape.len()))?];
            parts.push(n.op("expand_dims").arg("x", indices).ints("axes", &axes).one(&inner)?);
            continue;
        }
        let below: usize = volume(&shape[d + 1..])?;
        let place: Vec<i64> = (0..count).map(|i| i64_of(i / below.max(1) % shape[d])).collect();
        let grid =
            Tensor::from_i64s(DType::I32, wide.clone(), &place).map_err(|e| Fault::new(e.to_string()))?;
        parts.push(n.constant_value(&format!("dim_{d}"), &grid));
    }
    let inner = n.inner("positions");
    n.op("concat").args("values", parts).int("axis", -1).bool("interleave", false).one(&inner)
}
