//! How well the planner gives back what Core ML planned, and the simulator what was measured.
//!
//! `cargo xtask fidelity [--data DIR] [--cases DIR] [--plans] [--latencies]`: `DIR` holds `labels.jsonl`, `costs.jsonl`,
//! `cases.tar.zst` and `latencies.jsonl`; `--cases` names a folder where the archive is unpacked already. `--plans` and
//! `--latencies` ask for one of the two parts alone.

use crate::latencies::{self, Latencies};
use crate::{Outcome, unpack};
use anemone_ane::simulate::Coefficients;
use anemone_ane::{Device, Estimate, Plan, Unit, Units, plan};
use anemone_mil::{Level, verify};
use anemone_package::Files;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the recorded set lies beside the repository.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/placement");

/// Relative difference up to which an estimate counts as reproduced.
const CLOSE: f64 = 0.01;

/// Difference up to which a cost share counts as reproduced; shares are published with four decimals.
const CLOSE_SHARE: f64 = 0.002;

/// Largest median error of simulated latencies, and least rank correlation, that count as agreement.
const AGREES: (f64, f64) = (0.3, 0.9);

/// Measures planner and simulator against the recorded set and prints a table of each.
///
/// # Errors
/// When the recorded set is not there or cannot be read; the message says where it was looked for.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let has = |name: &str| args.iter().any(|a| a == name);
    let data = PathBuf::from(option("--data").map_or(DATA, String::as_str));
    if !has("--latencies") {
        plans(&data, option("--cases").map(PathBuf::from))?;
    }
    if has("--plans") {
        return Ok(Outcome::Clean);
    }
    let latencies = Latencies::of(&read_lines(&data.join("latencies.jsonl"))?);
    let (text, all) = latencies::report(&latencies, Coefficients::known());
    print!("{text}");
    Ok(Outcome::of(usize::from(all.median > AGREES.0 || all.rank < AGREES.1)))
}

fn plans(data: &Path, cases: Option<PathBuf>) -> Result<(), String> {
    let labels = read_lines(&data.join("labels.jsonl"))?;
    let costs = read_lines(&data.join("costs.jsonl"))?;
    let cases = match cases {
        Some(dir) => dir,
        None => unpack::placement(data)?.join("cases"),
    };
    let mut report = Report::default();
    for label in &labels {
        report.graph(label, &costs, &cases)?;
    }
    report.unmatched_costs = costs.len() - report.matched_costs;
    print!("{}", report.text());
    Ok(())
}

