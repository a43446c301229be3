//! An op's operands as cost and eligibility look at them: what is known before the model runs, and what is not.

use anemone_mil::ops::Site;
use anemone_mil::{Dim, Function, Op, TensorType, ValueId};
use anemone_tensor::num::f64_of_usize;

/// Prefix of the ops that unpack weights when a model is loaded.
const CONSTEXPR: &str = "constexpr_";

/// True for ops that run when a model is loaded and take no part in a plan.
pub(crate) fn is_load_time(op: &Op) -> bool {
    op.kind.name().starts_with(CONSTEXPR) || op.is("const")
}

/// True when a value is known before the model runs: a constant, or an unpacked weight.
pub(crate) fn is_constant(function: &Function, value: ValueId) -> bool {
    function.constant(value).is_some()
        || function.producer(value).is_some_and(|op| is_load_time(function.op(op)))
}

/// Every tensor that the op takes or makes while the model runs, with the name of its parameter or result.
pub(crate) fn runtime<'a>(site: &Site<'a>) -> impl Iterator<Item = (&'a str, &'a TensorType)> {
    let (function, op) = (site.function, site.op);
    let taken = op.args.iter().flat_map(move |a| a.values.iter().map(move |&v| (&*a.param, v)));
    let taken = taken.filter(move |&(_, v)| !is_constant(function, v));
    let made = op.outputs.iter().map(move |&v| (&*function.value(v).name, v));
    taken.chain(made).filter_map(move |(name, v)| Some((name, function.value(v).ty.tensor()?)))
}

/// True when the argument is given and known only while the model runs.
pub(crate) fn is_runtime(site: &Site<'_>, param: &str) -> bool {
    site.values(param).iter().any(|&v| !is_constant(site.function, v))
}

/// The tensor type of an argument, when given.
pub(crate) fn tensor<'a>(site: &Site<'a>, param: &str) -> Option<&'a TensorType> {
    site.tensor(param).ok()
}

/// Extent that the segmenter counts: what is not known counts as 1.
pub(crate) fn extent(dim: &Dim) -> f64 {
    dim.known().map_or(1.0, f64_of_usize)
}

/// Number of elements, unknown extents counted as 1.
pub(crate) fn elements(ty: &TensorType) -> f64 {
    ty.dims.iter().map(extent).product()
}

/// Bytes, unknown extents counted as 1 and text as nothing.
pub(crate) fn bytes(ty: &TensorType) -> f64 {
    elements(ty) * f64_of_usize(ty.dtype.bits()) / 8.0
}

/// The extents of `axes`, multiplied.
pub(crate) fn volume(dims: &[Dim]) -> f64 {
    dims.iter().map(extent).product()
}
