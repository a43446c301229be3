//! The rates of the planner's estimates, from the published estimates.
//!
//! `cargo xtask fit [--check]` reads `corpus/placement/costs.jsonl` and writes `rates-h16g.toml` beside it; then it fits
//! the simulator's numbers ([`crate::fit_simulator`]). A rate is
//! what an op's formula counts over the published time: the formula with a rate of 1 gives the count. Where the rates
//! of a family fall apart by size, each group is a band, and the threshold lies between its neighbours.

use crate::Outcome;
use crate::place::repository;
use anemone_ane::cost::{self, Backend, PerBackend, Rates};
use anemone_mil::Uses;
use anemone_mil::ops::Site;
use anemone_testkit::costs;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

/// Two rates of a family that differ by more belong to different bands.
const APART: f64 = 0.02;
/// A published time that is longer than its bytes explain by more than this is bound by arithmetic.
const BOUND: f64 = 1e-3;

/// Writes the fitted rates and numbers, or with `--check` compares them with what is there.
///
/// # Errors
/// When the published figures cannot be read or the fitted ones cannot be written.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let folder = repository().join("corpus/placement");
    let read =
        |p: &std::path::Path| fs::read_to_string(p).map_err(|e| format!("cannot read {}: {e}", p.display()));
    let rates = fit(&read(&folder.join("costs.jsonl"))?)?;
    let latencies = crate::fidelity::read_lines(&folder.join("latencies.jsonl"))?;
    let numbers = crate::fit_simulator::fitted(&latencies, &read(&folder.join("simulate-carried.toml"))?)?;
    let mut differ = 0;
    for (name, text) in [("rates-h16g.toml", rates), ("simulate-fitted.toml", numbers)] {
        let path = folder.join(name);
        if args.iter().any(|a| a == "--check") {
            let same = read(&path)? == text;
            println!(
                "{} {}",
                path.display(),
                if same { "is as fitted" } else { "differs from what is fitted" }
            );
            differ += usize::from(!same);
        } else {
            print!("{text}");
            fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        }
    }
    Ok(Outcome::of(differ))
}

/// One published estimate of one family.
struct Sample {
    /// What chooses the band; 0 for families of one band.
    size: f64,
    /// Rate per backend; `None` where no time was published, or another term binds it.
    rate: [Option<f64>; 3],
}

/// Sizes that the cost shares of the recorded plans (`labels.jsonl`) place in a band, where no estimate was published:
/// family, size, and whether the band is the upper one of its threshold.
const PLACED: [(&str, f64, bool); 2] = [("conv", 70.76, true), ("linear", 32768.0, false)];

const FAMILIES: [&str; 15] = [
    "bandwidth",
    "peak",
    "relu",
    "conv",
    "linear",
    "conv_transpose",
    "add",
    "mul",
    "concat",
    "transpose",
    "transpose_outer",
    "gather",
    "upsample_bilinear",
    "recurrent",
    "lstm",
];

fn fit(lines: &str) -> Result<String, String> {
    let mut samples: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
    let mut memory: Vec<[Option<f64>; 3]> = Vec::new();
    let records: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).map_err(|e| format!("costs.jsonl: {e}")))
        .collect::<Result<_, _>>()?;
    for record in &records {
        let (family, sample) = sample(record)?;
        if family == "bandwidth" {
            memory.push(sample.rate);
        }
        samples.entry(family).or_default().push(sample);
    }
    // Bytes over time is the bandwidth where bytes bind, and less where arithmetic does.
    let best = [0, 1, 2].map(|b| memory.iter().filter_map(|r| r[b]).fold(0.0, f64::max));
    let bytes = samples.entry("bandwidth").or_default();
    for sample in bytes.iter_mut() {
        for (rate, best) in sample.rate.iter_mut().zip(best) {
            *rate = rate.filter(|r| *r >= best * (1.0 - BOUND));
        }
    }
    let peaks = records.iter().map(|r| peak(r, best)).collect::<Result<Vec<_>, _>>()?;
    samples.insert("peak", peaks.into_iter().flatten().collect());
    Ok(written(&samples))
}

/// Rates by which every formula gives its own count: `1e3` makes seconds of ms.
fn units(bandwidth: f64, peak: f64) -> Rates {
    let all = |v: f64| PerBackend { ane: v, bnns: v, classic_cpu: v };
    let one = || vec![all(1e3)];
    Rates {
        bandwidth: all(bandwidth),
        peak: all(peak),
        relu: all(1e3),
        conv: one(),
        conv_steps: Vec::new(),
        linear: one(),
        linear_steps: Vec::new(),
        conv_transpose: one(),
        conv_transpose_steps: Vec::new(),
        add: all(1e3),
        mul: all(1e3),
        concat: all(1e3),
        transpose: all(1e3),
        transpose_outer: all(1e3),
        gather: all(1e3),
        upsample_bilinear: all(1e3),
        recurrent: all(1e3),
        lstm: all(1e3),
        times: cost::Times::default(),
    }
}

fn per_backend(record: &Value, counted: &cost::Estimate) -> [Option<f64>; 3] {
    Backend::ALL.map(|b| {
        let ms = record["estimated_ms"][b.name()].as_f64().filter(|ms| *ms > 0.0)?;
        Some(counted.on(b)? / ms * 1e3).filter(|r| *r > 0.0)
    })
}

