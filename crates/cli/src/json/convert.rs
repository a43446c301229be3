//! `anemone.convert/1`.

use super::inspect::Function;
use super::run::Differs;
use super::{Count, Plan};
use anemone::{Check, Conversion};
use serde::Serialize;

/// What a conversion did.
#[derive(Debug, Serialize)]
pub(crate) struct Convert {
    schema: &'static str,
    source: String,
    output: String,
    source_bytes: u64,
    output_bytes: u64,
    source_nodes: usize,
    opset: String,
    interface: Function,
    ops: Vec<Count>,
    passes: Vec<Count>,
    plan: Plan,
    check: Checked,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checked {
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    outputs: Vec<Differs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Growth>,
}

#[derive(Debug, Serialize)]
struct Growth {
    op: String,
    name: String,
    source: Option<String>,
    relative: f64,
}

impl Convert {
    pub(crate) fn of(c: &Conversion) -> Convert {
        Convert {
            schema: "anemone.convert/1",
            source: c.source.display().to_string(),
            output: c.output.display().to_string(),
            source_bytes: c.source_bytes,
            output_bytes: c.output_bytes,
            source_nodes: c.source_nodes,
            opset: c.opset.to_string(),
            interface: Function::of(&c.interface),
            ops: Count::all(&c.ops),
            passes: Count::all(&c.passes),
            plan: Plan::of(&c.output, &c.plan),
            check: Checked::of(&c.check),
            notes: c.notes.clone(),
        }
    }
}

impl Checked {
    fn of(check: &Check) -> Checked {
        match check {
            Check::Skipped(why) => Checked { skipped: Some(why.clone()), outputs: Vec::new(), growth: None },
            Check::Done { outputs, growth } => Checked {
                skipped: None,
                outputs: outputs.iter().map(Differs::of).collect(),
                growth: growth.as_ref().map(|g| Growth {
                    op: g.kind.clone(),
                    name: g.name.clone(),
                    source: g.source.clone(),
                    relative: g.relative,
                }),
            },
        }
    }
}
