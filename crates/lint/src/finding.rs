//! Findings: the hits of every rule that is switched on.

use crate::rule::{Rule, Severity};
use crate::{Subject, rules};
use anemone_mil::{Const, Name, OpId, Program};
use anemone_tensor::num;

/// One broken rule at one place.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How much it matters here.
    pub severity: Severity,
    /// The function.
    pub function: Name,
    /// The op; `None` when the function as a whole is meant.
    pub op: Option<OpId>,
    /// Name of the op's last result, by which its line is found; empty without an op.
    pub value: String,
    /// Kind of the op; empty without an op.
    pub kind: String,
    /// What is wrong, in one clause without a full stop.
    pub message: String,
}

/// Applies every rule to a function; `severity` answers what a rule counts as, and `None` switches it off.
///
/// Findings come in program order, those of the function as a whole first.
pub fn check(subject: &Subject<'_>, severity: impl Fn(&'static Rule) -> Option<Severity>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in rules::ALL {
        let Some(severity) = severity(rule) else { continue };
        for hit in (rule.find)(subject) {
            let op = hit.op.map(|id| subject.function.op(id));
            let value = op.map(|op| {
                op.outputs.last().map_or(&op.name, |&v| &subject.function.value(v).name).to_string()
            });
            found.push(Finding {
                rule,
                severity,
                function: subject.function.name.clone(),
                op: hit.op,
                value: value.unwrap_or_default(),
                kind: op.map_or_else(String::new, |op| op.kind.name().to_owned()),
                message: hit.message,
            });
        }
    }
    let order: std::collections::HashMap<OpId, usize> =
        subject.ops().enumerate().map(|(i, (id, _))| (id, i)).collect();
    found.sort_by_key(|f| f.op.and_then(|id| order.get(&id).map(|i| i + 1)).unwrap_or(0));
    found
}

/// Bytes of every weight of a program, as stored; what a shard weighs.
pub fn weight_bytes(program: &Program) -> u64 {
    let mut total = 0_u64;
    for function in &program.functions {
        for (_, value) in function.values() {
            let Some(Const::Weight(weight)) = value.as_const() else { continue };
            let bytes = num::element_count(&weight.shape).and_then(|n| weight.dtype.packed_len(n));
            total = total.saturating_add(bytes.and_then(|n| u64::try_from(n).ok()).unwrap_or(0));
        }
    }
    total
}
