//! What the CPU and the GPU take.

use super::{Rule, Ruling, ops};

/// Rules of the CPU.
pub(super) static CPU: &[Rule] =
    &[Rule { fact: "cpu-all", check: |_, _| Ruling::yes("the CPU takes every op") }];

/// Rules of the GPU.
pub(super) static GPU: &[Rule] = &[
    Rule {
        fact: "gpu-refused",
        check: |site, _| {
            let name = site.def.name;
            if ops::NOT_GPU.contains(&name) { Ruling::no(format!("the GPU takes no `{name}`")) } else { None }
        },
    },
    Rule {
        fact: "gpu-taken",
        check: |site, _| {
            let name = site.def.name;
            let seen = ops::TAKEN.contains(&name) || ops::REFUSED.contains(&name);
            if seen { Ruling::yes(format!("the GPU takes `{name}`")) } else { None }
        },
    },
];
