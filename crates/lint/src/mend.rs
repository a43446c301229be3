//! Mends a program: applies the fixes of the rules that it breaks, and keeps those that help.

use crate::fix::{Automatic, Case, Choices, Exactness, Keep};
use crate::{Rule, Subject, rules};
use anemone_ane::{Device, Plan, Units};
use anemone_mil::{Level, Name, OpId, Program, verify};
use anemone_passes::clean;
use std::collections::HashSet;
use std::sync::Arc;

/// What to mend, and for what.
#[derive(Clone, Debug)]
pub struct MendOptions {
    /// The device, with the system to plan for.
    pub device: Arc<Device>,
    /// The compute units.
    pub units: Units,
    /// Apply fixes that round otherwise, too.
    pub rounding: bool,
    /// Names of the only rules to mend; all when empty.
    pub rules: Vec<String>,
    /// Names of rules that are left alone.
    pub off: Vec<String>,
    /// Keep fixes that make the plan worse, too.
    pub keep_worse: bool,
    /// What the user decided.
    pub choices: Choices,
}

/// The figures of a plan by which fixes are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Ops of the body.
    pub ops: usize,
    /// Part of the ops that prefer the ANE, 0 to 1.
    pub ane_share_by_count: f64,
    /// Part of the estimated cost that falls on the ANE, 0 to 1.
    pub ane_share_by_cost: f64,
    /// Changes of unit.
    pub crossings: usize,
    /// Estimated time with fixed costs, in ms.
    pub total_ms: f64,
    /// Estimated time of the ops that are not on the ANE, in ms.
    pub off_ane_ms: f64,
}

/// One fix that was tried.
#[derive(Clone, Debug)]
pub struct Step {
    /// The rule.
    pub rule: &'static Rule,
    /// The function.
    pub function: Name,
    /// Names of the results of the ops that broke the rule; none where the function as a whole did.
    pub places: Vec<String>,
    /// How many ops were changed.
    pub changed: usize,
    /// The plan before.
    pub before: Totals,
    /// The plan after.
    pub after: Totals,
    /// Why the fix was undone; `None` when it stands.
    pub undone: Option<String>,
}

/// Rounds over all rules; a fix may make work for another one.
const ROUNDS: usize = 8;

/// How far an estimate may rise by rounding alone.
const SLACK: f64 = 1e-9;

impl Totals {
    /// The figures of a plan.
    pub fn of(plan: &Plan) -> Totals {
        Totals {
            ops: plan.ops.len(),
            ane_share_by_count: plan.ane_share_by_count,
            ane_share_by_cost: plan.ane_share_by_cost,
            crossings: plan.crossings,
            total_ms: plan.cost_ms + plan.fixed_ms,
            off_ane_ms: plan.cost_ms * (1.0 - plan.ane_share_by_cost),
        }
    }

    /// What is worse here than before; `None` when nothing is.
    ///
    /// A share falls, too, when the ANE does its part in less time. So it counts that more time is spent elsewhere,
    /// and that more is spent in all.
    pub fn worse_than(&self, before: &Totals) -> Option<String> {
        let rises = |now: f64, then: f64| now > then + then.abs() * SLACK + SLACK;
        let us = |ms: f64| format!("{:.1}", ms * 1e3);
        if rises(self.total_ms, before.total_ms) {
            return Some(format!(
                "the estimate rises from {} to {} µs",
                us(before.total_ms),
                us(self.total_ms)
            ));
        }
        rises(self.off_ane_ms, before.off_ane_ms).then(|| {
            format!("time off the ANE rises from {} to {} µs", us(before.off_ane_ms), us(self.off_ane_ms))
        })
    }
}

/// The plan of a function; `None` when the program is faulty or has no such function.
fn planned(program: &Program, function: usize, options: &MendOptions) -> Option<Plan> {
    let verified = verify(program, Level::Imported).ok()?;
    let name = &program.functions.get(function)?.name;
    Some(anemone_ane::plan(verified.function(Some(name))?, &options.device, options.units))
}

/// Applies the fixes of every rule that a program breaks, again until none applies any more.
///
/// A fix is followed by the clean-up that moves no result. One that leaves a faulty program or a worse plan is undone.
/// The program must verify; one that does not is left as it is.
pub fn mend(program: &mut Program, options: &MendOptions) -> Vec<Step> {
    let mut steps = Vec::new();
    for function in 0..program.functions.len() {
        let mut given_up = HashSet::new();
        for _ in 0..ROUNDS {
            let applied = round(program, function, options, &mut given_up, &mut steps);
            if !applied {
                break;
            }
        }
    }
    steps
}

/// Tries the fix of every rule once; true when one stands.
fn round(
    program: &mut Program,
    function: usize,
    options: &MendOptions,
    given_up: &mut HashSet<&'static str>,
    steps: &mut Vec<Step>,
) -> bool {
    let Some(mut plan) = planned(program, function, options) else { return false };
    let mut applied = false;
    for rule in rules::ALL.iter().filter(|r| options.wants(r)) {
        let Some(fix) = rule.fix.automatic().filter(|_| !given_up.contains(rule.name)) else { continue };
        let Some((step, next)) = attempt(program, function, rule, fix, &plan, options) else { continue };
        let stands = step.undone.is_none();
        steps.push(step);
        match next.filter(|_| stands) {
            Some((next, after)) => (*program, plan, applied) = (next, after, true),
            None => drop(given_up.insert(rule.name)),
        }
    }
    applied
}

/// A program and the plan of the function that was mended.
type Mended = (Program, Plan);

/// Tries one fix; `None` when the rule is not broken or nothing changes.
fn attempt(
    program: &Program,
    function: usize,
    rule: &'static Rule,
    fix: &Automatic,
    plan: &Plan,
    options: &MendOptions,
) -> Option<(Step, Option<Mended>)> {
    let subject = Subject::new(program, &program.functions[function], plan);
    let found = (rule.find)(&subject);
    if found.is_empty() {
        return None;
    }
    let hits: Vec<OpId> = found.iter().filter_map(|h| h.op).collect();
    let before = Totals::of(plan);
    let name = |id: &OpId| {
        let op = subject.function.op(*id);
        op.outputs.last().map_or(&op.name, |&v| &subject.function.value(v).name).to_string()
    };
    let mut step = Step {
        rule,
        function: subject.function.name.clone(),
        places: hits.iter().map(name).collect(),
        changed: 0,
        before,
        after: before,
        undone: None,
    };
    let mut next = program.clone();
    let case = Case { function, device: &options.device, plan, hits: &hits, choices: &options.choices };
    step.changed = (fix.run)(&mut next, &case);
    if step.changed == 0 {
        return None;
    }
    clean(&mut next.functions[function]);
    let Some(after) = planned(&next, function, options) else {
        step.undone = Some("the program would be faulty; please report this".into());
        return Some((step, None));
    };
    step.after = Totals::of(&after);
    let stays = options.keep_worse || fix.keep == Keep::Always;
    step.undone = if stays { None } else { step.after.worse_than(&before) };
    Some((step, Some((next, after))))
}

impl MendOptions {
    /// True when the rule is one to mend, and its fix may be applied.
    pub fn wants(&self, rule: &Rule) -> bool {
        let named = |list: &[String]| list.iter().any(|n| n == rule.name);
        let allowed = |fix: &Automatic| self.rounding || fix.exactness == Exactness::Identical;
        (self.rules.is_empty() || named(&self.rules))
            && !named(&self.off)
            && rule.fix.automatic().is_some_and(allowed)
    }
}
