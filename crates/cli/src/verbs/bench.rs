//! `bench`.

use super::{print, print_json};
use crate::args::BenchArgs;
use crate::progress::Bar;
use crate::table::Table;
use crate::{Outcome, human, json, style};
use anemone::Error;
use anemone::bench::{Bench, BenchOptions, BenchStage, KindTime, StepTime, bench};
use anemone::data::Inputs;
use anemone::files::Files;

/// Kinds of op that are shown; the rest is one row.
const KINDS: usize = 12;

/// Bars of the histogram.
const BARS: usize = 40;

pub(super) fn run(args: BenchArgs) -> Result<Outcome, Error> {
    if args.inputs.steps {
        let what = "bench repeats one prediction, so it takes no --steps; give the inputs of one";
        return Err(Error::new(what));
    }
    let (load, state) = (args.inputs.options(), args.inputs.state());
    let mut inputs: Inputs = args.inputs.into();
    inputs.random.get_or_insert(0);
    let (warmup, iterations, seconds) = (args.warmup, args.iterations, args.seconds);
    let options = BenchOptions { load, inputs, state, warmup, iterations, seconds };
    let mut bar = Bar::new();
    let measured = bench(&args.models, &options, &mut |stage| show(&mut bar, stage));
    bar.done();
    let measured = measured?;
    let mut files = Files::default();
    if let Some(path) = &args.trace {
        let trace = serde_json::to_vec(&json::Trace::of(&measured)).map_err(Error::from_cause)?;
        files.write(path, |w| w.write_all(&trace))?;
    }
    let written = files.finish()?;
    if args.json {
        print_json(&json::Bench::of(&measured))?;
        return Ok(Outcome::Clean);
    }
    let mut text = String::new();
    for b in &measured {
        text.push_str(&report(b, args.top));
    }
    if measured.len() > 1 {
        text.push_str(&comparison(&measured));
    }
    print(&text)?;
    written.iter().for_each(|p| super::note(&format!("wrote {}", p.display())));
    Ok(Outcome::Clean)
}

fn show(bar: &mut Bar, stage: BenchStage) {
    /// Parts of the measurement that the bar tells apart.
    const PARTS: f64 = 1000.0;
    match stage {
        BenchStage::Load(_) => bar.show(0, PARTS as usize, "loading and warming up"),
        BenchStage::Measure(share) => bar.show((share * PARTS) as usize, PARTS as usize, "measuring"),
        BenchStage::Profile(_) => bar.show(PARTS as usize, PARTS as usize, "running step by step"),
    }
}

fn report(b: &Bench, top: usize) -> String {
    let mut out = style::heading(&b.path.display().to_string());
    let threads = if b.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", b.threads) };
    out.push_str(&format!(", function {}, {threads}, {}\n\n", b.function, b.instructions));
    out.push_str(&figures(b));
    out.push_str(&histogram(b));
    out.push_str(&kinds(b));
    out.push_str(&slowest(b, top));
    out.push('\n');
    out
}

fn figures(b: &Bench) -> String {
    let (l, ms) = (&b.latencies, human::milliseconds);
    let bytes = |n: Option<u64>| n.map_or("unknown".to_owned(), human::bytes);
    let times = [50.0, 95.0, 99.0, 0.0, 100.0].map(|p| ms(l.percentile(p)));
    let [p50, p95, p99, min, max] = times;
    let mut rows = vec![
        ("latency", format!("p50 {p50}, p95 {p95}, p99 {p99}, min {min}, max {max}")),
        ("throughput", format!("{} predictions a second over {}", human::rate(l.per_second()), l.count())),
        (
            "startup",
            format!(
                "open {}, load {}, plan {}, first prediction {}",
                ms(b.startup.open),
                ms(b.startup.load),
                ms(b.startup.plan),
                ms(b.startup.first)
            ),
        ),
        (
            "memory",
            format!(
                "peak {} ({} before), arena {}, package {}",
                bytes(b.memory.peak),
                bytes(b.memory.before),
                human::bytes(b.memory.arena),
                human::bytes(b.memory.package)
            ),
        ),
    ];
    let work = (b.profile.flops(), b.profile.bytes());
    let flops = format!("{} FLOP, {} moved", human::count(work.0 as u64), human::bytes(work.1 as u64));
    rows.push(("work", format!("{flops}, {}FLOP/s", per_second(b.flops_per_second()))));
    rows.into_iter().map(|(name, text)| format!("  {name:<11} {text}\n")).collect()
}

/// `12.3 G`
fn per_second(v: f64) -> String {
    let text = human::count(v as u64);
    if text.ends_with(|c: char| c.is_ascii_alphabetic()) { text } else { text + " " }
}

/// Latencies as a row of bars, from the shortest to the 99th percentile.
fn histogram(b: &Bench) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bins = b.latencies.histogram(BARS);
    let most = bins.iter().map(|b| b.count).max().unwrap_or(0).max(1);
    let (Some(first), Some(last)) = (bins.first(), bins.last()) else { return String::new() };
    let bar = |count: usize| if count == 0 { ' ' } else { LEVELS[(count * LEVELS.len() - 1) / most] };
    let bars: String = bins.iter().map(|b| bar(b.count)).collect();
    format!("  {:<11} {} {bars} {}\n", "", human::milliseconds(first.from), human::milliseconds(last.to))
}