/// The records of a file with one a line.
///
/// # Errors
/// When it cannot be read, or a line is no JSON.
pub fn read_lines(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).map_err(|e| {
        format!("cannot read {}: {e}; name the folder of the recorded plans with --data DIR", path.display())
    })?;
    let parse = |(i, line)| {
        serde_json::from_str(line).map_err(|e| format!("{}, line {}: {e}", path.display(), i + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// The files of a package folder, in memory.
fn package_files(root: &Path) -> Result<Files, String> {
    let mut files = Files::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("cannot list {}: {e}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.insert(name, bytes.into());
        }
    }
    Ok(files)
}

/// Agreement counts of one family of ops.
#[derive(Clone, Copy, Default)]
struct Tally {
    ops: usize,
    eligible: usize,
    preferred: usize,
    preferred_or_equal: usize,
    shares: usize,
    shares_close: usize,
    estimates: usize,
    estimates_close: usize,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.ops += other.ops;
        self.eligible += other.eligible;
        self.preferred += other.preferred;
        self.preferred_or_equal += other.preferred_or_equal;
        self.shares += other.shares;
        self.shares_close += other.shares_close;
        self.estimates += other.estimates;
        self.estimates_close += other.estimates_close;
    }
}

#[derive(Default)]
struct Report {
    families: BTreeMap<&'static str, Tally>,
    plans: usize,
    plans_right: usize,
    graphs: usize,
    graphs_right: usize,
    misses: Vec<String>,
    matched_costs: usize,
    unmatched_costs: usize,
}

impl Report {
    fn graph(&mut self, label: &Value, costs: &[Value], cases: &Path) -> Result<(), String> {
        let id = label["id"].as_str().ok_or("a label without an id")?;
        let device = Device::named("m4").map_err(|e| e.to_string())?;
        let files = package_files(&cases.join(format!("{id}.mlpackage")))?;
        let package = anemone_package::read(&files).map_err(|e| format!("{id}: {e}"))?;
        let verified = verify(&package.program, Level::Imported).map_err(|e| format!("{id}: {e}"))?;
        let function = verified.function(None).ok_or_else(|| format!("{id} has no function"))?;
        let settings = [("CPU_AND_NE", Units::CpuAndNe), ("ALL", Units::All)];
        let right_before = (self.plans, self.plans_right);
        for (name, units) in settings {
            let Some(recorded) = label["plans"][name].as_array() else { continue };
            self.plan(id, name, recorded, &plan(function, &device, units));
        }
        self.graphs += 1;
        let (plans, right) = (self.plans - right_before.0, self.plans_right - right_before.1);
        self.graphs_right += usize::from(plans == right);
        let ours = plan(function, &device, Units::CpuAndNe);
        for record in costs.iter().filter(|c| c["graph"] == id) {
            self.estimate(record, &ours);
        }
        Ok(())
    }

    fn plan(&mut self, id: &str, units: &str, recorded: &[Value], ours: &Plan) {
        let mut right = recorded.len() == ours.ops.len();
        for (theirs, op) in recorded.iter().zip(&ours.ops) {
            let tally = self.families.entry(family(&op.kind)).or_default();
            let supported = theirs["supported"] == names(&op.supported) && theirs["output"] == *op.name;
            let preferred = theirs["preferred"] == op.preferred.to_string();
            let equal = preferred || theirs["equal_cost_alternative"] == true;
            tally.ops += 1;
            tally.eligible += usize::from(supported);
            tally.preferred += usize::from(preferred);
            tally.preferred_or_equal += usize::from(equal);
            if let (Some(share), true) = (theirs["cost_share"].as_f64(), recorded.len() > 1) {
                tally.shares += 1;
                tally.shares_close +=
                    usize::from((share - op.cost_share.unwrap_or(0.0)).abs() <= CLOSE_SHARE);
            }
            if !(supported && equal) {
                right = false;
                self.misses.push(format!(
                    "{units} {id} {}: {} -> {}, recorded {} -> {}",
                    op.name,
                    names(&op.supported),
                    op.preferred,
                    theirs["supported"],
                    theirs["preferred"]
                ));
            }
        }
        self.plans += 1;
        self.plans_right += usize::from(right);
    }

    fn estimate(&mut self, record: &Value, ours: &Plan) {
        let Some(op) = ours.ops.iter().find(|o| record["output"] == *o.name) else { return };
        let close = op.estimate.is_some_and(|e| worst(&e, &record["estimated_ms"]) <= CLOSE);
        let tally = self.families.entry(family(&op.kind)).or_default();
        tally.estimates += 1;
        tally.estimates_close += usize::from(close);
        self.matched_costs += 1;
        if !close {
            self.misses
                .push(format!("{}: {:?} against {}", record["id"], op.estimate, record["estimated_ms"]));
        }
    }

    fn text(&self) -> String {
        let mut out = format!(
            "{:<14} {:>6} {:>16} {:>16} {:>16} {:>16} {:>12}\n",
            "family", "ops", "eligible", "preferred", "or equal cost", "cost share", "estimate"
        );
        let mut all = Tally::default();
        for (name, tally) in &self.families {
            out += &row(name, tally);
            all.add(tally);
        }
        out += &row("all", &all);
        let share = |n: usize, of: usize| {
            format!("{n} of {of} ({}.{:02} %)", n * 100 / of.max(1), n * 10000 / of.max(1) % 100)
        };
        out +=
            &format!("graphs right in every op of every plan: {}\n", share(self.graphs_right, self.graphs));
        out += &format!("plans fully right: {} of {}\n", self.plans_right, self.plans);
        out += &format!("recorded estimates without a package: {}\n", self.unmatched_costs);
        for miss in &self.misses {
            out += &format!("miss: {miss}\n");
        }
        out
    }
}

fn row(name: &str, t: &Tally) -> String {
    let part = |n: usize, of: usize| match of {
        0 => "-".to_owned(),
        _ => format!("{n} ({}.{:02} %)", n * 100 / of, n * 10000 / of % 100),
    };
    format!(
        "{name:<14} {:>6} {:>16} {:>16} {:>16} {:>16} {:>12}\n",
        t.ops,
        part(t.eligible, t.ops),
        part(t.preferred, t.ops),
        part(t.preferred_or_equal, t.ops),
        part(t.shares_close, t.shares),
        format!("{}/{}", t.estimates_close, t.estimates),
    )
}

fn names(units: &[Unit]) -> Value {
    units.iter().map(|u| Value::from(u.to_string())).collect()
}

/// Largest relative error over the backends of a record.
fn worst(estimate: &Estimate, recorded: &Value) -> f64 {
    let pairs =
        [("ane", estimate.ane), ("bnns", Some(estimate.bnns)), ("classic_cpu", Some(estimate.classic_cpu))];
    let error = |(name, ours): (&str, Option<f64>)| match (ours, recorded[name].as_f64()) {
        (Some(ours), Some(theirs)) => (ours / theirs - 1.0).abs(),
        (None, None) => 0.0,
        _ => f64::INFINITY,
    };
    pairs.into_iter().map(error).fold(0.0, f64::max)
}

/// A family to sum ops under, by op kind.
fn family(kind: &str) -> &'static str {
    const FAMILIES: &[(&str, &[&str])] = &[
        ("convolution", &["conv", "conv_transpose"]),
        ("product", &["linear", "matmul", "scaled_dot_product_attention"]),
        ("pool", &["avg_pool", "max_pool", "l2_pool"]),
        ("activation", &["relu", "relu6", "elu", "gelu", "sigmoid", "silu", "softmax", "softplus", "tanh"]),
        ("binary", &["add", "sub", "mul", "real_div", "maximum", "minimum", "pow", "floor_div", "mod"]),
        ("cast", &["cast", "quantize", "dequantize"]),
        ("recurrent", &["gru", "lstm", "rnn"]),
        (
            "gather",
            &["gather", "gather_nd", "gather_along_axis", "scatter", "scatter_along_axis", "scatter_nd"],
        ),
        (
            "movement",
            &[
                "transpose",
                "reshape",
                "concat",
                "split",
                "stack",
                "squeeze",
                "expand_dims",
                "pad",
                "tile",
                "identity",
            ],
        ),
        ("resize", &["affine", "crop_resize", "resample"]),
    ];
    let prefixes =
        [("reduce_", "reduction"), ("slice_", "movement"), ("resize", "resize"), ("upsample", "resize")];
    let listed = FAMILIES.iter().find(|(_, kinds)| kinds.contains(&kind)).map(|(name, _)| *name);
    let prefixed = || prefixes.iter().find(|(p, _)| kind.starts_with(p)).map(|(_, name)| *name);
    let normal = || kind.ends_with("_norm").then_some("normalization");
    listed.or_else(prefixed).or_else(normal).unwrap_or("other")
}
