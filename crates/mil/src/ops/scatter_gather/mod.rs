//! Gather and scatter: elements by index.
//!
//! Rules: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/scatter_gather.py` and its successors.
//!
//! Indices count from the end when negative. Before op set `ios17` an index out of range is a fault; from then on it
//! is one only with `validate_indices`, and otherwise undefined but safe: evaluation gathers the nearest element, and
//! scatters nothing.

mod gather;
mod scatter;

pub use gather::Gather;
pub use scatter::{Scatter, ScatterMode};

use super::{Default, Domain, Fault, OpDef, Param, Site, constant};
use crate::ops::common::{BOOL, INT32};
use crate::{Opset, TensorType};
use anemone_tensor::{DType, num};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &gather::GATHER,
    &gather::GATHER_ALONG_AXIS,
    &gather::GATHER_ND,
    &scatter::SCATTER,
    &scatter::SCATTER_ALONG_AXIS,
    &scatter::SCATTER_ND,
];

const AXIS: Param = constant("axis", INT32).or(Default::Int(0));
const VALIDATE: Param = constant("validate_indices", BOOL).or(Default::Bool(false));
const I_16: Domain = Domain { name: "I", types: &[DType::I16, DType::I32, DType::U16] };
const I_17: Domain = Domain { name: "I", types: &[DType::I8, DType::I16, DType::I32, DType::U8, DType::U16] };

/// What becomes of an index out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// It is a fault.
    checked: bool,
    /// From `ios17` on a negative index is out of range where indices are checked.
    negative: bool,
}

impl Bounds {
    /// The rule of an op that takes indices.
    pub fn of(site: &Site<'_>) -> Bounds {
        let validated = site.known_bools("validate_indices").is_some_and(|v| v.first() == Some(&true));
        let new = site.version.since >= Opset::Ios17;
        Bounds { checked: !new || validated, negative: !(new && validated) }
    }

    /// The index counted from the front; `None` when it is out of range and that is no fault.
    ///
    /// # Errors
    /// When it is out of range and indices are checked.
    pub fn resolve(self, index: i64, n: usize) -> Result<Option<usize>, Fault> {
        let counted = if index < 0 && self.negative { index.saturating_add(num::i64_of(n)) } else { index };
        let at = num::usize_of(counted).filter(|&at| at < n);
        if at.is_none() && self.checked {
            let least = if self.negative { format!("-{n}") } else { "0".into() };
            return Err(Fault::arg("indices", index, format!("between {least} and {n}, exclusive")));
        }
        Ok(at)
    }

    /// The index, or the nearest one in range; `None` in a dim without elements.
    ///
    /// # Errors
    /// As [`Bounds::resolve`].
    pub fn nearest(self, index: i64, n: usize) -> Result<Option<usize>, Fault> {
        let inside = self.resolve(index, n)?;
        let near = if index < 0 { Some(0) } else { n.checked_sub(1) };
        Ok(inside.or(near).filter(|&at| at < n))
    }

    /// Checks constant indices along a dim of fixed extent.
    fn check(self, site: &Site<'_>, n: Option<usize>) -> Result<(), Fault> {
        let (Some(n), Some(indices)) = (n, site.numbers("indices")) else { return Ok(()) };
        indices.to_i64s().into_iter().try_for_each(|i| self.resolve(i, n).map(|_| ()))
    }
}

/// Number of leading dims that operand and indices share.
fn batch_dims(site: &Site<'_>) -> Result<usize, Fault> {
    if site.version.param("batch_dims").is_none() {
        return Ok(0);
    }
    let count = site.int("batch_dims")?;
    num::usize_of(count).ok_or_else(|| Fault::arg("batch_dims", count, "at least 0"))
}

/// Length of an index in the innermost dim of `indices`, at most `most`.
fn depth(indices: &TensorType, most: usize) -> Result<usize, Fault> {
    let last = indices.dims.last().ok_or_else(|| Fault::arg("indices", "a scalar", "at least of rank 1"))?;
    let depth = last.known().ok_or_else(|| {
        Fault::arg("indices", format!("of innermost extent {last}"), "of fixed innermost extent")
    })?;
    if depth > most {
        let allowed = format!("at most {most}, the dims that it can address");
        return Err(Fault::arg("indices", format!("of innermost extent {depth}"), allowed));
    }
    Ok(depth)
}

