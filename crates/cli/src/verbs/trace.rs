//! `trace`.

use super::{note, print, print_json};
use crate::args::TraceArgs;
use crate::table::{Table, wrap};
use crate::{Outcome, human, json, style};
use anemone::Error;
use anemone::ane::{Device, Unit};
use anemone::files::Files;
use anemone::trace::{
    self, Against, Calibration, Compared, Comparison, Lane, Part, Pattern, Timeline, Trace, TraceLayout,
};
use std::sync::Arc;

/// Parts whose ops are shown one by one; of more parts each has a line.
const MOST_PARTS: usize = 2;
/// Runs and crossings that are shown before the rest is counted.
const MOST_RUNS: usize = 12;
/// Width of the bars of a timeline.
const BAR: usize = 56;

pub(super) fn run(args: TraceArgs) -> Result<Outcome, Error> {
    let trace = trace::read(&args.file)?;
    let device = args.device.as_deref().map(|name| anemone::target(name, args.os)).transpose()?;
    let comparison = compared(&args, &trace, device.clone())?;
    let calibration = args.calibrate.then(|| calibrated(&trace, comparison.as_ref(), device)).transpose()?;
    let patterns = trace::patterns(&trace, comparison.as_ref());
    write(&args, &trace, calibration.as_ref())?;
    let differs = args.against.is_some() && comparison.as_ref().is_some_and(|c| !c.agrees());
    let outcome = if differs { Outcome::Findings } else { Outcome::Clean };
    let told = comparison.as_ref().filter(|_| args.against.is_some());
    if args.json {
        print_json(&json::Traced::of(&trace, &patterns, told, calibration.as_ref()))?;
        return Ok(outcome);
    }
    let mut text = head(&trace);
    for (i, part) in trace.parts.iter().enumerate() {
        text += &one_part(&trace, i, part);
    }
    text += &trace.timeline.as_ref().map_or_else(String::new, timeline);
    text += &recognised(&trace, &patterns);
    text += &told.map_or_else(String::new, |c| against(&trace, c));
    text += &calibration.as_ref().map_or_else(String::new, |c| learned(c, &args));
    print(&text)?;
    trace.notes.iter().for_each(|n| note(n));
    calibration.iter().flat_map(|c| &c.notes).for_each(|n| note(n));
    Ok(outcome)
}

fn compared(
    args: &TraceArgs,
    trace: &Trace,
    device: Option<Arc<Device>>,
) -> Result<Option<Comparison>, Error> {
    // A device file is learned from the program that the trace itself holds, where it holds one.
    let alone = args.calibrate && trace.layout == TraceLayout::Analytics;
    if args.against.is_none() && !alone {
        return Ok(None);
    }
    let with = Against {
        package: args.against.as_deref(),
        function: args.function.as_deref(),
        device,
        units: args.units,
    };
    trace::against(trace, &with).map(Some)
}

fn calibrated(
    trace: &Trace,
    comparison: Option<&Comparison>,
    device: Option<Arc<Device>>,
) -> Result<Calibration, Error> {
    let planned = || comparison.map(|c| Arc::clone(&c.plan.device));
    let base = device.or_else(planned).map_or_else(|| anemone::device_named("m4"), Ok)?;
    trace::calibrate(trace, comparison, &base)
}

fn write(args: &TraceArgs, trace: &Trace, calibration: Option<&Calibration>) -> Result<(), Error> {
    let mut files = Files::default();
    if let Some(path) = &args.perfetto {
        let events = json::Trace::of_lanes(trace);
        let Some(events) = events else {
            let what =
                "tells no times, neither measured nor estimated, so that there is no timeline to write";
            return Err(Error::new(what).at(&trace.path));
        };
        let bytes = serde_json::to_vec(&events).map_err(Error::from_cause)?;
        files.write(path, |w| w.write_all(&bytes))?;
    }
    if let (Some(path), Some(calibration)) = (&args.output, calibration) {
        files.write(path, |w| w.write_all(calibration.text.as_bytes()))?;
    }
    files.finish().map(drop)
}

fn head(trace: &Trace) -> String {
    let name = trace.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    format!("{}  {}\n", style::heading(&name), style::dim(trace.layout.name()))
}

