//! Forms that the ANE takes, but not well.

use super::eligible::{NARROW, SPLIT_BOUND, split_kernel};
use crate::fix::Fix;
use crate::lookups::hand_in_rows;
use crate::rule::{Hit, Rule, Severity};
use crate::subject::Subject;
use anemone_ane::{Answer, Unit};
use anemone_mil::Dim;

pub(super) static CONV_RUNTIME_WEIGHTS: Rule = Rule {
    name: "conv-runtime-weights",
    severity: Severity::Warning,
    facts: &["ane-runtime-weights"],
    help: "use matmul for products of two computed tensors",
    page: include_str!("../../../../docs/rules/conv-runtime-weights.md"),
    fix: Fix::rounding("the products are summed in another order", |p, case| {
        case.at_hits(p, "replace_runtime_conv")
    }),
    find: |s| {
        let computed = s
            .sites(&["conv", "conv_transpose"])
            .filter(|(_, site)| site.values("weight").iter().any(|&v| !s.is_weight(v)));
        computed
            .map(|(id, _)| {
                Hit::at(id, "`weight` is computed at run time, and a private path ignored such weights")
            })
            .collect()
    },
};

pub(super) static CONV_1D: Rule = Rule {
    name: "conv-1d",
    severity: Severity::Note,
    facts: &["layout-nchw", "ane-conv-variants"],
    help: "write them as two-dimensional ones on [N, C, 1, W]",
    page: include_str!("../../../../docs/rules/conv-1d.md"),
    fix: Fix::identical(|p, case| {
        let changed = case.everywhere(p, "raise_convs");
        changed + if changed > 0 { case.everywhere(p, "sink_squeezes") } else { 0 }
    }),
    find: |s| {
        let flat = s.sites(&["conv"]).filter(|(_, site)| site.tensor("x").is_ok_and(|x| x.rank() == 3));
        flat.map(|(id, _)| Hit::at(id, "`conv` works on three dims, and the ANE lays tensors out in four"))
            .collect()
    },
};

/// Width of the kernel of a convolution.
fn width(site: &anemone_mil::ops::Site<'_>) -> Option<usize> {
    let weight = site.tensor("weight").ok()?;
    weight.dims.get(2..)?.last().and_then(Dim::known)
}

pub(super) static CONV_WIDE_KERNEL: Rule = Rule {
    name: "conv-wide-kernel",
    severity: Severity::Note,
    facts: &["ane-conv-wide-slow"],
    help: "prefer two narrower kernels",
    page: include_str!("../../../../docs/rules/conv-wide-kernel.md"),
    fix: Fix::rounding(SPLIT_BOUND, split_kernel),
    find: |s| {
        let found = s.sites(&["conv"]).filter_map(|(id, site)| Some((id, width(&site)?)));
        let wide = found.filter(|(_, w)| (NARROW + 1..=s.device().limits.conv_width).contains(w));
        wide.map(|(id, w)| {
            Hit::at(id, format!("a kernel {w} wide is rewritten by the compiler and bound by its weights"))
        })
        .collect()
    },
};

pub(super) static DILATED_CONV: Rule = Rule {
    name: "dilated-conv",
    severity: Severity::Note,
    facts: &["ane-conv-variants"],
    help: "plan for the oldest chip that matters, and check a trace of it",
    page: include_str!("../../../../docs/rules/dilated-conv.md"),
    fix: Fix::identical(|p, case| case.at_hits(p, "fill_dilations")),
    find: |s| {
        if s.device().generation().is_none_or(|g| g >= 16) {
            return Vec::new();
        }
        let dilated = s
            .sites(&["conv"])
            .filter(|(_, site)| site.known_ints("dilations").is_some_and(|d| d.iter().any(|&d| d > 1)));
        dilated
            .map(|(id, _)| Hit::at(id, "dilated convolutions were said to be refused before H16"))
            .collect()
    },
};

/// Islands off the ANE from which a warning is due.
const MANY_CROSSINGS: usize = 4;

pub(super) static CROSSINGS: Rule = Rule {
    name: "crossings",
    severity: Severity::Warning,
    facts: &["planner-crossings", "one-op-sinks", "network-fallback"],
    help: "rewrite or move the ops between ANE segments; each change of unit counts 0.125 ms, and entering as much again",
    page: include_str!("../../../../docs/rules/crossings.md"),
    fix: Fix::Manual,
    find: |s| {
        if s.plan.crossings < MANY_CROSSINGS {
            return Vec::new();
        }
        let total = s.plan.cost_ms + s.plan.fixed_ms;
        let text = format!(
            "the plan changes unit {} times, {:.3} of {total:.3} ms",
            s.plan.crossings, s.plan.fixed_ms
        );
        vec![Hit::whole(text)]
    },
};

/// Rows of a table from which a look-up belongs to the host.
const LARGE_TABLE: usize = 16384;

pub(super) static EMBEDDING: Rule = Rule {
    name: "embedding-table",
    severity: Severity::Note,
    facts: &["ane-embedding"],
    help: "look the rows up on the host and hand the embeddings in",
    page: include_str!("../../../../docs/rules/embedding-table.md"),
    fix: Fix::identical(hand_in_rows),
    find: |s| {
        let mut hits = Vec::new();
        for (id, site) in s.sites(&["gather"]) {
            let table = site.values("x").first().filter(|&&v| s.is_weight(v)).and_then(|&v| s.tensor(v));
            let rows = table.and_then(|t| t.dims.first()).and_then(Dim::known).unwrap_or(0);
            if rows > LARGE_TABLE {
                hits.push(Hit::at(id, format!("the table of {rows} rows is read on the CPU, whole")));
            }
        }
        hits
    },
};

