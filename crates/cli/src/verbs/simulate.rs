//! `simulate`.

use super::{note, print, print_json};
use crate::args::SimulateArgs;
use crate::table::Table;
use crate::{Outcome, human, json, style};
use anemone::ane::Unit;
use anemone::ane::simulate::{Bound, Interval, Load, OpTime, Route, Timeline};
use anemone::files::Files;
use anemone::{Error, SimulateOptions, Simulated};

/// Runs of ops that are shown before the rest is counted.
const MOST_LANES: usize = 14;

pub(super) fn run(args: &SimulateArgs) -> Result<Outcome, Error> {
    let options = SimulateOptions {
        device: anemone::target(&args.device, args.os)?,
        units: args.units,
        function: args.function.clone(),
        load: Load { batch: args.batch, iterations: args.iterations, cold: args.cold, route: Route::CoreMl },
    };
    if let Some(spec) = &args.sweep {
        return super::sweep::run(args, &options, spec);
    }
    let simulated = anemone::simulate(&args.model, &options)?;
    super::tell_of_rest(&args.model);
    let mut files = Files::default();
    if let Some(path) = &args.trace {
        let trace = json::Trace::simulated(&args.model, &simulated);
        let trace = serde_json::to_vec(&trace).map_err(Error::from_cause)?;
        files.write(path, |w| w.write_all(&trace))?;
    }
    let written = files.finish()?;
    if args.json {
        print_json(&json::Simulate::of(&args.model, &simulated))?;
        return Ok(Outcome::Clean);
    }
    print(&report(args, &simulated))?;
    simulated.timeline.notes.iter().for_each(|n| note(n));
    written.iter().for_each(|p| note(&format!("wrote {}", p.display())));
    Ok(Outcome::Clean)
}

/// `4.7 ms (3.5 ms to 6.1 ms)`.
pub(super) fn interval(i: &Interval) -> String {
    format!(
        "{} ({} to {})",
        human::milliseconds(i.ms),
        human::milliseconds(i.low),
        human::milliseconds(i.high)
    )
}

fn report(args: &SimulateArgs, simulated: &Simulated) -> String {
    let t = &simulated.timeline;
    let device = &simulated.plan.device;
    let os = device.os.map_or_else(String::new, |os| format!(", {os}"));
    let mut out = style::heading(&format!("{} on {}{os}, {}", simulated.function, device.chip, args.units));
    out += "\n";
    out += &summary(t);
    out += &waits(t);
    out += "\n";
    out += &lanes(t, args.power);
    out += "\n";
    out += &slowest(t, args.top);
    out += "\n";
    out + &changes(t)
}

fn summary(t: &Timeline) -> String {
    let mut out = format!("  one call: {}, not a measured time\n", interval(&t.latency));
    if let Some(cold) = &t.cold {
        out += &format!("  compiling, once: {}\n", interval(&cold.compile));
        out += &format!("  first call after idling: {} more\n", interval(&cold.first_call));
    }
    if t.load.iterations > 1 || t.cold.is_some() {
        out += &format!("  {} calls: {}\n", t.load.iterations, interval(&t.total));
    }
    let items = if t.load.batch > 1 { format!(", {} in a call", t.load.batch) } else { String::new() };
    out += &format!("  throughput: {} items/s{items}\n", human::rate(t.per_second.ms));
    out + &match t.energy.millijoules {
        Some(mj) if t.energy.known_share > 0.999 => format!("  energy: {mj:.2} mJ a call\n"),
        Some(mj) => {
            format!(
                "  energy: {mj:.2} mJ for {} of the time; unknown for the rest\n",
                human::percent(t.energy.known_share)
            )
        }
        None => "  energy: unknown, no power is published\n".to_owned(),
    }
}

/// What the call waits for, and which unit works how long.
fn waits(t: &Timeline) -> String {
    let bounds = [Bound::Compute, Bound::Weights, Bound::Activations, Bound::Dispatch, Bound::Handoff];
    let mut shares: Vec<(Bound, f64)> =
        bounds.into_iter().map(|b| (b, t.share(b))).filter(|(_, s)| *s >= 0.005).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let told: Vec<String> =
        shares.iter().map(|(b, s)| format!("{} {}", b.name(), human::percent(*s))).collect();
    let units: Vec<String> = Unit::ALL
        .into_iter()
        .rev()
        .filter(|u| t.busy(*u) > 0.0)
        .map(|u| format!("{u} {}", human::milliseconds(t.busy(u))))
        .collect();
    let none = |list: Vec<String>| if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
    format!("  bound by: {}\n  busy: {}\n", none(told), none(units))
}

fn lanes(t: &Timeline, power: bool) -> String {
    let mut columns = vec!["segment", ">start", "unit", ">ops", ">time", ">dispatch", ">handoff"];
    if power {
        columns.push(">energy");
    }
    columns.push("slowest op");
    let mut table = Table::new(&columns);
    for (i, lane) in t.lanes.iter().enumerate().take(MOST_LANES) {
        let ops = t.ops.get(lane.ops.clone()).unwrap_or_default();
        let slowest = ops.iter().max_by(|a, b| a.time.ms.total_cmp(&b.time.ms));
        let mut row = vec![
            (i + 1).to_string(),
            human::milliseconds(lane.start),
            lane.unit.to_string(),
            lane.ops.len().to_string(),
            human::milliseconds(lane.ms),
            human::milliseconds(lane.dispatch),
            human::milliseconds(lane.handoff),
        ];
        if power {
            row.push(lane.millijoules.map_or("unknown".into(), |mj| format!("{mj:.2} mJ")));
        }
        row.push(slowest.map_or_else(String::new, |op| format!("{} {}", op.kind, op.name)));
        table.row(row);
    }
    let mut out = table.render();
    if t.lanes.len() > MOST_LANES {
        out += &format!("  … and {} more segments\n", t.lanes.len() - MOST_LANES);
    }
    out
}

fn slowest(t: &Timeline, top: usize) -> String {
    let mut ops: Vec<&OpTime> = t.ops.iter().collect();
    ops.sort_by(|a, b| b.time.ms.total_cmp(&a.time.ms));
    let mut table =
        Table::new(&["op", "unit", ">time", ">share", "bound by", ">weights", ">tensors", ">tiles", "name"]);
    for op in ops.iter().take(top).filter(|o| o.time.ms > 0.0) {
        let bytes = |b: f64| if b > 0.0 { human::bytes(b as u64) } else { "-".to_owned() };
        table.row(vec![
            op.kind.clone(),
            op.unit.to_string(),
            human::milliseconds(op.time.ms),
            human::percent(op.time.ms / t.latency.ms),
            op.bound.name().to_owned(),
            bytes(op.weight_bytes),
            bytes(op.activation_bytes),
            if op.tiles > 1 { op.tiles.to_string() } else { "-".into() },
            op.name.clone(),
        ]);
    }
    table.render()
}

fn changes(t: &Timeline) -> String {
    if t.changes.is_empty() {
        return "  No change that is tried here saves more than 1 %.\n".to_owned();
    }
    let mut out = style::heading("what would help most") + "\n";
    for (i, c) in t.changes.iter().enumerate() {
        let saved = style::good(&format!("-{}", human::percent(c.share)));
        let text = format!("{}. {saved} ({}): {}; {}", i + 1, human::milliseconds(c.ms), c.what, c.but);
        out += &crate::table::wrap(&text, "  ", "     ");
    }
    out
}
