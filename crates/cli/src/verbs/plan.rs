//! `plan`.

use super::{note, print, print_json};
use crate::args::PlanArgs;
use crate::table::Table;
use crate::{Outcome, human, json, style};
use anemone::Error;
use anemone::ane::{Boundary, OpPlan, Plan, Unit};
use std::collections::HashMap;

pub(super) fn run(args: &PlanArgs) -> Result<Outcome, Error> {
    let device = anemone::target(&args.device, args.os)?;
    let plan = anemone::plan(&args.model, args.function.as_deref(), &device, args.units)?;
    super::tell_of_rest(&args.model);
    if args.json {
        print_json(&json::Plan::of(&args.model, &plan))?;
        return Ok(Outcome::Clean);
    }
    print(&(full(&plan) + "\n" + &totals(&plan)))?;
    plan.notes.iter().for_each(|n| note(n));
    Ok(Outcome::Clean)
}

/// One row per op, then each reason once.
fn full(plan: &Plan) -> String {
    let reasons = distinct_reasons(plan);
    let numbers: HashMap<&str, usize> = reasons.iter().enumerate().map(|(i, (r, _))| (*r, i + 1)).collect();
    let mut table = Table::new(&["", "op", "unit", "takes it", ">ANE", ">CPU", ">share", ">why", "name"]);
    for (i, op) in plan.ops.iter().enumerate() {
        let estimate = |v: Option<f64>| v.map_or("-".into(), human::milliseconds);
        let estimates = op.estimate.as_ref();
        let why = numbers.get(&*op.reason).copied().unwrap_or(0);
        table.row(vec![
            i.to_string(),
            op.kind.clone(),
            placed(op),
            units(op),
            estimate(estimates.and_then(|e| e.ane)),
            estimate(estimates.map(|e| e.bnns.min(e.classic_cpu))),
            op.cost_share.map_or("-".into(), human::percent),
            why.to_string(),
            op.name.clone(),
        ]);
    }
    table.render() + "\n" + &numbered(&reasons, reasons.len())
}

/// The unit, with a question mark where it rests on something unknown.
fn placed(op: &OpPlan) -> String {
    format!("{}{}", op.preferred, if op.uncertain { "?" } else { "" })
}

/// Every reason once, in the order of first appearance, with the ops that it is given for.
fn distinct_reasons(plan: &Plan) -> Vec<(&str, Vec<&OpPlan>)> {
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut reasons: Vec<(&str, Vec<&OpPlan>)> = Vec::new();
    for op in &plan.ops {
        let index = *at.entry(&op.reason).or_insert(reasons.len());
        if index == reasons.len() {
            reasons.push((&op.reason, Vec::new()));
        }
        reasons[index].1.push(op);
    }
    reasons
}

/// Numbered reasons with their facts, wrapped.
fn numbered(reasons: &[(&str, Vec<&OpPlan>)], most: usize) -> String {
    let mut out = String::new();
    for (i, (reason, ops)) in reasons.iter().enumerate().take(most) {
        let mut facts: Vec<&str> = ops.iter().flat_map(|op| op.facts.iter().map(|f| &*f.id)).collect();
        facts.sort_unstable();
        facts.dedup();
        let facts = if facts.is_empty() { String::new() } else { format!(" [{}]", facts.join(" ")) };
        let one = || format!("{} \"{}\"", ops[0].kind, ops[0].name);
        let who = if ops.len() == 1 { one() } else { format!("{} ops", ops.len()) };
        out.push_str(&crate::table::wrap(&format!("{}. {who}: {reason}{facts}", i + 1), "  ", "     "));
    }
    if reasons.len() > most {
        out.push_str(&format!(
            "  … and {} more reasons; `anemone plan` shows them all\n",
            reasons.len() - most
        ));
    }
    out
}

fn units(op: &OpPlan) -> String {
    op.supported.iter().map(Unit::to_string).collect::<Vec<_>>().join(" ")
}