/// Name, function, setting, chip and system of a part, as far as they are told.
fn title(part: &Part) -> String {
    let units = part.units.map_or("", |u| u.name());
    let words = [&*part.name, &*part.function, units, &*part.chip, &*part.os];
    words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(", ")
}

fn one_part(trace: &Trace, index: usize, part: &Part) -> String {
    let title = title(part);
    if trace.parts.len() > MOST_PARTS {
        let line = format!("{}. {title}: {}", index + 1, shares(part));
        return wrap(&line, "  ", "     ");
    }
    let title = if title.is_empty() { String::new() } else { format!("  {title}\n") };
    title + &ops(part) + "\n" + &runs(part)
}

fn ops(part: &Part) -> String {
    let timed = part.ops.iter().any(|op| op.measured_ms.is_some());
    let estimated = part.ops.iter().any(|op| !op.estimates.is_empty());
    let mut columns = vec!["", "op", "unit", "takes it"];
    columns.extend(timed.then_some(">measured"));
    columns.extend(estimated.then_some([">ANE", ">CPU"]).into_iter().flatten());
    columns.extend([">share", "name", "why"]);
    let mut table = Table::new(&columns);
    for (i, op) in part.ops.iter().enumerate() {
        let ms = |v: Option<f64>| v.map_or("-".to_owned(), human::milliseconds);
        let supported: Vec<String> = op.supported.iter().map(ToString::to_string).collect();
        let unit = op.unit.map_or("-".to_owned(), |u| u.to_string());
        let mut row = vec![i.to_string(), op.kind.clone(), unit, supported.join(" ")];
        row.extend(timed.then(|| ms(op.measured_ms)));
        row.extend(estimated.then(|| [ms(op.estimate("ane")), ms(op.cpu_ms())]).into_iter().flatten());
        row.extend([
            op.share.map_or("-".to_owned(), human::percent),
            crate::table::fit(&op.name, 24),
            op.why.clone(),
        ]);
        table.row(row);
    }
    table.render()
}

fn shares(part: &Part) -> String {
    let on = part.placed().filter(|(_, u)| *u == Unit::Ane).count();
    let cost = part
        .share_by_cost(Unit::Ane)
        .map_or(String::new(), |c| format!("{} of the cost, ", human::percent(c)));
    let count = human::percent(part.share_by_count(Unit::Ane));
    let crossings = part.runs().len().saturating_sub(1);
    format!("ANE: {cost}{on} of {} ops ({count}); {crossings} crossings between units", part.placed().count())
}

/// One row per run of ops on one unit, and the totals.
fn runs(part: &Part) -> String {
    let runs = part.runs();
    let timed = runs.iter().any(|r| r.ms.is_some());
    let mut columns = vec!["segment", ">ops", "unit"];
    columns.extend(timed.then_some(">time"));
    columns.push(">share");
    let mut table = Table::new(&columns);
    for (i, r) in runs.iter().enumerate().take(MOST_RUNS) {
        let mut row = vec![(i + 1).to_string(), r.ops.len().to_string(), r.unit.to_string()];
        row.extend(timed.then(|| r.ms.map_or("-".to_owned(), human::milliseconds)));
        row.push(r.share.map_or("-".to_owned(), human::percent));
        table.row(row);
    }
    let mut out = table.render();
    if runs.len() > MOST_RUNS {
        out += &format!("  … and {} more segments\n", runs.len() - MOST_RUNS);
    }
    let crossings: Vec<String> = runs
        .windows(2)
        .take(MOST_RUNS)
        .map(|w| format!("{} to {} before {}", w[0].unit, w[1].unit, w[1].ops.start))
        .collect();
    if !crossings.is_empty() {
        let more = runs.len() - 1 - crossings.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        out += &wrap(&format!("crossings: {}{more}", crossings.join("; ")), "  ", "     ");
    }
    let (convs, on_ane) = part.convolutions();
    if convs > 0 {
        let all = if convs == on_ane { "every convolution is" } else { "not every convolution is" };
        out += &format!("  {all} on the ANE: {on_ane} of {convs}\n");
    }
    out + &format!("  {}\n", shares(part))
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::CoreMl => "predictions",
        Lane::NeuralEngine => "ANE",
        Lane::Gpu => "GPU",
        Lane::Cpu => "CPU",
    }
}

