//! Picking elements.

use super::scatter::{covers, positions};
use crate::onnx::node::{Done, Node, axis, int32};
use anemone_mil::ops::Fault;
use anemone_mil::{Dim, Tensor, ValueId};

/// Constant indices counted from the front, where the extent that they count in is known.
fn from_front(n: &mut Node<'_, '_>, indices: ValueId, extent: Option<usize>) -> Result<ValueId, Fault> {
    let Some(t) = n.numbers(indices) else { return Ok(indices) };
    let values = t.to_i64s();
    let Some(extent) = extent.filter(|_| values.iter().any(|&v| v < 0)) else { return Ok(indices) };
    let wide = anemone_tensor::num::i64_of(extent);
    let front: Vec<i64> = values.iter().map(|&v| if v < 0 { v + wide } else { v }).collect();
    let fixed = Tensor::from_i64s(t.dtype(), t.shape(), &front).map_err(|e| Fault::new(e.to_string()))?;
    Ok(n.constant_value("indices", &fixed))
}

fn extent(n: &Node<'_, '_>, x: ValueId, at: usize) -> Result<Option<usize>, Fault> {
    Ok(n.ty(x)?.dims.get(at).and_then(Dim::known))
}

/// `Gather`.
pub(crate) fn gather(n: &mut Node<'_, '_>) -> Done {
    let (x, indices, name) = (n.input(0)?, n.input(1)?, n.name());
    let at = axis(n.int("axis").unwrap_or(0), n.rank(x)?)?;
    let extent = extent(n, x, at)?;
    let indices = from_front(n, indices, extent)?;
    let at = int32(anemone_tensor::num::i64_of(at))?;
    let y = n.op("gather").arg("x", x).arg("indices", indices).int("axis", at).one(&name)?;
    n.done(y)
}

/// `GatherElements`.
pub(crate) fn gather_elements(n: &mut Node<'_, '_>) -> Done {
    let (x, indices, name) = (n.input(0)?, n.input(1)?, n.name());
    let at = axis(n.int("axis").unwrap_or(0), n.rank(x)?)?;
    let extent = extent(n, x, at)?;
    let indices = from_front(n, indices, extent)?;
    if !covers(n, x, indices, at)? {
        // MIL wants indices as large as the data in all dims but one; else each element gets its full position.
        let places = positions(n, indices, at)?;
        let y = n.op("gather_nd").arg("x", x).arg("indices", places).one(&name)?;
        return n.done(y);
    }
    let at = int32(anemone_tensor::num::i64_of(at))?;
    let y = n.op("gather_along_axis").arg("x", x).arg("indices", indices).int("axis", at).one(&name)?;
    n.done(y)
}

/// `GatherND`.
pub(crate) fn gather_nd(n: &mut Node<'_, '_>) -> Done {
    let (x, indices, name) = (n.input(0)?, n.input(1)?, n.name());
    let batch_dims = n.int("batch_dims").unwrap_or(0);
    let op = n.op("gather_nd").arg("x", x).arg("indices", indices);
    let y = if batch_dims == 0 { op } else { op.int("batch_dims", int32(batch_dims)?) };
    let y = y.one(&name)?;
    n.done(y)
}
