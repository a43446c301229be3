//! What the CPU and the GPU take.

use super::{Rule, Ruling, ops};
use crate::fact::{Evidence, Fact};

const PLANS: &str =
    "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: data/03_compile/opdispatch/plan_iso_all.tsv";

pub(super) static CPU_TAKES_ALL: Fact = Fact {
    id: "cpu-all",
    claim: "The CPU takes every op.",
    scope: "M4, macOS 27.0.1, MLComputePlan; 1480 planned ops",
    evidence: Evidence::Measured,
    source: PLANS,
};

static GPU_TAKES: Fact = Fact {
    id: "gpu-taken",
    claim: "The GPU takes almost every op, whatever the element type.",
    scope: "M4, macOS 27.0.1, MLComputePlan with all units",
    evidence: Evidence::Measured,
    source: PLANS,
};

static GPU_REFUSES: Fact = Fact {
    id: "gpu-refused",
    claim: "The GPU takes no affine, crop_resize, non_zero, range_1d, resize and sliding_windows.",
    scope: "M4, macOS 27.0.1, MLComputePlan with all units; one graph each",
    evidence: Evidence::Measured,
    source: PLANS,
};

pub(crate) static GPU_LARGE_CONV: Fact = Fact {
    id: "gpu-large-conv",
    claim: "With the GPU allowed, a convolution that the ANE refuses goes to the GPU at an estimated 3.2 ms of CPU \
            time and stays on the CPU at 0.35 ms; GPU estimates are not published.",
    scope: "M4, macOS 27.0.1, MLComputePlan with all units; one graph each",
    evidence: Evidence::Measured,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/conv_k17, iso/conv_k1x31",
};

pub(crate) static IDENTITY: Fact = Fact {
    id: "identity-dropped",
    claim: "identity costs nothing and is listed for every unit, also for those that are not allowed.",
    scope: "M4, macOS 27.0.1, MLComputePlan; one graph",
    evidence: Evidence::Measured,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/shape",
};

pub(crate) static CAST_UNKNOWN_EXTENT: Fact = Fact {
    id: "ane-cast-unknown-extent",
    claim: "With all units allowed, the ANE is listed for a cast of a tensor whose extent depends on data, which is \
            not listed without the GPU, and never preferred.",
    scope: "M4, macOS 27.0.1, MLComputePlan; two graphs",
    evidence: Evidence::Measured,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: iso/nonzero, iso/range_1d",
};

/// Rules of the CPU.
pub(super) static CPU: &[Rule] =
    &[Rule { fact: &CPU_TAKES_ALL, check: |_, _| Ruling::yes("the CPU takes every op") }];

/// Rules of the GPU.
pub(super) static GPU: &[Rule] = &[
    Rule {
        fact: &GPU_REFUSES,
        check: |site, _| {
            let name = site.def.name;
            if ops::NOT_GPU.contains(&name) { Ruling::no(format!("the GPU takes no `{name}`")) } else { None }
        },
    },
    Rule {
        fact: &GPU_TAKES,
        check: |site, _| {
            let name = site.def.name;
            let seen = ops::TAKEN.contains(&name) || ops::REFUSED.contains(&name);
            if seen { Ruling::yes(format!("the GPU takes `{name}`")) } else { None }
        },
    },
];