fn timeline(timeline: &Timeline) -> String {
    let mut table = Table::new(&["lane", ">intervals", ">busy", ">share", "when"]);
    for l in &timeline.lanes {
        let share = if l.lane == Lane::CoreMl { String::new() } else { human::percent(l.share) };
        let row = [
            lane_name(l.lane).to_owned(),
            l.intervals.to_string(),
            human::milliseconds(l.busy_ms),
            share,
            bar(timeline, l.lane),
        ];
        table.row(row.to_vec());
    }
    let mut out = table.render();
    if let Some(p) = timeline.predictions.filter(|p| p.whole) {
        let text = format!(
            "{} predictions, half of them in {} or less: ANE {}, GPU {}, neither {}; {:.0} changes between ANE and GPU",
            p.count,
            human::milliseconds(p.ms),
            human::milliseconds(p.engine_ms),
            human::milliseconds(p.gpu_ms),
            human::milliseconds(p.rest_ms),
            p.changes,
        );
        out += &wrap(&text, "  ", "     ");
    }
    if timeline.load_ms + timeline.compile_ms > 0.0 {
        let (load, compile) =
            (human::milliseconds(timeline.load_ms), human::milliseconds(timeline.compile_ms));
        out += &format!("  loading {load}, compiling {compile}\n");
    }
    out
}

/// How busy a lane is over the time from the first prediction to the last.
fn bar(timeline: &Timeline, lane: Lane) -> String {
    let work = || timeline.spans.iter().filter(|s| s.activity == trace::Activity::Prediction);
    let begin = work().map(|s| s.start).min().unwrap_or(0);
    let end = work().map(|s| s.start.saturating_add(s.duration)).max().unwrap_or(0);
    let step = (end - begin).div_ceil(BAR as u64).max(1);
    let mut busy = vec![0_u64; BAR];
    let mut until = begin;
    for s in work().filter(|s| s.lane == lane) {
        let (mut from, to) = (s.start.max(until), s.start.saturating_add(s.duration).min(end));
        until = until.max(to);
        while from < to {
            let slot = (from - begin) / step;
            let next = (begin + (slot + 1) * step).min(to);
            if let Some(b) = usize::try_from(slot).ok().and_then(|i| busy.get_mut(i)) {
                *b += next - from;
            }
            from = next;
        }
    }
    let shade = |b: &u64| match b * 4 / step {
        0 if *b == 0 => ' ',
        0 => '░',
        1 => '▒',
        2 => '▓',
        _ => '█',
    };
    busy.iter().map(shade).collect()
}

/// Patterns; those of several parts that are the same stand once.
fn recognised(trace: &Trace, patterns: &[(usize, Pattern)]) -> String {
    let mut groups: Vec<(&Pattern, Vec<usize>)> = Vec::new();
    for (part, p) in patterns {
        match groups.iter_mut().find(|(first, _)| (first.key, &first.advice) == (p.key, &p.advice)) {
            Some((_, parts)) => parts.push(part + 1),
            None => groups.push((p, vec![part + 1])),
        }
    }
    let mut out = String::new();
    for (p, parts) in groups {
        let facts: Vec<&str> = p.facts.iter().map(|f| &*f.id).collect();
        let numbers: Vec<String> = parts.iter().map(usize::to_string).collect();
        let which =
            if trace.parts.len() > MOST_PARTS { format!("{}. ", numbers.join(", ")) } else { String::new() };
        let seen = if parts.len() > 1 {
            format!("{}, and {} more alike", p.seen, parts.len() - 1)
        } else {
            p.seen.clone()
        };
        let mark = if p.good { style::good(p.key) } else { style::warn(p.key) };
        out += "\n";
        out += &wrap(&format!("{which}{mark}: {seen}"), "  ", "     ");
        out += &wrap(&format!("{} [{}]", p.advice, facts.join(" ")), "     ", "     ");
    }
    out
}

