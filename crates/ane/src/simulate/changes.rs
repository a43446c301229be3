//! The changes that would help most, each priced by simulating it.

use super::demand::{Class, Demand, Demands, Scheme};
use super::price::{self, Parts};
use super::{Case, Load, run};
use crate::plan::Plan;
use crate::units::Unit;
use anemone_tensor::num::f64_of_usize;

/// A change and what it would bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Short name, such as `palettize-4`.
    pub key: &'static str,
    /// What to do, in one sentence without a full stop.
    pub what: String,
    /// Latency with it (of one item where items are put together), in ms.
    pub ms: f64,
    /// How much shorter that is, in ms.
    pub saves: f64,
    /// The same as a part of the latency, 0 to 1.
    pub share: f64,
    /// What it may cost.
    pub but: &'static str,
}

/// Changes shown.
const SHOWN: usize = 3;
/// Least part of the latency that is worth a change.
const WORTH: f64 = 0.01;
/// Runs of ops off the engine that are tried on it, the slowest first.
const TRIED: usize = 8;
/// Pieces that a tensor is cut into; what is left of a larger one stays whole.
const MOST_PIECES: f64 = 1024.0;
/// Items that are tried together in one call.
const TOGETHER: usize = 8;

pub(super) fn best(case: &Case<'_>, plan: &Plan, load: &Load, now: f64) -> Vec<Change> {
    let mut all = weights(case);
    all.extend(activations(case));
    all.extend(places(case, plan));
    all.extend(together(case, load));
    let mut worth: Vec<Change> = Vec::new();
    for mut change in all {
        change.saves = now - change.ms;
        change.share = if now > 0.0 { change.saves / now } else { 0.0 };
        if change.share >= WORTH && change.saves.is_finite() {
            worth.push(change);
        }
    }
    worth.sort_by(|a, b| b.saves.total_cmp(&a.saves));
    // Of several ways to store weights, the best one is enough.
    let mut stored = false;
    worth.retain(|c| !is_storage(c.key) || !std::mem::replace(&mut stored, true));
    worth.truncate(SHOWN);
    worth
}

fn is_storage(key: &str) -> bool {
    matches!(key, "palettize-4" | "linear-8")
}

fn total(parts: &[Parts]) -> f64 {
    parts.iter().map(Parts::total).sum()
}

fn change(key: &'static str, what: impl Into<String>, ms: f64, but: &'static str) -> Change {
    Change { key, what: what.into(), ms, saves: 0.0, share: 0.0, but }
}

/// The latency with other demands.
fn with(case: &Case<'_>, edit: impl FnOnce(&mut Demands)) -> f64 {
    let mut demands = case.demands.clone();
    edit(&mut demands);
    total(&run(&demands, &case.units, &case.machine, case.coefficients))
}

/// The latency with other units.
fn moved(case: &Case<'_>, units: &[Unit]) -> f64 {
    total(&run(&case.demands, units, &case.machine, case.coefficients))
}

/// The ops that run on the engine.
fn on_ane<'d>(case: &'d Case<'_>, demands: &'d mut Demands) -> impl Iterator<Item = &'d mut Demand> {
    demands.ops.iter_mut().zip(&case.units).filter(|(_, u)| **u == Unit::Ane).map(|(d, _)| d)
}

fn weights(case: &Case<'_>) -> Vec<Change> {
    let stored = |bits: f64, scheme: Scheme| {
        with(case, |demands| {
            for weight in on_ane(case, demands).flat_map(|d| &mut d.weights) {
                let small = weight.unpacked * bits / 16.0;
                if small < weight.stored {
                    weight.stored = small;
                    weight.scheme = scheme;
                }
            }
        })
    };
    let eight = with(case, |demands| {
        for demand in on_ane(case, demands).filter(|d| d.class.is_product() && !d.eight_bits) {
            demand.eight_bits = true;
            demand.reads.iter_mut().for_each(|b| *b /= 2.0);
            demand.writes.iter_mut().for_each(|b| *b /= 2.0);
            for weight in &mut demand.weights {
                weight.stored = weight.stored.min(weight.unpacked / 2.0);
                weight.scheme = Scheme::Linear(8);
            }
        }
    });
    vec![
        change(
            "palettize-4",
            "palettise the weights to 4 bits (anemone compress --palettize 4)",
            stored(4.0, Scheme::Palette(4)),
            "accuracy: compare before and after",
        ),
        change(
            "linear-8",
            "quantise the weights to 8 bits (anemone compress --linear int8)",
            stored(8.0, Scheme::Linear(8)),
            "a little accuracy",
        ),
        change(
            "w8a8",
            "quantise weights and activations to 8 bits",
            eight,
            "accuracy: needs calibration data",
        ),
    ]
}