/// One row per run of ops on one unit, and the totals.
pub(super) fn totals(plan: &Plan) -> String {
    let mut out = String::new();
    let mut table = Table::new(&["segment", ">ops", "unit", ">estimate"]);
    for (i, s) in plan.segments.iter().enumerate().take(MOST_SEGMENTS) {
        let ops = format!("{}", s.ops.len());
        table.row(vec![(i + 1).to_string(), ops, s.unit.to_string(), human::milliseconds(s.ms)]);
    }
    out.push_str(&table.render());
    if plan.segments.len() > MOST_SEGMENTS {
        out.push_str(&format!("  … and {} more segments\n", plan.segments.len() - MOST_SEGMENTS));
    }
    let on_ane = plan.ops.iter().filter(|op| op.preferred == Unit::Ane).count();
    let share = format!("{} of the estimated cost", human::percent(plan.ane_share_by_cost));
    let share = if plan.ane_share_by_cost >= 0.9 { style::good(&share) } else { style::warn(&share) };
    out.push_str(&crossings(plan));
    out.push_str(&format!(
        "  ANE: {share}, {on_ane} of {} ops ({}); {} crossings between units\n",
        plan.ops.len(),
        human::percent(plan.ane_share_by_count),
        plan.crossings,
    ));
    out
}

/// What changing units costs, whether every convolution is on the ANE, and what is unknown.
fn crossings(plan: &Plan) -> String {
    let mut out = format!(
        "  estimate: {}, of it {} for entering, leaving and changing units; not a measured time\n",
        human::milliseconds(plan.cost_ms + plan.fixed_ms),
        human::milliseconds(plan.fixed_ms),
    );
    let changed = |b: &Boundary| {
        format!(
            "{} to {} before {} ({}, {})",
            b.from,
            b.to,
            b.at,
            human::milliseconds(b.ms),
            human::bytes(b.bytes)
        )
    };
    let shown: Vec<String> = plan.boundaries.iter().take(MOST_CROSSINGS).map(changed).collect();
    if !shown.is_empty() {
        let more = plan.boundaries.len() - shown.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        out += &crate::table::wrap(&format!("crossings: {}{more}", shown.join("; ")), "  ", "     ");
    }
    let convs = plan.convolutions;
    if convs.all > 0 {
        let all = if convs.all_on_ane() { "every convolution is" } else { "not every convolution is" };
        out += &format!("  {all} on the ANE: {} of {}\n", convs.on_ane, convs.all);
    }
    if let Some(o) = plan.if_taken {
        let text = format!(
            "unknown: with the ANE taking what is not known, it would have {} of the ops, at {}",
            human::percent(o.ane_share_by_count),
            human::milliseconds(o.total_ms)
        );
        out += &crate::table::wrap(&text, "  ", "     ");
    }
    out
}

/// Crossings shown before the rest is counted.
const MOST_CROSSINGS: usize = 6;

/// Segments shown before the rest is counted.
const MOST_SEGMENTS: usize = 12;

/// One row per op kind: how many, where, at what cost.
pub(super) fn by_kind(plan: &Plan) -> String {
    let mut kinds: Vec<(&str, Vec<&OpPlan>)> = Vec::new();
    for op in &plan.ops {
        match kinds.iter_mut().find(|(k, _)| *k == op.kind) {
            Some((_, ops)) => ops.push(op),
            None => kinds.push((&op.kind, vec![op])),
        }
    }
    let cost = |ops: &[&OpPlan]| ops.iter().filter_map(|op| op.cost_share).sum::<f64>();
    kinds.sort_by(|a, b| cost(&b.1).total_cmp(&cost(&a.1)));
    let mut table = Table::new(&["op", ">count", ">ANE", ">GPU", ">CPU", ">cost"]);
    for (kind, ops) in &kinds {
        let on = |unit| ops.iter().filter(|op| op.preferred == unit).count();
        let shown = |n: usize| if n == 0 { String::new() } else { n.to_string() };
        table.row(vec![
            (*kind).to_owned(),
            ops.len().to_string(),
            shown(on(Unit::Ane)),
            shown(on(Unit::Gpu)),
            shown(on(Unit::Cpu)),
            human::percent(cost(ops)),
        ]);
    }
    table.render() + &numbered(&distinct_reasons(plan), MOST_REASONS)
}

/// Reasons shown in a conversion's report.
const MOST_REASONS: usize = 4;
