//! Compressed weights: which forms the ANE reads.

use super::Ruling;
use crate::device::Device;
use anemone_mil::ops::Site;
use anemone_mil::{DType, Dim, Function, Op, TensorType};

/// The `constexpr_*` ops that make operands of this op, with the parameter that they feed.
fn unpackers<'a>(site: &Site<'a>) -> impl Iterator<Item = (&'a str, &'a Op)> {
    let (function, op) = (site.function, site.op);
    let values = op.args.iter().flat_map(|a| a.values.iter().map(move |&v| (&*a.param, v)));
    let made = values.filter_map(move |(p, v)| Some((p, function.op(function.producer(v)?))));
    made.filter(|(_, op)| op.kind.name().starts_with("constexpr_"))
}

fn operand<'a>(function: &'a Function, op: &Op, param: &str) -> Option<&'a TensorType> {
    op.value(param).and_then(|v| function.value(v).ty.tensor())
}

pub(super) fn per_block(site: &Site<'_>, _: &Device) -> Option<Ruling> {
    let blocked = |op: &Op| {
        let Some(scale) = operand(site.function, op, "scale") else { return false };
        let narrow =
            operand(site.function, op, "data").is_some_and(|d| matches!(d.dtype, DType::I4 | DType::U4));
        narrow && scale.dims.iter().filter(|d| **d != Dim::Known(1)).count() > 1
    };
    let (param, _) =
        unpackers(site).find(|(_, op)| op.is("constexpr_blockwise_shift_scale") && blocked(op))?;
    Ruling::unknown(format!("`{param}` has 4 bits with a scale per block, and the records of that conflict"))
}

pub(super) fn vector(site: &Site<'_>, _: &Device) -> Option<Ruling> {
    let width = |op: &Op| {
        let lut = operand(site.function, op, "lut")?;
        if lut.rank() > 1 { lut.dims.last().and_then(Dim::known) } else { None }
    };
    let lut = |op: &Op| op.is("constexpr_lut_to_dense") && width(op).is_some_and(|w| w > 1);
    let (param, _) = unpackers(site).find(|(_, op)| lut(op))?;
    Ruling::no(format!("`{param}` is a palette of vectors, and only palettes of numbers are taken"))
}