pub(super) static WIDE_PROJECTION: Rule = Rule {
    name: "wide-projection",
    severity: Severity::Note,
    facts: &["ane-lm-head", "ane-extent-16k"],
    help: "split the projection into parts of at most 16384 outputs, which older chips take, too",
    page: include_str!("../../../../docs/rules/wide-projection.md"),
    fix: Fix::identical(|p, case| case.at_hits(p, "split_projection")),
    find: |s| {
        let mut hits = Vec::new();
        for (id, site) in s.sites(&["linear", "conv"]) {
            let rows =
                site.tensor("weight").ok().and_then(|w| w.dims.first()).and_then(Dim::known).unwrap_or(0);
            if rows > LARGE_TABLE {
                hits.push(Hit::at(id, format!("{rows} outputs leave the ANE of chips before H16")));
            }
        }
        hits
    },
};

pub(super) static LINEAR_NOT_CONV: Rule = Rule {
    name: "linear-not-conv",
    severity: Severity::Note,
    facts: &["conv-projections", "linear-slower", "layout-nchw"],
    help: "write projections as 1 x 1 convolutions on [1, C, 1, S]",
    page: include_str!("../../../../docs/rules/linear-not-conv.md"),
    fix: Fix::identical(|p, case| {
        let changed = case.everywhere(p, "linear_to_conv");
        // What stands between two of them must have their rank before their transposes can meet.
        changed + if changed > 0 { case.everywhere(p, "sink_squeezes") } else { 0 }
    }),
    find: |s| {
        let linear: Vec<_> = s.planned().filter(|op| op.kind == "linear").collect();
        let share: f64 = linear.iter().filter_map(|op| op.cost_share).sum();
        let Some(first) = linear.first() else { return Vec::new() };
        let percent = share * 100.0;
        let text = format!(
            "{} `linear` ops, {percent:.0} % of the cost, run at about half the rate of convolutions",
            linear.len()
        );
        vec![Hit::at(first.id, text)]
    },
};

/// Length of attention from which windows are safer.
const LONG: usize = 4096;

/// How far attention in pieces is from the whole.
const ATTENTION_BOUND: &str = "scores, weights and sums are rounded one by one: 2^-11 in fp16, each";

pub(super) static LONG_ATTENTION: Rule = Rule {
    name: "long-attention",
    severity: Severity::Warning,
    facts: &["ane-score-matrix", "ane-attention-window"],
    help: "attend in windows of 256 or 512 queries, one head at a time",
    page: include_str!("../../../../docs/rules/long-attention.md"),
    fix: Fix::rounding(ATTENTION_BOUND, |p, case| {
        case.at_hits(p, "write_out_attention")
            + case.everywhere(p, "split_attention")
            + case.everywhere(p, "split_softmax")
    })
    .always(),
    find: long_attention,
};

fn long_attention(s: &Subject<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (id, site) in s.sites(&["softmax", "scaled_dot_product_attention"]) {
        let extent = |param: &str, back: usize| {
            let dims = &site.tensor(param).ok()?.dims;
            dims.len().checked_sub(back).and_then(|i| dims.get(i)).and_then(Dim::known)
        };
        let scores = match site.def.name {
            "softmax" => (extent("x", 2), extent("x", 1)),
            _ => (extent("query", 2), extent("key", 2)),
        };
        if let (Some(rows), Some(columns)) = scores
            && rows >= LONG
            && columns >= LONG
        {
            hits.push(Hit::at(id, format!("a score matrix of {rows} x {columns} is slow or refused")));
        }
    }
    hits
}

pub(super) static SDPA_MASK: Rule = Rule {
    name: "sdpa-mask",
    severity: Severity::Note,
    facts: &["ane-sdpa-mask"],
    help: "add the mask to the scores before a softmax of your own, and compare the outputs on the device",
    page: include_str!("../../../../docs/rules/sdpa-mask.md"),
    fix: Fix::rounding(ATTENTION_BOUND, |p, case| case.at_hits(p, "write_out_attention")),
    find: |s| {
        let masked = s.sites(&["scaled_dot_product_attention"]).filter(|(_, site)| site.has("attn_mask"));
        masked
            .map(|(id, _)| Hit::at(id, "masks of attention were ignored on one path and applied on another"))
            .collect()
    },
};

pub(super) static TOPK: Rule = Rule {
    name: "topk",
    severity: Severity::Warning,
    facts: &["ane-topk", "ane-topk-cost"],
    help: "return the scores and select on the host",
    page: include_str!("../../../../docs/rules/topk.md"),
    fix: Fix::Manual,
    find: |s| {
        let taken = s.sites(&["topk"]).filter(|(_, site)| {
            anemone_ane::eligibility::verdict(site, s.device(), Unit::Ane).answer == Answer::Yes
        });
        taken
            .map(|(id, _)| Hit::at(id, "`topk` costs 6 to 10 ms on the ANE, 200 times its estimate"))
            .collect()
    },
};
