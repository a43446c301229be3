//! What the ANE compiler takes.

use super::weights;
use super::{Rule, Ruling, ops};
use crate::cost::inner_dim;
use crate::device::Device;
use crate::fact::{Evidence, Fact};
use crate::operands::{is_runtime, runtime, tensor};
use anemone_mil::ops::Site;
use anemone_mil::{DType, Dim};

const M4: &str = "M4 (h16g), macOS 27.0.1, MLComputePlan";
const M4_DIRECT: &str = "M4 (h16g), macOS 27.0.1, MLComputePlan and direct ANECCompile";
const STUDY: &str = "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: data/03_compile/opdispatch";
const DIRECT: &str =
    "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: arch_h16g_h18g.tsv, plan_iso_cpune.tsv";
const SWEEP: &str = "sbryngelson/ANEForge: op sweep through e5rt with an ANE-only mask";

/// A measured fact about an M4.
const fn measured(id: &'static str, claim: &'static str, scope: &'static str, source: &'static str) -> Fact {
    Fact { id, claim, scope, evidence: Evidence::Measured, source }
}

static TAKEN: Fact = measured("ane-taken", "The ANE takes these 107 op kinds.", M4, STUDY);
static REFUSED: Fact = measured(
    "ane-refused",
    "The ANE refuses inverse and hyperbolic trigonometry except atan and tanh, recurrence, sorting, argmax, scatter, \
     random numbers, cumsum, mod, one_hot, reduce_prod, band_part, crop_resize and ops whose result's size depends on \
     data.",
    M4,
    STUDY,
);
static TAKEN_ELSEWHERE: Fact = measured(
    "ane-taken-h17s",
    "The ANE takes these op kinds on a newer chip; nothing is recorded for an M4.",
    "M5 Pro (h17s), private path, each op alone",
    SWEEP,
);
static REFUSED_ELSEWHERE: Fact = measured(
    "ane-refused-h17s",
    "The ANE refuses these op kinds even on a newer chip.",
    "M5 Pro (h17s), private path, each op alone",
    SWEEP,
);
static LOGICAL: Fact = measured(
    "ane-logical",
    "logical_and is eligible within a fp16 graph, though logical_and, logical_or and logical_xor alone are refused on \
     a newer chip; the other two are taken to go with it.",
    "M4 (h16g) through MLComputePlan against M5 Pro (h17s) on a private path: a conflict of paths",
    "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/logical_and; sbryngelson/ANEForge: op sweep",
);
static STATES: Fact = measured(
    "ane-states",
    "State ops are refused alone on a newer chip, and run within language models on phones with one or two state \
     types.",
    "M5 Pro (h17s), private path, against iPhone 17 Pro (A19 Pro), Core ML: a conflict",
    "sbryngelson/ANEForge: op sweep; john-rocky/CoreML-LLM: MLState notes",
);
static INT32: Fact = measured(
    "ane-int32",
    "An op that takes or makes a 32-bit integer tensor at run time is refused, argmax and casts included.",
    M4_DIRECT,
    STUDY,
);
static FP32: Fact = measured(
    "ane-fp32",
    "The ANE computes in fp16: fp32 tensors are taken by cast alone.",
    "M1 and later, Core ML; casts of fp32 inputs and outputs are eligible on M4",
    "smpanaro/more-ane-transformers; 751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/add_f32, iso/relu_f32",
);
static EXTENT: Fact = measured(
    "ane-extent",
    "No axis may be longer than 65536; 65537 is refused on every axis.",
    M4_DIRECT,
    DIRECT,
);
static RANK: Fact = measured("ane-rank", "Tensors have up to five axes.", M4, STUDY);
static DYNAMIC: Fact = Fact {
    id: "ane-dynamic-shape",
    claim: "Tensors whose extents are known only at run time leave the ANE; with range dims only the default shape \
            stays.",
    scope: "M-series and iPhone, Core ML",
    evidence: Evidence::Measured,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/nonzero, iso/range_1d; \
             FluidInference/FluidAudio: RangeDim exports; apple/coremltools issue 2370",
};
static CONV_WIDTH: Fact = measured(
    "ane-conv-width",
    "A convolution kernel may be 15 wide; 16 and more are refused, except 16 x 16.",
    M4_DIRECT,
    DIRECT,
);
static CONV_HEIGHT: Fact = measured(
    "ane-conv-height",
    "A convolution kernel may be 31 high; 32 and more are refused.",
    M4_DIRECT,
    DIRECT,
);
static CONV_SQUARE: Fact = measured(
    "ane-conv-16x16",
    "Core ML accepts a 16 x 16 kernel after minutes of compiling and 11.7 GB of memory; the compiler alone runs out \
     of memory. A 16 x 16 kernel with stride 16 is accepted on an M4 Pro.",
    "M4 (h16g), macOS 27.0.1, and M4 Pro, macOS 26.5.1: the paths conflict",
    "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: notes; erwinzhang7/coreml-compute-placement",
);
static MAX_POOL: Fact = measured(
    "ane-max-pool-width",
    "A max pool kernel may be 1 to 8 wide, or 32; its height is free, and so is avg_pool.",
    M4_DIRECT,
    DIRECT,
);
static MATMUL_INNER: Fact = measured(
    "ane-matmul-inner",
    "A row along the inner dim of matmul takes at most 64 KiB: 32768 fp16 elements are accepted, 40000 refused.",
    M4_DIRECT,
    DIRECT,
);
static GATHER: Fact = measured(
    "ane-gather-indices",
    "gather is eligible with constant indices alone; gather_nd and gather_along_axis take 16-bit run-time indices.",
    "M4 (h16g), macOS 27.0.1, MLComputePlan; an M5 Pro on a private path refuses all three",
    "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/gather_*; sbryngelson/ANEForge: op sweep",
);
static SLICE: Fact =
    measured("ane-slice-begin", "A slice that begins at a run-time position is refused.", M4, STUDY);
