//! `simulate --sweep`.

use super::simulate::interval;
use super::{note, print, print_json};
use crate::args::SimulateArgs;
use crate::table::Table;
use crate::{Outcome, human, json, style};
use anemone::files::Files;
use anemone::{Error, SimulateOptions, Sweep, SweepPoint, SweepSpec};
use std::fmt::Write;

/// Widest bar of the plot, in characters.
const BAR: f64 = 36.0;

pub(super) fn run(
    args: &SimulateArgs,
    options: &SimulateOptions,
    spec: &SweepSpec,
) -> Result<Outcome, Error> {
    let sweep = anemone::sweep(&args.model, options, spec)?;
    let mut files = Files::default();
    if let Some(path) = &args.svg {
        let picture = svg(&sweep, &args.model.file_name().unwrap_or_default().to_string_lossy());
        files.write(path, |w| w.write_all(picture.as_bytes()))?;
    }
    let written = files.finish()?;
    if args.json {
        print_json(&json::Sweep::of(&args.model, &sweep))?;
        return Ok(Outcome::Clean);
    }
    print(&report(&sweep))?;
    sweep.notes.iter().for_each(|n| note(n));
    written.iter().for_each(|p| note(&format!("wrote {}", p.display())));
    Ok(Outcome::Clean)
}

fn report(sweep: &Sweep) -> String {
    let mut table =
        Table::new(&["value", "one call", ">items/s", ">ANE ops", ">ANE time", ">crossings", ">size"]);
    for p in &sweep.points {
        table.row(vec![
            p.label.clone(),
            interval(&p.latency),
            human::number(p.per_second),
            human::percent(p.on_ane),
            human::percent(p.on_ane_time),
            p.crossings.to_string(),
            human::bytes(p.bytes),
        ]);
    }
    table.render() + "\n" + &plot(sweep) + &drops(sweep)
}

/// One bar a point, as long as the latency, with the ANE's part of it filled.
fn plot(sweep: &Sweep) -> String {
    let most = sweep.points.iter().map(|p| p.latency.ms).fold(0.0, f64::max);
    let width = sweep.points.iter().map(|p| p.label.chars().count()).max().unwrap_or(0);
    let mut out = format!("  latency by {}: █ on the ANE, ░ elsewhere\n", sweep.name);
    for p in &sweep.points {
        let cells = if most > 0.0 { (p.latency.ms / most * BAR).round().max(1.0) } else { 0.0 };
        let ane = (cells * p.on_ane_time).round();
        let bar = "█".repeat(ane as usize) + &"░".repeat((cells - ane) as usize);
        let _ = writeln!(out, "  {:>width$} {bar} {}", p.label, human::milliseconds(p.latency.ms));
    }
    out
}

/// Where the share of the ANE changes, and why ops are off it.
fn drops(sweep: &Sweep) -> String {
    let mut out = String::new();
    for pair in sweep.points.windows(2).filter(|w| (w[0].on_ane - w[1].on_ane).abs() > 0.005) {
        let (a, b) = (&pair[0], &pair[1]);
        let (from, to) = (human::percent(a.on_ane), human::percent(b.on_ane));
        let why = if b.on_ane < a.on_ane { &b.reason } else { &a.reason };
        let why = why.as_deref().map_or_else(String::new, |r| format!(": {r}"));
        let text = format!("from {} to {}, ops on the ANE go from {from} to {to}{why}", a.label, b.label);
        out += &crate::table::wrap(&style::warn(&text), "  ", "     ");
    }
    out
}

/// Extent of the picture and of one panel in it.
const WIDE: f64 = 720.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 90.0;
const GAP: f64 = 46.0;

/// What a panel shows: its title, the number of each point, and how that is written.
type Panel = (&'static str, fn(&SweepPoint) -> f64, fn(f64) -> String);

const PANELS: [Panel; 3] = [
    ("latency of one call", |p| p.latency.ms, human::milliseconds),
    ("ops on the ANE", |p| p.on_ane, human::percent),
    ("weights, states and inputs", |p| p.bytes as f64, |v| human::bytes(v as u64)),
];

/// Three panels, one below the other, with the interval of the latency behind its line.
fn svg(sweep: &Sweep, model: &str) -> String {
    let high = PANELS.len() as f64 * (PANEL + GAP) + 60.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {high}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"{LEFT}\" y=\"24\" \
         font-size=\"15\" fill=\"#222222\">{} by {}</text>\n",
        escaped(model),
        escaped(&sweep.name)
    );
    for (i, panel) in PANELS.iter().enumerate() {
        draw(&mut out, sweep, panel, 46.0 + i as f64 * (PANEL + GAP), i == 0);
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, sweep: &Sweep, panel: &Panel, top: f64, with_interval: bool) {
    let (title, value, written) = panel;
    let last = sweep.points.len().saturating_sub(1).max(1) as f64;
    let most = |p: &SweepPoint| if with_interval { p.latency.high.max(value(p)) } else { value(p) };
    let scale = sweep.points.iter().map(most).fold(f64::MIN_POSITIVE, f64::max);
    let x = |i: usize| LEFT + i as f64 / last * (WIDE - LEFT - 30.0);
    let y = |v: f64| top + PANEL - v / scale * PANEL;
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#444444\">{title}</text>\n<path d=\"M{LEFT} {top:.1}V{:.1}H{}\" \
         fill=\"none\" stroke=\"#999999\"/>",
        top - 6.0,
        top + PANEL,
        WIDE - 30.0
    );
    for share in [0.0, 0.5, 1.0] {
        let text = escaped(&written(scale * share));
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">{text}</text>",
            LEFT - 6.0,
            y(scale * share) + 4.0
        );
    }
    if with_interval {
        let upper = sweep.points.iter().enumerate().map(|(i, p)| (x(i), y(p.latency.high)));
        let lower = sweep.points.iter().enumerate().rev().map(|(i, p)| (x(i), y(p.latency.low)));
        let _ = writeln!(out, "<polygon points=\"{}\" fill=\"#cfe3f7\"/>", pairs(upper.chain(lower)));
    }
    let line = pairs(sweep.points.iter().enumerate().map(|(i, p)| (x(i), y(value(p)))));
    let _ =
        writeln!(out, "<polyline points=\"{line}\" fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"2\"/>");
    // Labels that would run into each other are left out.
    let every = sweep.points.len().div_ceil(12);
    for (i, p) in sweep.points.iter().enumerate() {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#1f6fb4\"><title>{}: {}</title></circle>",
            x(i),
            y(value(p)),
            escaped(&p.label),
            escaped(&written(value(p)))
        );
        if i % every == 0 {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">{}</text>",
                x(i),
                top + PANEL + 15.0,
                escaped(&p.label)
            );
        }
    }
}

fn pairs(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