fn sample(record: &Value) -> Result<(&'static str, Sample), String> {
    let (function, id) = costs::function(record);
    let uses = Uses::of(&function);
    let site = Site::new(&function, function.op(id)).map_err(|e| format!("{}: {e}", record["id"]))?;
    let counted = cost::estimate(&site, &uses, &units(1e3, f64::INFINITY));
    let family = match (counted.basis.family, site.def.name) {
        ("depthwise", _) => "conv",
        ("default", _) => "bandwidth",
        ("transpose", _) if outer(&site) => "transpose_outer",
        (family, _) => FAMILIES.into_iter().find(|f| *f == family).unwrap_or("identity"),
    };
    let mut rate = per_backend(record, &counted);
    if ["gather", "recurrent", "lstm"].contains(&family) {
        rate[0] = None;
    }
    Ok((family, Sample { size: cost::compared_size(&site, &uses).unwrap_or(0.0), rate }))
}

fn outer(site: &Site<'_>) -> bool {
    site.known_ints("perm").and_then(|p| p.first().copied()).is_some_and(|p| p != 0)
}

/// The arithmetic rate of an op of the default family, on the backends where its bytes do not explain its time.
fn peak(record: &Value, bandwidth: [f64; 3]) -> Result<Option<Sample>, String> {
    let (function, id) = costs::function(record);
    let uses = Uses::of(&function);
    let site = Site::new(&function, function.op(id)).map_err(|e| format!("{}: {e}", record["id"]))?;
    let moved = cost::estimate(&site, &uses, &units(1e3, f64::INFINITY));
    if moved.basis.family != "default" {
        return Ok(None);
    }
    let bytes = per_backend(record, &moved);
    let done = per_backend(record, &cost::estimate(&site, &uses, &units(f64::INFINITY, 1e3)));
    let bound = |b: usize| bytes[b].is_some_and(|r| r < bandwidth[b] * (1.0 - BOUND));
    let rate = [0, 1, 2].map(|b| done[b].filter(|_| bound(b)));
    Ok(rate.iter().any(Option::is_some).then_some(Sample { size: 0.0, rate }))
}

/// Splits the samples of a family where the rate of any backend jumps, in order of size.
fn bands(samples: &[Sample]) -> Vec<Vec<&Sample>> {
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by(|a, b| a.size.total_cmp(&b.size));
    let mut bands: Vec<Vec<&Sample>> = Vec::new();
    for sample in sorted {
        let jumps = |last: &&Sample| {
            last.rate.iter().zip(&sample.rate).any(|(a, b)| match (a, b) {
                (Some(a), Some(b)) => (a / b - 1.0).abs() > APART,
                _ => false,
            })
        };
        match bands.last_mut() {
            Some(band) if !(sample.size > 0.0 && band.last().is_some_and(jumps)) => band.push(sample),
            _ => bands.push(vec![sample]),
        }
    }
    bands
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The number of single precision, in G or Gi, that a rate is when it is one: the compiler keeps its rates so.
fn rounded(value: f64) -> f64 {
    let single = |unit: f64| f64::from((value / unit) as f32) * unit;
    let found = [1e9, 1_073_741_824.0].into_iter().map(single).find(|s| (s / value - 1.0).abs() < 1e-12);
    found.unwrap_or(value)
}

fn written(samples: &BTreeMap<&'static str, Vec<Sample>>) -> String {
    let mut out = String::from(
        "# Rates of the planner's estimates for h16g: bytes, operations or elements per second.\n\
         # Written by `cargo xtask fit` from costs.jsonl; never edited by hand.\n\
         # `error` is the largest relative error over the `estimates` that a rate was fitted to.\n\n[rates]\n",
    );
    let mut steps = String::from(
        "\n# Sizes at which a rate changes: known to lie between `below` and `above`.\n[steps]\n",
    );
    for family in FAMILIES {
        let bands = bands(samples.get(family).map_or(&[][..], Vec::as_slice));
        let _ = writeln!(out, "{family} = [");
        bands.iter().for_each(|band| out += &rate(band));
        out += "]\n";
        if bands.len() > 1 {
            let step = |pair: &[Vec<&Sample>]| {
                let mut below = pair[0].last().map_or(0.0, |s| s.size);
                let mut above = pair[1].first().map_or(0.0, |s| s.size);
                for &(_, size, upper) in PLACED.iter().filter(|p| p.0 == family) {
                    match (below < size && size < above, upper) {
                        (true, true) => above = size,
                        (true, false) => below = size,
                        (false, _) => {}
                    }
                }
                format!(
                    "    {{ below = {below:?}, above = {above:?}, used = {:?} }},\n",
                    (below * above).sqrt()
                )
            };
            let _ = writeln!(steps, "{family} = [\n{}]", bands.windows(2).map(step).collect::<String>());
        }
    }
    out + &steps
}

fn rate(band: &[&Sample]) -> String {
    let (mut fields, mut worst) = (String::new(), 0.0_f64);
    for (b, backend) in Backend::ALL.iter().enumerate() {
        let seen: Vec<f64> = band.iter().filter_map(|s| s.rate[b]).collect();
        if seen.is_empty() {
            continue;
        }
        let value = rounded(median(seen.clone()));
        worst = seen.iter().map(|s| (s / value - 1.0).abs()).fold(worst, f64::max);
        let _ = write!(fields, "{} = {value:?}, ", backend.name());
    }
    format!("    {{ {fields}error = {worst:.1e}, estimates = {} }},\n", band.len())
}
