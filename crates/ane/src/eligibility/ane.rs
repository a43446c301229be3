//! What the ANE compiler takes.

use super::weights;
use super::{Rule, Ruling, ops};
use crate::cost::inner_dim;
use crate::device::{Device, Limits};
use crate::operands::{is_runtime, runtime, tensor};
use anemone_mil::ops::Site;
use anemone_mil::{DType, Dim};

/// Rules of the ANE.
pub(super) static RULES: &[Rule] = &[
    Rule { fact: "ane-a11", check: unreachable },
    Rule { fact: "ane-refused", check: |s, _| listed(s, ops::REFUSED, Ruling::no, "it takes no") },
    Rule {
        fact: "ane-refused-h17s",
        check: |s, _| listed(s, ops::REFUSED_ELSEWHERE, Ruling::no, "even a newer chip's takes no"),
    },
    Rule { fact: "ane-int32", check: int32 },
    Rule { fact: "ane-fp32", check: fp32 },
    Rule { fact: "ane-extent", check: |s, d| if is_newer(d) { extent(s, d) } else { None } },
    Rule { fact: "ane-extent-16k", check: |s, d| if is_newer(d) { None } else { extent(s, d) } },
    Rule { fact: "ane-rank", check: rank },
    Rule { fact: "ane-dynamic-shape", check: dynamic },
    Rule { fact: "ane-conv-width", check: conv_width },
    Rule { fact: "ane-conv-height", check: conv_height },
    Rule { fact: "ane-conv-16x16", check: conv_square },
    Rule { fact: "ane-max-pool-width", check: max_pool },
    Rule { fact: "ane-matmul-inner", check: |s, d| if is_newer(d) { matmul_inner(s, d) } else { None } },
    Rule { fact: "ane-matmul-inner-16k", check: |s, d| if is_newer(d) { None } else { matmul_inner(s, d) } },
    Rule { fact: "ane-gather-indices", check: |s, _| at_run_time(s, &["gather"], "indices") },
    Rule {
        fact: "ane-slice-begin",
        check: |s, _| at_run_time(s, &["slice_by_index", "slice_by_size"], "begin"),
    },
    Rule { fact: "ane-pad-value", check: pad },
    Rule { fact: "ane-int4-per-block", check: weights::per_block },
    Rule { fact: "ane-vector-palette", check: weights::vector },
    Rule {
        fact: "ane-states",
        check: |s, _| listed(s, ops::STATES, Ruling::unknown, "the records of state ops conflict, as for"),
    },
    Rule {
        fact: "ane-logical",
        check: |s, _| {
            listed(s, ops::LOGICAL, Ruling::yes, "the ANE takes logical ops in a fp16 graph, as for")
        },
    },
    Rule {
        fact: "ane-taken-h17s",
        check: |s, _| listed(s, ops::TAKEN_ELSEWHERE, Ruling::yes, "a newer chip's ANE takes"),
    },
    Rule { fact: "ane-taken", check: |s, _| listed(s, ops::TAKEN, Ruling::yes, "the ANE takes") },
];

/// True for engines with the limits that came with H16.
fn is_newer(device: &Device) -> bool {
    device.generation().is_none_or(|g| g >= 16)
}

fn listed(
    site: &Site<'_>,
    list: &[&str],
    ruling: fn(String) -> Option<Ruling>,
    says: &str,
) -> Option<Ruling> {
    let name = site.def.name;
    if list.contains(&name) { ruling(format!("{says} `{name}`")) } else { None }
}

fn int32(site: &Site<'_>, _: &Device) -> Option<Ruling> {
    let wide = |d: DType| d.is_int() && d.bits() >= 32;
    let (name, ty) = runtime(site).find(|(_, t)| wide(t.dtype))?;
    Ruling::no(format!("`{name}` is {}, and the ANE has no 32-bit integers", ty.dtype))
}

fn fp32(site: &Site<'_>, _: &Device) -> Option<Ruling> {
    if site.def.name == "cast" {
        return None;
    }
    let wide = |d: DType| matches!(d, DType::F32 | DType::F64);
    let (name, ty) = runtime(site).find(|(_, t)| wide(t.dtype))?;
    Ruling::no(format!("`{name}` is {}, and the ANE computes in fp16", ty.dtype))
}

