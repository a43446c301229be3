//! Shapes.

use super::eligible::spoken;
use crate::fix::Fix;
use crate::rule::{Hit, Rule, Severity};
use crate::shapes::{STATE_STEP, fix_inputs, pad_states};
use crate::subject::Subject;
use anemone_mil::interface::{Feature, FeatureKind, Flexibility};
use anemone_mil::{Dim, OpId, Type, ValueId};

pub(super) static AXIS_TOO_LONG: Rule = Rule {
    name: "axis-too-long",
    severity: Severity::Warning,
    facts: &["ane-extent", "ane-extent-16k", "ane-lm-head"],
    help: "split the axis into parts below the limit, and concat or hand out the parts",
    page: include_str!("../../../../docs/rules/axis-too-long.md"),
    fix: Fix::identical(|p, case| case.everywhere(p, "fold_axis") + case.everywhere(p, "split_projection")),
    find: |s| {
        let mut hits = spoken(s, &["ane-extent", "ane-extent-16k"], &["ane-int32", "ane-fp32"]);
        hits.retain(|h| h.op.is_none_or(|id| !is_edge(s, id)));
        hits
    },
};

/// True for an op at the edge of the graph that only arranges what goes in or comes out: somewhere that must be done.
fn is_edge(s: &Subject<'_>, id: OpId) -> bool {
    let op = s.function.op(id);
    let outside = |&v: &ValueId| s.function.outputs().contains(&v);
    let taken = op.operands().any(|v| s.function.inputs.contains(&v));
    !op.kind.form().moved().is_empty() && (taken || op.outputs.iter().any(outside))
}

pub(super) static RANK: Rule = Rule {
    name: "rank-over-five",
    severity: Severity::Warning,
    facts: &["ane-rank"],
    help: "merge axes that always move together",
    page: include_str!("../../../../docs/rules/rank-over-five.md"),
    fix: Fix::identical(|p, case| case.everywhere(p, "merge_dims")),
    find: |s| spoken(s, &["ane-rank"], &["ane-int32", "ane-fp32"]),
};

pub(super) static DYNAMIC_SHAPE: Rule = Rule {
    name: "dynamic-shape",
    severity: Severity::Warning,
    facts: &["ane-dynamic-shape", "ane-range-state"],
    help: "fix the shapes of inputs (`--input name:1x3x224x224`), or make one function per shape",
    page: include_str!("../../../../docs/rules/dynamic-shape.md"),
    fix: Fix::identical(fix_inputs),
    find: |s| {
        let open = |v| s.tensor(v).is_some_and(|t| t.known_shape().is_none());
        let inputs: Vec<&str> =
            s.function.inputs.iter().filter(|&&v| open(v)).map(|&v| &*s.function.value(v).name).collect();
        if !inputs.is_empty() {
            let text = format!(
                "extents of {} are known only at run time, and such ops leave the ANE",
                list(&inputs)
            );
            return vec![Hit::whole(text)];
        }
        spoken(s, &["ane-dynamic-shape"], &["ane-int32", "ane-refused", "ane-refused-h17s"])
    },
};

fn list(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

pub(super) static ENUMERATED_SHAPES: Rule = Rule {
    name: "enumerated-shapes",
    severity: Severity::Note,
    facts: &["ane-enumerated"],
    help: "make one function per shape, each with fixed shapes",
    page: include_str!("../../../../docs/rules/enumerated-shapes.md"),
    fix: Fix::identical(fix_inputs),
    find: |s| {
        let Some(interface) = s.program.interface.function(&s.function.name) else { return Vec::new() };
        let shapes = |kind: &FeatureKind| match kind {
            FeatureKind::MultiArray(a) => match &a.flexibility {
                Flexibility::Enumerated(shapes) => shapes.len(),
                _ => 0,
            },
            _ => 0,
        };
        let found = interface.inputs.iter().map(|f| (f, shapes(&f.kind))).filter(|(_, n)| *n > 1);
        let text = |(f, n): (&Feature, usize)| {
            Hit::whole(format!(
                "`{}` has {n} enumerated shapes, with which models were seen to leave the ANE",
                f.name
            ))
        };
        found.map(text).collect()
    },
};

pub(super) static STATE_WIDTH: Rule = Rule {
    name: "state-width",
    severity: Severity::Warning,
    facts: &["ane-state-width"],
    help: "pad the last dim of the state to a multiple of 32",
    page: include_str!("../../../../docs/rules/state-width.md"),
    fix: Fix::identical(pad_states).always(),
    find: |s| {
        let mut hits = Vec::new();
        for &v in &s.function.inputs {
            let Type::State(ty) = &s.function.value(v).ty else { continue };
            if let Some(width) = ty.dims.last().and_then(Dim::known).filter(|w| w % STATE_STEP != 0) {
                let name = &s.function.value(v).name;
                hits.push(Hit::whole(format!(
                    "the last dim of state `{name}` is {width}, and must be a multiple of {STATE_STEP}"
                )));
            }
        }
        hits
    },
};