fn against(trace: &Trace, c: &Comparison) -> String {
    let plan = &c.plan;
    let mut out =
        format!("\n  {} of {}, {}\n", style::heading("against the plan"), plan.device.chip, plan.units);
    let Some(part) = c.part.map(|i| &trace.parts[i]) else { return out + &times(trace, c) };
    let mut whys: Vec<&str> = Vec::new();
    let mut table = Table::new(&["", "op", "plan", "trace", ">plan", ">trace", "", ">why", "name"]);
    for row in &c.rows {
        let ours = row.predicted.map(|i| &plan.ops[i]);
        let theirs = row.traced.map(|i| &part.ops[i]);
        let kind = ours.map_or_else(|| theirs.map_or("", |t| &*t.kind), |o| &*o.kind);
        let name = ours.map_or_else(|| theirs.map_or("", |t| &*t.name), |o| &*o.name);
        let share = |v: Option<f64>| v.map_or("-".to_owned(), human::percent);
        let why = if row.why.is_empty() {
            String::new()
        } else {
            let at = whys.iter().position(|w| *w == row.why).unwrap_or_else(|| {
                whys.push(&row.why);
                whys.len() - 1
            });
            (at + 1).to_string()
        };
        table.row(vec![
            row.predicted.map_or("-".to_owned(), |i| i.to_string()),
            kind.to_owned(),
            ours.map_or("-".to_owned(), |o| o.preferred.to_string()),
            theirs.and_then(|t| t.unit).map_or("-".to_owned(), |u| u.to_string()),
            share(ours.and_then(|o| o.cost_share)),
            share(theirs.and_then(|t| t.share)),
            word(row.compared).to_owned(),
            why,
            name.to_owned(),
        ]);
    }
    out += &table.render();
    for (i, why) in whys.iter().enumerate() {
        out += &wrap(&format!("{}. {why}", i + 1), "  ", "     ");
    }
    out + &totals(part, c)
}

fn word(compared: Compared) -> &'static str {
    match compared {
        Compared::Agreed => "",
        Compared::Equal => "equal",
        Compared::Differs => "DIFFERS",
        Compared::Unmatched => "unmatched",
    }
}

fn totals(part: &Part, c: &Comparison) -> String {
    let count = |what| c.count(what);
    let text = format!(
        "agreed {}, equally good {}, differs {}, unmatched {}",
        count(Compared::Agreed),
        count(Compared::Equal),
        count(Compared::Differs),
        count(Compared::Unmatched)
    );
    let text = if c.agrees() { style::good(&text) } else { style::warn(&text) };
    let cost = part.share_by_cost(Unit::Ane).map_or("-".to_owned(), human::percent);
    format!(
        "  {text}\n  ANE share of the cost: plan {}, trace {cost}; of the ops: plan {}, trace {}; crossings: plan {}, trace {}\n",
        human::percent(c.plan.ane_share_by_cost),
        human::percent(c.plan.ane_share_by_count),
        human::percent(part.share_by_count(Unit::Ane)),
        c.plan.crossings,
        part.runs().len().saturating_sub(1),
    )
}

/// Times of a recording beside those of the plan.
fn times(trace: &Trace, c: &Comparison) -> String {
    let Some(p) = trace.timeline.as_ref().and_then(|t| t.predictions) else { return String::new() };
    let mut table = Table::new(&["", ">plan", ">trace"]);
    let mut row = |what: &str, ours: f64, theirs: f64| {
        table.row(vec![what.to_owned(), human::milliseconds(ours), human::milliseconds(theirs)]);
    };
    row("a prediction", c.plan.cost_ms + c.plan.fixed_ms, p.ms);
    row("on the ANE", c.predicted_ane_ms, p.engine_ms);
    let text =
        "The plan's figures are the planner's estimates, by which it chooses, and never measured times.";
    table.render() + &wrap(text, "  ", "  ")
}

fn learned(c: &Calibration, args: &TraceArgs) -> String {
    let mut table = Table::new(&["learned", ">value", ">from", ">error"]);
    for f in &c.fitted {
        let error = f.error.map_or(String::new(), human::percent);
        table.row(vec![f.what.clone(), f.value.clone(), f.count.to_string(), error]);
    }
    let path = args.output.as_ref().map_or(String::new(), |p| p.display().to_string());
    format!("\n{}  wrote {path}: use it with --device {path}\n", table.render())
}