#[cfg(test)]
mod tests {
    use crate::ops::case::{int, iota, run};
    use crate::{DType, Literal, Opset, Tensor};

    fn indices(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::from_i64s(DType::I32, shape, values).expect("fits")
    }

    /// Expected values: NumPy `take`, `take_along_axis` and advanced indexing on `arange(6).reshape(2, 3)`.
    #[test]
    fn gathers_are_those_of_numpy() {
        let batch = ("batch_dims", int(1));
        let rows = [
            ("gather", indices(&[2], &[2, -1]), vec![("axis", int(1))], &[2, 2][..], &[2., 2., 5., 5.][..]),
            ("gather", indices(&[], &[1]), vec![], &[3], &[3., 4., 5.]),
            ("gather", indices(&[2, 1], &[0, 2]), vec![("axis", int(-1)), batch.clone()], &[2, 1], &[0., 5.]),
            ("gather_along_axis", indices(&[1, 3], &[1, 0, -1]), vec![], &[1, 3], &[3., 1., 5.]),
            ("gather_nd", indices(&[2, 2], &[1, 2, 0, -3]), vec![], &[2], &[5., 0.]),
            ("gather_nd", indices(&[1, 1], &[1]), vec![], &[1, 3], &[3., 4., 5.]),
            ("gather_nd", indices(&[2, 1, 1], &[0, 2]), vec![batch], &[2, 1], &[0., 5.]),
        ];
        for (kind, at, attributes, shape, expected) in rows {
            let inputs = [("x", &[iota(&[2, 3])][..]), ("indices", &[at][..])];
            let y = run(kind, Opset::Ios16, &inputs, &attributes).expect(kind);
            assert_eq!((y[0].shape(), y[0].to_f64s()), (shape, expected.to_vec()), "{kind}");
        }
    }

    fn scattered(kind: &str, mode: &str, at: Tensor, updates: &[f32]) -> Vec<f64> {
        let shape: Vec<usize> = match kind {
            "scatter" => vec![at.len(), 2],
            "scatter_along_axis" => at.shape().to_vec(),
            _ => at.shape()[..at.rank() - 1].to_vec(),
        };
        let data = Tensor::from_f32s([2, 2], &[1., 2., 3., 4.]).expect("fits");
        let updates = Tensor::from_f32s(shape, updates).expect("fits");
        let inputs = [("data", &[data][..]), ("indices", &[at][..]), ("updates", &[updates][..])];
        let y = run(kind, Opset::Ios15, &inputs, &[("mode", Literal::string(mode))]).expect(kind);
        y[0].to_f64s()
    }

    /// Expected values by hand from `data = [[1, 2], [3, 4]]`, applying one update after the other.
    #[test]
    fn every_scatter_mode_applies_updates_one_after_the_other() {
        let twice = || indices(&[2], &[1, -1]);
        let updates = [2., 4., 8., 1.];
        for (mode, row) in [
            ("update", [8., 1.]),
            ("add", [13., 9.]),
            ("sub", [-7., -1.]),
            ("mul", [48., 16.]),
            ("div", [0.1875, 1.]),
            ("max", [8., 4.]),
            ("min", [2., 1.]),
        ] {
            assert_eq!(scattered("scatter", mode, twice(), &updates), [1., 2., row[0], row[1]], "{mode}");
        }
        let along = scattered("scatter_along_axis", "update", indices(&[1, 2], &[1, 0]), &[8., 9.]);
        assert_eq!(along, [1., 9., 8., 4.]);
        assert_eq!(scattered("scatter_nd", "add", indices(&[1, 2], &[0, 1]), &[5.]), [1., 7., 3., 4.]);
    }

    #[test]
    fn an_index_out_of_range_is_a_fault_only_where_it_is_checked() {
        let gather = |opset, attributes: &[(&'static str, Literal)]| {
            let inputs = [("x", &[iota(&[3])][..]), ("indices", &[indices(&[1], &[7])][..])];
            run("gather", opset, &inputs, attributes)
        };
        let fault = gather(Opset::Ios16, &[]).expect_err("out of range");
        assert_eq!(fault.param.as_deref(), Some("indices"));
        assert_eq!(gather(Opset::Ios17, &[]).expect("undefined, but safe")[0].to_f64s(), [2.]);
        let validate = [("validate_indices", Tensor::scalar_bool(true).into())];
        assert!(gather(Opset::Ios17, &validate).is_err());
    }
}
