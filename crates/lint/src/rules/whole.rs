//! The model as a whole.

use crate::finding::weight_bytes;
use crate::fix::Fix;
use crate::rule::{Hit, Rule, Severity};
use anemone_ane::Unit;
use anemone_mil::{Opset, Type};

/// The iOS release that an op set came with.
const fn release(opset: Opset) -> u16 {
    match opset {
        Opset::Ios13 => 13,
        Opset::Ios14 => 14,
        Opset::Ios15 => 15,
        Opset::Ios16 => 16,
        Opset::Ios17 => 17,
        Opset::Ios18 => 18,
        Opset::Ios26 => 26,
    }
}

pub(super) static NEEDS_NEWER_SYSTEM: Rule = Rule {
    name: "needs-newer-system",
    severity: Severity::Error,
    facts: &["pkg-mlprogram"],
    help: "convert with an older `--target`, or ask for a newer system",
    page: include_str!("../../../../docs/rules/needs-newer-system.md"),
    fix: Fix::Manual,
    find: |s| {
        let (needs, Some(os)) = (release(s.function.opset), s.device().os) else { return Vec::new() };
        if needs <= os.generation() {
            return Vec::new();
        }
        vec![Hit::whole(format!("the op set {} does not load on {os}", s.function.opset))]
    },
};

pub(super) static NOT_WORTH_IT: Rule = Rule {
    name: "not-worth-it",
    severity: Severity::Note,
    facts: &["planner-fixed-cost", "size-minimum"],
    help: "join it with its neighbours into one model, or leave it on the CPU",
    page: include_str!("../../../../docs/rules/not-worth-it.md"),
    fix: Fix::Manual,
    find: |s| {
        let ops = &s.plan.ops;
        let taken = ops.iter().filter(|op| op.supported.contains(&Unit::Ane)).count();
        if taken == 0 || ops.iter().any(|op| op.preferred == Unit::Ane) {
            return Vec::new();
        }
        vec![Hit::whole(format!(
            "the ANE takes {taken} of {} ops, and none is placed there, because too little is saved",
            ops.len()
        ))]
    },
};

/// A safe size of a shard, in bytes.
const SAFE_SHARD: u64 = 250_000_000;
/// Size from which every chip that was measured has left the ANE, in bytes.
const LARGEST_SHARD: u64 = 1_900_000_000;

pub(super) static SHARD_SIZE: Rule = Rule {
    name: "shard-size",
    severity: Severity::Warning,
    facts: &["size-program", "size-250mb", "size-shards"],
    help: "cut the model into shards of a few layers, or compress its weights",
    page: include_str!("../../../../docs/rules/shard-size.md"),
    fix: Fix::Manual,
    find: |s| {
        let own = s.device().figure("limit_program_mb").and_then(|f| f.value.least()).map(|mb| mb * 1e6);
        let bytes = weight_bytes(s.program);
        let limit = own.unwrap_or(LARGEST_SHARD as f64);
        let size = bytes as f64;
        if size > limit {
            let text = format!(
                "{:.0} MB of weights, and programs over about {:.0} MB leave the ANE",
                size / 1e6,
                limit / 1e6
            );
            return vec![Hit::whole(text)];
        }
        let note = "250 MB is the size up to which every source agrees";
        let over = bytes > SAFE_SHARD && s.device().is_phone();
        if over { vec![Hit::whole(format!("{:.0} MB of weights; {note}", size / 1e6))] } else { Vec::new() }
    },
};

/// States up to which every source agrees.
const FEW_STATES: usize = 2;

pub(super) static STATE_COUNT: Rule = Rule {
    name: "state-count",
    severity: Severity::Warning,
    facts: &["ane-state-count", "ane-states"],
    help: "keep the caches of all layers in one state of one shape",
    page: include_str!("../../../../docs/rules/state-count.md"),
    fix: Fix::Manual,
    find: |s| {
        let mut kinds: Vec<String> = Vec::new();
        for &v in &s.function.inputs {
            if let Type::State(ty) = &s.function.value(v).ty {
                kinds.push(ty.to_string());
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() <= FEW_STATES {
            return Vec::new();
        }
        vec![Hit::whole(format!(
            "{} kinds of state compile and fail when predicting on a phone",
            kinds.len()
        ))]
    },
};

pub(super) static UNKNOWN_OP: Rule = Rule {
    name: "unknown-op",
    severity: Severity::Warning,
    facts: &["planner-three-questions"],
    help: "ask a device: nothing is recorded of this op",
    page: include_str!("../../../../docs/rules/unknown-op.md"),
    fix: Fix::Manual,
    find: |s| {
        let unknown = s.planned().filter(|op| op.estimate.is_none());
        unknown.map(|op| Hit::at(op.id, format!("`{}` is not in the op table", op.kind))).collect()
    },
};