static PAD: Fact = Fact {
    id: "ane-pad-value",
    claim: "pad takes zeros, reflection and replication; another constant is refused.",
    scope: "M4 (h16g), macOS 27.0.1; refusal known from the compiler's messages only",
    evidence: Evidence::Documented,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: compiler string table, iso/pad_*",
};

/// Rules of the ANE.
pub(super) static RULES: &[Rule] = &[
    Rule { fact: &REFUSED, check: |s, _| listed(s, ops::REFUSED, Ruling::no, "it takes no") },
    Rule {
        fact: &REFUSED_ELSEWHERE,
        check: |s, _| listed(s, ops::REFUSED_ELSEWHERE, Ruling::no, "even a newer chip's takes no"),
    },
    Rule { fact: &INT32, check: int32 },
    Rule { fact: &FP32, check: fp32 },
    Rule { fact: &EXTENT, check: extent },
    Rule { fact: &RANK, check: rank },
    Rule { fact: &DYNAMIC, check: dynamic },
    Rule { fact: &CONV_WIDTH, check: conv_width },
    Rule { fact: &CONV_HEIGHT, check: conv_height },
    Rule { fact: &CONV_SQUARE, check: conv_square },
    Rule { fact: &MAX_POOL, check: max_pool },
    Rule { fact: &MATMUL_INNER, check: matmul_inner },
    Rule { fact: &GATHER, check: |s, _| at_run_time(s, &["gather"], "indices") },
    Rule { fact: &SLICE, check: |s, _| at_run_time(s, &["slice_by_index", "slice_by_size"], "begin") },
    Rule { fact: &PAD, check: pad },
    Rule { fact: &weights::PER_BLOCK, check: weights::per_block },
    Rule { fact: &weights::VECTOR, check: weights::vector },
    Rule {
        fact: &STATES,
        check: |s, _| listed(s, ops::STATES, Ruling::unknown, "the records of state ops conflict, as for"),
    },
    Rule {
        fact: &LOGICAL,
        check: |s, _| {
            listed(s, ops::LOGICAL, Ruling::yes, "the ANE takes logical ops in a fp16 graph, as for")
        },
    },
    Rule {
        fact: &TAKEN_ELSEWHERE,
        check: |s, _| listed(s, ops::TAKEN_ELSEWHERE, Ruling::yes, "a newer chip's ANE takes"),
    },
    Rule { fact: &TAKEN, check: |s, _| listed(s, ops::TAKEN, Ruling::yes, "the ANE takes") },
];

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

fn extent(site: &Site<'_>, device: &Device) -> Option<Ruling> {
    let limit = device.limits.extent;
    let longest = |dims: &[Dim]| dims.iter().filter_map(Dim::known).max().unwrap_or(0);
    let (name, ty) = runtime(site).find(|(_, t)| longest(&t.dims) > limit)?;
    Ruling::no(format!("`{name}` has an axis of {}, and {limit} is the longest", longest(&ty.dims)))
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