fn activations(case: &Case<'_>) -> Vec<Change> {
    let on_chip = case.machine.on_chip;
    let attention = with(case, |demands| {
        let classes: Vec<Class> = demands.ops.iter().map(|d| d.class).collect();
        if !classes.contains(&Class::Matmul) {
            return;
        }
        let wanted = [Class::Matmul, Class::Reduction, Class::Elementwise];
        for demand in demands.ops.iter_mut().filter(|d| wanted.contains(&d.class)) {
            demand.reads = pieces(&demand.reads, on_chip);
            demand.writes = pieces(&demand.writes, on_chip);
        }
    });
    let convolutions = with(case, |demands| {
        for demand in on_ane(case, demands).filter(|d| d.class == Class::Linear) {
            demand.class = Class::Conv;
        }
    });
    let mut found = vec![change(
        "linear-as-conv",
        "write linear layers as 1x1 convolutions on [batch, channels, 1, length]",
        convolutions,
        "transposes where the layout meets other ops",
    )];
    let spills = |class: Class| {
        case.demands
            .ops
            .iter()
            .zip(&case.units)
            .any(|(d, u)| d.class == class && *u == Unit::Ane && price::spilled(d, &case.machine) > 0.0)
    };
    if spills(Class::Matmul) || spills(Class::Reduction) {
        let what = "split attention by heads or queries, so that its scores stay on the engine";
        found.push(change("split-attention", what, attention, "more ops, a longer compilation"));
    }
    found
}

/// Tensors cut so that each piece stays on the engine.
fn pieces(tensors: &[f64], on_chip: f64) -> Vec<f64> {
    let cut = |&bytes: &f64| {
        let whole = (bytes / on_chip).floor().min(MOST_PIECES);
        let mut all = vec![on_chip; super::whole(whole)];
        all.push(bytes - whole * on_chip);
        all
    };
    tensors.iter().flat_map(cut).collect()
}

/// Runs of ops that are moved to the unit around them.
fn places(case: &Case<'_>, plan: &Plan) -> Vec<Change> {
    let parts = case.run();
    let mut found = Vec::new();
    if !plan.units.allows(Unit::Ane) {
        return found;
    }
    let mut off: Vec<(std::ops::Range<usize>, f64)> = Vec::new();
    let mut on: Vec<(std::ops::Range<usize>, f64)> = Vec::new();
    let mut start = 0;
    for i in 1..=case.units.len() {
        if i < case.units.len() && case.units[i] == case.units[start] {
            continue;
        }
        let ms: f64 = total(&parts[start..i]);
        if case.units[start] == Unit::Ane {
            on.push((start..i, ms))
        } else {
            off.push((start..i, ms))
        }
        start = i;
    }
    off.sort_by(|a, b| b.1.total_cmp(&a.1));
    on.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (range, _) in off.into_iter().take(TRIED) {
        let (ops, takes) = (named(plan, &range), taken(plan, &range));
        let what = if takes { "keep {} on the ANE" } else { "replace {} by ops that the ANE takes" };
        let what = what.replace("{}", &ops);
        let but =
            if takes { "the planner chooses by its own estimates" } else { "the graph must be rewritten" };
        found.push(change("keep-on-ane", what, to(case, &range, Unit::Ane), but));
    }
    for (range, _) in on.into_iter().take(TRIED) {
        let what = format!("leave {} on the CPU, which removes a crossing", named(plan, &range));
        found.push(change("remove-crossing", what, to(case, &range, Unit::Cpu), "more work for the CPU"));
    }
    found
}

fn to(case: &Case<'_>, range: &std::ops::Range<usize>, unit: Unit) -> f64 {
    let mut units = case.units.clone();
    units[range.clone()].iter_mut().for_each(|u| *u = unit);
    moved(case, &units)
}

/// True when the ANE takes every op of the run.
fn taken(plan: &Plan, range: &std::ops::Range<usize>) -> bool {
    plan.ops.get(range.clone()).is_some_and(|ops| ops.iter().all(|o| o.supported.contains(&Unit::Ane)))
}

fn named(plan: &Plan, range: &std::ops::Range<usize>) -> String {
    let first = plan.ops.get(range.start).map_or_else(String::new, |o| format!("{} \"{}\"", o.kind, o.name));
    match range.len() {
        1 => first,
        n => format!("{n} ops from {first} on"),
    }
}

/// Several items in one call share what starting it costs, and the weights.
fn together(case: &Case<'_>, load: &Load) -> Vec<Change> {
    if load.batch > 1 {
        return Vec::new();
    }
    let n = f64_of_usize(TOGETHER);
    let all = with(case, |demands| {
        for demand in &mut demands.ops {
            demand.flops *= n;
            demand.elements *= n;
            demand.reads.iter_mut().for_each(|b| *b *= n);
            demand.writes.iter_mut().for_each(|b| *b *= n);
        }
        demands.flows.iter_mut().for_each(|f| f.bytes *= n);
    });
    let what = format!("put {TOGETHER} items in one call (per item)");
    vec![change("batch", what, all / n, "each call takes longer; the shapes must allow it")]
}