/// Bytes or operations a second over a time in ms; empty where there are none.
fn speed(amount: f64, ms: f64, unit: &str) -> String {
    if amount > 0.0 && ms > 0.0 { format!("{}{unit}", per_second(amount * 1e3 / ms)) } else { String::new() }
}

fn kinds(b: &Bench) -> String {
    let kinds = b.profile.kinds();
    let mut table = Table::new(&["kind of op", ">ops", ">time", ">share", ">moved", ">speed", ">arithmetic"]);
    let mut row = |name: String, k: &KindTime| {
        table.row(vec![
            name,
            k.steps.to_string(),
            human::milliseconds(k.time),
            human::percent(b.profile.share(k.time)),
            human::bytes(k.bytes as u64),
            speed(k.bytes, k.time, "B/s"),
            speed(k.flops, k.time, "FLOP/s"),
        ]);
    };
    let shown = if kinds.len() > KINDS + 1 { KINDS } else { kinds.len() };
    kinds[..shown].iter().for_each(|k| row(k.kind.clone(), k));
    if shown < kinds.len() {
        let rest = kinds[shown..].iter();
        let sum = rest.fold(None::<KindTime>, |sum, k| Some(sum.map_or(k.clone(), |s| add(&s, k))));
        sum.iter().for_each(|k| row(format!("{} other kinds", kinds.len() - shown), k));
    }
    format!("\n{}\n{}", style::heading("Where the time goes"), table.render())
}

fn add(a: &KindTime, b: &KindTime) -> KindTime {
    KindTime {
        kind: a.kind.clone(),
        steps: a.steps + b.steps,
        time: a.time + b.time,
        flops: a.flops + b.flops,
        bytes: a.bytes + b.bytes,
    }
}

fn slowest(b: &Bench, top: usize) -> String {
    if top == 0 || b.profile.steps.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[">time", ">share", ">arithmetic", "ops", "kernel", "output", "name"]);
    for s in b.profile.slowest().into_iter().take(top) {
        table.row(vec![
            human::milliseconds(s.time),
            human::percent(b.profile.share(s.time)),
            speed(s.flops().unwrap_or(0.0), s.time, "FLOP/s"),
            label(s),
            crate::table::fit(&s.info.kernel, 24),
            output(s),
            s.info.name.clone(),
        ]);
    }
    format!("\n{}\n{}", style::heading("Slowest ops"), table.render())
}

fn label(s: &StepTime) -> String {
    crate::table::fit(&s.label(), 24)
}

fn output(s: &StepTime) -> String {
    let shape = s.info.results.first().map_or(&[][..], |(_, shape)| shape);
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The models side by side; the first one is what the others are compared with.
fn comparison(measured: &[Bench]) -> String {
    let mut table = Table::new(&[
        "model",
        ">p50",
        ">p95",
        ">min",
        ">a second",
        ">startup",
        ">memory",
        "against the first",
    ]);
    let base = measured.first().map_or(0.0, |b| b.latencies.percentile(50.0));
    for b in measured {
        let l = &b.latencies;
        let s = &b.startup;
        let startup = s.open + s.load + s.plan + s.first;
        let times = if base > 0.0 { format!("{:.2} x", l.percentile(50.0) / base) } else { String::new() };
        let name = b.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        table.row(vec![
            crate::table::fit(&name, 32),
            human::milliseconds(l.percentile(50.0)),
            human::milliseconds(l.percentile(95.0)),
            human::milliseconds(l.percentile(0.0)),
            human::rate(l.per_second()),
            human::milliseconds(startup),
            b.memory.peak.map_or("unknown".to_owned(), human::bytes),
            times,
        ]);
    }
    format!("{}\n{}\n{}", style::heading("Side by side"), table.render(), kinds_side_by_side(measured))
}

/// Time per kind of op in each model, the slowest of the first model first.
fn kinds_side_by_side(measured: &[Bench]) -> String {
    let all: Vec<Vec<KindTime>> = measured.iter().map(|b| b.profile.kinds()).collect();
    let mut names: Vec<&str> = Vec::new();
    for kind in all.iter().flatten() {
        if !names.contains(&kind.kind.as_str()) {
            names.push(&kind.kind);
        }
    }
    // As many columns as fit the width.
    const COLUMNS: [&str; 7] = ["kind of op", ">first", ">second", ">third", ">fourth", ">fifth", ">sixth"];
    let shown = all.len().min(COLUMNS.len() - 1);
    let mut table = Table::new(&COLUMNS[..=shown]);
    for name in names.into_iter().take(KINDS) {
        let time = |kinds: &Vec<KindTime>| {
            let found = kinds.iter().find(|k| k.kind == name);
            found.map_or_else(|| "-".to_owned(), |k| human::milliseconds(k.time))
        };
        table.row([vec![name.to_owned()], all[..shown].iter().map(time).collect()].concat());
    }
    table.render()
}
