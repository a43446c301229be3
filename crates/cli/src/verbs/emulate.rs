//! `verify --emulate` without expected outputs, and what `run --emulate` says of itself.

use super::{note, overflow, print, print_json};
use crate::args::VerifyArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, json, style};
use anemone::{Emulate, Emulated, EmulatedOp, Error, How, SumLayer};
use std::collections::BTreeMap;

/// Layers shown.
const LISTED: usize = 20;

pub(super) fn run(args: &VerifyArgs, emulate: &Emulate) -> Result<Outcome, Error> {
    let function = args.inputs.function.as_deref();
    let inputs = args.inputs.clone().into();
    let found = anemone::verify_emulated(&args.model, function, emulate, &inputs, args.loss)?;
    if args.json {
        print_json(&json::Emulate::of(&args.model, emulate, &found))?;
    } else {
        tell_of_arithmetic(emulate);
        print(&report(emulate, &found))?;
    }
    let clean = found.overflow.findings.is_empty() && found.layers.iter().all(|l| l.scale.is_none());
    Ok(if clean { Outcome::Clean } else { Outcome::Findings })
}

/// Says on stderr what of the arithmetic is not known.
pub(super) fn tell_of_arithmetic(emulate: &Emulate) {
    let unknown = emulate.unknown_parts();
    if !unknown.is_empty() {
        note(&format!(
            "not known of {}, and computed as on the CPU: {}; --assume m6 takes those of an M6",
            emulate.arithmetic().chip,
            unknown.join(", ")
        ));
    }
}

/// Says on stderr how many ops were computed how.
pub(super) fn tell_of_ops(ops: &[EmulatedOp]) {
    let mut how = BTreeMap::new();
    ops.iter().for_each(|op| *how.entry(op.how).or_insert(0) += 1);
    note(&counted(&how));
}

fn counted(how: &BTreeMap<How, usize>) -> String {
    if how.is_empty() {
        return "no op is on the Neural Engine in this plan; --emulate ane-eligible takes all that could be"
            .into();
    }
    let text = |how: How| match how {
        How::Sums => "in fixed-point sums",
        How::WholeSums => "in sums of 8-bit products",
        How::Elementwise => "elementwise",
        How::Table => "from tables",
        How::Fitted => "from fitted tables",
        How::Moves => "without arithmetic",
        How::Unknown => "as on the CPU",
    };
    let all: usize = how.values().sum();
    let parts: Vec<String> = how.iter().map(|(h, n)| format!("{n} {}", text(*h))).collect();
    format!("ops on the Neural Engine: {all}, of them {}", parts.join(", "))
}

fn report(emulate: &Emulate, found: &Emulated) -> String {
    let mut out = String::new();
    let chip = &emulate.arithmetic().chip;
    out.push_str(&format!("{}\n", style::heading(&format!("Computed as on the Neural Engine of {chip}"))));
    out.push_str(&wrap(&counted(&found.how), "  ", "  "));
    if !found.unknown.is_empty() {
        let kinds = found.unknown.join(", ");
        out.push_str(&wrap(&format!("Not known how, so as on the CPU: {kinds}."), "  ", "    "));
    }
    out.push('\n');
    if !found.layers.is_empty() {
        out.push_str(&layers(found));
        out.push('\n');
    }
    out.push_str(&overflow::report(&found.overflow));
    out.push_str(&scales(found));
    out
}

fn layers(found: &Emulated) -> String {
    let mut all: Vec<&SumLayer> = found.layers.iter().collect();
    let near = |l: &SumLayer| l.share().max(l.sums.any_order / l.sums.limit);
    all.sort_by(|a, b| near(b).total_cmp(&near(a)));
    let heading = format!("How near sums come to the limit: {} layers, the nearest first", all.len());
    let mut table =
        Table::new(&["op", ">largest sum", ">of limit", ">headroom", ">any order", ">infinite", "result"]);
    for l in all.iter().take(LISTED) {
        let share = l.share() * 100.0;
        let times = |v: f64| if v.is_finite() { format!("{} x", short(v)) } else { "-".into() };
        table.row(vec![
            l.kind.clone(),
            short(l.sums.largest),
            if share < 10.0 { format!("{share:.2} %") } else { format!("{share:.0} %") },
            times(l.headroom()),
            short(l.sums.any_order),
            l.sums.infinite.to_string(),
            l.name.clone(),
        ]);
    }
    let mut out = format!("{}\n{}", style::heading(&heading), table.render());
    if all.len() > LISTED {
        out.push_str(&format!("  and {} more; --json lists all\n", all.len() - LISTED));
    }
    out
}

/// Three digits.
fn short(v: f64) -> String {
    match v {
        v if v >= 1e7 => format!("{v:.2e}"),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        v if v >= 1e-3 || v == 0.0 => format!("{v:.4}"),
        v => format!("{v:.1e}"),
    }
}

/// The scales that would keep sums in range.
fn scales(found: &Emulated) -> String {
    let all: Vec<&SumLayer> = found.layers.iter().filter(|l| l.scale.is_some()).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", style::heading("Scales that keep sums in range, whatever their order"));
    for l in all.iter().take(LISTED) {
        let factor = l.scale.map_or(0.0, |k| 2f64.powi(k.cast_signed()));
        let now = if l.sums.infinite > 0 { "overflows" } else { "could overflow in another order" };
        let what = format!(
            "{} \"{}\" {now}: divide its input, or its weights and bias, by {factor}, and multiply the result by \
             {factor} where it fits fp16.",
            l.kind, l.name
        );
        out.push_str(&wrap(&what, "  ", "    "));
    }
    if all.len() > LISTED {
        out.push_str(&format!("  and {} more; --json lists all\n", all.len() - LISTED));
    }
    out
}
