//! `anemone.fix/1`.

use super::finite;
use anemone::ane::Plan;
use anemone::compare::Difference;
use anemone::{Fixed, FixedFunction, Left, Step, Totals, Why};
use serde::Serialize;

/// What fixing did.
#[derive(Debug, Serialize)]
pub(crate) struct Fix {
    schema: &'static str,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    device: String,
    applied: usize,
    steps: Vec<Tried>,
    functions: Vec<Function>,
    left: Vec<Remaining>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    look_ups: Vec<LookUp>,
}

/// A look-up that the host does now.
#[derive(Debug, Serialize)]
struct LookUp {
    function: String,
    numbers: String,
    rows: String,
}

#[derive(Debug, Serialize)]
struct Tried {
    rule: &'static str,
    function: String,
    fix: String,
    places: Vec<String>,
    changed: usize,
    before: Figures,
    after: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<String>,
}

#[derive(Debug, Serialize)]
struct Figures {
    ops: usize,
    ane_share_by_count: f64,
    ane_share_by_cost: f64,
    crossings: usize,
    total_us: f64,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    before: Figures,
    after: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Vec<Output>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_compared: Option<String>,
}

#[derive(Debug, Serialize)]
struct Output {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<String>,
    max_error: Option<f64>,
    relative: Option<f64>,
    cosine: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Remaining {
    rule: &'static str,
    severity: String,
    function: String,
    count: usize,
    why: &'static str,
    help: &'static str,
}

impl Fix {
    pub(crate) fn of(fixed: &Fixed, device: &str) -> Fix {
        Fix {
            schema: "anemone.fix/1",
            source: fixed.source.display().to_string(),
            output: fixed.output.as_ref().map(|p| p.display().to_string()),
            device: device.to_owned(),
            applied: fixed.applied(),
            steps: fixed.steps.iter().map(Tried::of).collect(),
            functions: fixed.functions.iter().map(Function::of).collect(),
            left: fixed.left.iter().map(Remaining::of).collect(),
            tables: fixed.tables.as_ref().map(|p| p.display().to_string()),
            look_ups: fixed
                .look_ups
                .iter()
                .map(|l| LookUp {
                    function: l.function.clone(),
                    numbers: l.numbers.clone(),
                    rows: l.rows.clone(),
                })
                .collect(),
        }
    }
}

impl Figures {
    fn of(t: &Totals) -> Figures {
        Figures {
            ops: t.ops,
            ane_share_by_count: t.ane_share_by_count,
            ane_share_by_cost: t.ane_share_by_cost,
            crossings: t.crossings,
            total_us: t.total_ms * 1e3,
        }
    }

    fn plan(plan: &Plan) -> Figures {
        Figures::of(&Totals::of(plan))
    }
}

impl Tried {
    fn of(step: &Step) -> Tried {
        Tried {
            rule: step.rule.name,
            function: step.function.to_string(),
            fix: step.rule.fix.to_string(),
            places: step.places.clone(),
            changed: step.changed,
            before: Figures::of(&step.before),
            after: Figures::of(&step.after),
            undone: step.undone.clone(),
        }
    }
}

impl Function {
    fn of(f: &FixedFunction) -> Function {
        let output = |d: &Difference| Output {
            name: d.name.clone(),
            mismatch: d.mismatch.clone(),
            max_error: finite(d.max_error),
            relative: finite(d.relative),
            cosine: finite(d.cosine),
        };
        Function {
            name: f.name.clone(),
            before: Figures::plan(&f.before),
            after: Figures::plan(&f.after),
            outputs: f.outputs.as_ref().ok().map(|all| all.iter().map(output).collect()),
            not_compared: f.outputs.as_ref().err().cloned(),
        }
    }
}

impl Remaining {
    fn of(left: &Left) -> Remaining {
        Remaining {
            rule: left.rule.name,
            severity: left.severity.to_string(),
            function: left.function.clone(),
            count: left.count,
            why: match left.why {
                Why::Manual => "manual",
                Why::Rounding => "rounding",
                Why::NotAsked => "not-asked",
                Why::Undone => "undone",
                Why::DoesNotApply => "does-not-apply",
            },
            help: left.rule.help,
        }
    }
}