/// The longest axis allowed at `axis` of `rank`: batch and channels lead, height, width and depth follow.
///
/// Of fewer than four axes the first is taken for the channels; that is the order in which packages are laid out.
fn extent_limit(axis: usize, rank: usize, limits: &Limits) -> usize {
    let leading = if rank >= 4 { 2 } else { 1 };
    if axis < leading && rank > 1 { limits.extent_nc } else { limits.extent }
}

fn extent(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    for (name, ty) in runtime(site) {
        for (axis, dim) in ty.dims.iter().enumerate() {
            let limit = extent_limit(axis, ty.rank(), &device.limits);
            if let Some(long) = dim.known().filter(|&d| d > limit) {
                return Ruling::no(format!("`{name}` has an axis of {long}, and {limit} is the longest"));
            }
        }
    }
    None
}

fn unreachable(_: &Site<'_>, device: &Device) -> Option<Ruling> {
    if device.estimates.is_some() {
        return None;
    }
    Ruling::no(format!("Core ML does not reach the Neural Engine of the {}", device.chip))
}

fn rank(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    let limit = device.limits.rank;
    let (name, ty) = runtime(site).find(|(_, t)| t.rank() > limit)?;
    Ruling::no(format!("`{name}` has {} axes, and {limit} is the most", ty.rank()))
}

fn dynamic(site: &Site<'_>, _: &Device) -> Option<Ruling> {
    let (name, ty) = runtime(site).find(|(_, t)| t.known_shape().is_none())?;
    Ruling::no(format!("the shape of `{name}`, {ty}, is known only at run time"))
}

/// Height and width of a convolution kernel; a rank-3 weight has a width alone.
fn kernel(site: &Site<'_>) -> Option<(usize, usize)> {
    if site.def.name != "conv" {
        return None;
    }
    let dims = tensor(site, "weight")?.dims.get(2..)?;
    let from_end = |n: usize| dims.len().checked_sub(n).and_then(|i| dims.get(i)).and_then(Dim::known);
    Some((from_end(2).unwrap_or(1), from_end(1)?))
}

fn is_square_exception(site: &Site<'_>, device: &Device) -> bool {
    kernel(site) == Some((device.limits.conv_square, device.limits.conv_square))
}

fn conv_width(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    let (limit, (_, width)) = (device.limits.conv_width, kernel(site)?);
    if width <= limit || is_square_exception(site, device) {
        return None;
    }
    Ruling::no(format!("the kernel is {width} wide, and {limit} is the most"))
}

fn conv_height(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    let (limit, (height, _)) = (device.limits.conv_height, kernel(site)?);
    if height <= limit {
        return None;
    }
    Ruling::no(format!("the kernel is {height} high, and {limit} is the most"))
}

fn conv_square(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    if !is_square_exception(site, device) {
        return None;
    }
    let side = device.limits.conv_square;
    Ruling::yes(format!("a {side} x {side} kernel is accepted, after minutes of compiling"))
}

fn max_pool(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    if site.def.name != "max_pool" {
        return None;
    }
    let (most, wide) = (device.limits.max_pool_width, device.limits.max_pool_wide);
    let width = usize::try_from(*site.known_ints("kernel_sizes")?.last()?).ok()?;
    if width <= most || width == wide {
        return None;
    }
    Ruling::no(format!("the pool kernel is {width} wide, which may be 1 to {most}, or {wide}"))
}

fn matmul_inner(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    if site.def.name != "matmul" {
        return None;
    }
    let x = tensor(site, "x")?;
    let inner = inner_dim(x, site.bool("transpose_x").unwrap_or(false))?.known()?;
    let (row, limit) = (x.dtype.packed_len(inner)?, device.limits.matmul_row_bytes);
    if row <= limit {
        return None;
    }
    Ruling::no(format!("the inner dim of {inner} takes {row} bytes a row, and {limit} is the most"))
}

fn at_run_time(site: &Site<'_>, ops: &[&str], param: &str) -> Option<Ruling> {
    if !ops.contains(&site.def.name) || !is_runtime(site, param) {
        return None;
    }
    Ruling::no(format!("`{param}` is computed at run time and must be a constant"))
}

fn pad(site: &Site<'_>, _: &Device) -> Option<Ruling> {
    if site.def.name != "pad" || site.str("mode").ok()? != "constant" {
        return None;
    }
    let value = site.float("constant_val").ok().filter(|&v| v != 0.0)?;
    Ruling::no(format!("it pads with {value}, and only 0 is taken"))
}
