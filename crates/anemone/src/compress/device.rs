//! What a device would not do well with a compressed model.

use crate::Error;
use crate::open::verified;
use anemone_ane::{Device, Fact, OpPlan, Plan, Unit, Units};
use anemone_lint::{Subject, rules};
use anemone_mil::Program;
use std::collections::HashMap;
use std::sync::Arc;

/// Rules about the form of weights.
const RULES: [&str; 3] = ["int4-per-block", "int8-per-block", "vector-palette"];

/// Something that a device would not do well.
#[derive(Clone, Debug)]
pub struct DeviceWarning {
    /// Rule of `check` that says it; none where the plan alone shows it.
    pub rule: Option<&'static str>,
    /// Names of the ops' results.
    pub ops: Vec<String>,
    /// What is wrong, in one clause without a full stop.
    pub message: String,
    /// What to do instead; empty where nothing is known.
    pub help: &'static str,
    /// The facts that it rests on.
    pub facts: Vec<&'static Fact>,
}

/// Compares the plans of a model before and after, and applies the rules about weights to the new one.
///
/// # Errors
/// When a program is faulty.
pub(super) fn warnings(
    was: &Program,
    is: &Program,
    device: &Arc<Device>,
    units: Units,
) -> Result<Vec<DeviceWarning>, Error> {
    let mut found: Vec<DeviceWarning> = Vec::new();
    for function in &is.functions {
        let plan = anemone_ane::plan(verified(is, Some(&function.name))?, device, units);
        let subject = Subject::new(is, function, &plan);
        for rule in RULES.iter().filter_map(|n| rules::named(n)) {
            for hit in (rule.find)(&subject) {
                let name =
                    hit.op.and_then(|id| function.op(id).outputs.first()).map(|&v| &function.value(v).name);
                let name = name.map_or_else(|| function.name.to_string(), ToString::to_string);
                match found.iter_mut().find(|w| w.rule == Some(rule.name)) {
                    Some(known) => known.ops.push(name),
                    None => found.push(DeviceWarning {
                        rule: Some(rule.name),
                        ops: vec![name],
                        message: hit.message,
                        help: rule.help,
                        facts: rule.facts.iter().filter_map(|k| Fact::named(k)).collect(),
                    }),
                }
            }
        }
        let Some(old) = was.functions.iter().find(|f| f.name == function.name) else { continue };
        let old = anemone_ane::plan(verified(was, Some(&old.name))?, device, units);
        moved(&old, &plan, &mut found);
    }
    Ok(found)
}

/// Ops that the ANE no longer takes, and how many the plan moves off it in all.
fn moved(old: &Plan, new: &Plan, found: &mut Vec<DeviceWarning>) {
    let before: HashMap<&str, &OpPlan> = old.ops.iter().map(|o| (o.name.as_str(), o)).collect();
    let mut leaving = Vec::new();
    for op in &new.ops {
        let Some(was) = before.get(op.name.as_str()) else { continue };
        if was.preferred == Unit::Ane && op.preferred != Unit::Ane {
            leaving.push(op.name.clone());
        }
        let refused = was.supported.contains(&Unit::Ane) && !op.supported.contains(&Unit::Ane);
        if !refused || found.iter().any(|w| w.ops.contains(&op.name)) {
            continue;
        }
        let message = format!("the Neural Engine took it before: {}", op.reason);
        match found.iter_mut().find(|w| w.rule.is_none() && w.message == message) {
            Some(known) => known.ops.push(op.name.clone()),
            None => found.push(DeviceWarning {
                rule: None,
                ops: vec![op.name.clone()],
                message,
                help: "",
                facts: op.facts.clone(),
            }),
        }
    }
    if !leaving.is_empty() {
        let message = format!("the plan moves {} ops off the Neural Engine", leaving.len());
        found.push(DeviceWarning { rule: None, ops: leaving, message, help: "", facts: Vec::new() });
    }
}
