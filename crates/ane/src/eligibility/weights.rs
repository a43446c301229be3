//! Compressed weights: which forms the ANE reads.

use super::Ruling;
use crate::device::Device;
use crate::fact::{Evidence, Fact};
use anemone_mil::ops::Site;
use anemone_mil::{DType, Dim, Function, Op, TensorType};

pub(super) static PER_BLOCK: Fact = Fact {
    id: "ane-int4-per-block",
    claim: "4-bit weights with a scale per block drop single convs and small shards to the CPU, while whole models \
            with them stay on the ANE.",
    scope: "M4 Max and M6, Core ML and direct compile: a conflict",
    evidence: Evidence::Measured,
    source: "videlalvaro/ane-book; apple/coremltools issue 2510; \
             751K/Apple-Neural-Engine-Microarchitecture-Study-M6: weight formats",
};

pub(super) static VECTOR: Fact = Fact {
    id: "ane-vector-palette",
    claim: "Scalar palettes are read compressed; palettes of vectors are refused.",
    scope: "M6 (h18g), direct compile; taken to hold for older chips",
    evidence: Evidence::Measured,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: weight formats",
};

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
