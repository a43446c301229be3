//! What a trace teaches, as a device file.

use super::timeline::median;
use super::{Compared, Comparison, Part, Trace, TraceLayout, TracedOp};
use crate::{Error, ErrorKind};
use anemone_ane::cost::PerBackend;
use anemone_ane::{Backend, Device, OpPlan, Unit};
use anemone_formats::compute_plan::Layout;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// A device file, and what is in it.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The file: TOML, which [`Device::read`] takes.
    pub text: String,
    /// What the trace gave, one entry per figure, family and kind of observation.
    pub fitted: Vec<Fitted>,
    /// What could not be had from it, one sentence each.
    pub notes: Vec<String>,
}

/// One thing that the trace gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// What: a figure of a device file, `times.conv`, or `seen`.
    pub what: String,
    /// The value, with its unit.
    pub value: String,
    /// Ops or calls that it rests on.
    pub count: usize,
    /// Largest relative error over them, where it was fitted.
    pub error: Option<f64>,
}

/// Most ops that are kept with what was seen of them.
const MOST_SEEN: usize = 2048;

/// Makes a device file of a trace.
///
/// `comparison` sets its ops beside a plan for `base`, the device that the file builds on; a recording of Instruments can
/// do without.
///
/// # Errors
/// When the trace gives nothing that a device file holds.
pub fn calibrate(
    trace: &Trace,
    comparison: Option<&Comparison>,
    base: &Arc<Device>,
) -> Result<Calibration, Error> {
    if trace.layout == TraceLayout::Plan(Layout::OwnBench) {
        let what = "measures the CPU engine of this project, of which a device file says nothing";
        return Err(Error::new(what).of_kind(ErrorKind::Unsupported).at(&trace.path));
    }
    let name = trace.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let part = comparison.and_then(|c| trace.parts.get(c.part?));
    let mut file = File {
        source: format!("measured from {name}"),
        out: Vec::new(),
        fitted: Vec::new(),
        notes: Vec::new(),
    };
    let mut times = BTreeMap::new();
    if let Some(part) = part.or(trace.parts.first()) {
        file.fixed(part);
    }
    if let (Some(part), Some(comparison)) = (part, comparison) {
        times = file.times(part, comparison, base);
    }
    file.recorded(trace, comparison);
    let figures = std::mem::take(&mut file.out);
    if let (Some(part), Some(comparison)) = (part, comparison) {
        file.seen(part, comparison);
    }
    if file.fitted.is_empty() {
        let why = if trace.timeline.is_some() {
            "has no whole predictions with work of the ANE in them; record coreml-os-signpost and ane-hw-intervals together"
        } else {
            "gives nothing that a device file holds: no unit or estimate of an op that could be matched; name its model with \
             --against"
        };
        return Err(Error::new(why).of_kind(ErrorKind::Unsupported).at(&trace.path));
    }
    let head = head(base, part, &file, &times, &name);
    let text = head + &figures.concat() + &file.out.concat();
    Device::read(&text).map_err(Error::from_cause)?;
    Ok(Calibration { text, fitted: file.fitted, notes: file.notes })
}

/// A file in the making.
struct File {
    source: String,
    /// Tables behind the head.
    out: Vec<String>,
    fitted: Vec<Fitted>,
    notes: Vec<String>,
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// The factors of one family, or one for all backends.
struct Family {
    factors: PerBackend,
    ops: usize,
    error: f64,
}

fn head(
    base: &Device,
    part: Option<&Part>,
    file: &File,
    times: &BTreeMap<&str, Family>,
    name: &str,
) -> String {
    let chip = part.map(|p| &*p.chip).filter(|c| !c.is_empty()).unwrap_or(&base.chip);
    let mut out =
        format!("# Written by `anemone trace {} --calibrate`.\n", name.replace(char::is_control, " "));
    let _ = writeln!(out, "chip = {}", quoted(&format!("{chip} ({name})")));
    let _ = writeln!(out, "based_on = {}", quoted(&base.name));
    let Some(estimates) = base.estimates.as_ref().filter(|_| !times.is_empty()) else { return out };
    let os = part.map(|p| &*p.os).filter(|os| os.parse::<anemone_ane::Os>().is_ok());
    let os = os.map_or_else(|| estimates.os.to_string(), str::to_owned);
    let _ = writeln!(out, "\n[estimates]\nrates = \"h16g\"\nos = {}\nstrength = \"measured\"", quoted(&os));
    let _ = writeln!(out, "source = {}\n\n[estimates.times]", quoted(&file.source));
    // Families of which the trace says nothing keep the factors of the base.
    for (family, _) in estimates.rates.times.iter().filter(|(f, _)| !times.contains_key(f)) {
        let PerBackend { ane, bnns, classic_cpu } = estimates.rates.times.of(family);
        let source = quoted(&estimates.source.to_string());
        let _ = writeln!(
            out,
            "{family} = {{ ane = {ane:?}, bnns = {bnns:?}, classic_cpu = {classic_cpu:?}, source = {source} }}"
        );
    }
    for (family, Family { factors: PerBackend { ane, bnns, classic_cpu }, ops, error }) in times {
        let source = quoted(&file.source);
        let _ = writeln!(
            out,
            "{family} = {{ ane = {ane:?}, bnns = {bnns:?}, classic_cpu = {classic_cpu:?}, ops = {ops}, error = {error:?}, \
             source = {source} }}"
        );
    }
    out
}

impl File {
    fn figure(&mut self, what: &str, value: f64, unit: &str, count: usize, note: &str) {
        let note = if note.is_empty() { String::new() } else { format!("note = {}\n", quoted(note)) };
        self.out.push(format!(
            "\n[[figures]]\nwhat = \"{what}\"\nvalue = {value:?}\nstrength = \"measured\"\nsource = {}\n{note}",
            quoted(&self.source)
        ));
        self.fitted.push(Fitted {
            what: what.to_owned(),
            value: format!("{} {unit}", plain(value)),
            count,
            error: None,
        });
    }

    /// The planner's fixed costs.
    fn fixed(&mut self, part: &Part) {
        let ms = |name: &str| part.fixed.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        if let Some(launch) = ms("Launch_ane_ms") {
            self.figure("planner_launch_ms", launch, "ms", 1, "");
        }
        let backends = Backend::ALL.map(Backend::name);
        let pairs =
            backends.iter().flat_map(|a| backends.iter().map(move |b| format!("Src_{a}_Dest_{b}_ms")));
        let changes: Vec<f64> = pairs.filter_map(|name| ms(&name)).collect();
        if changes.is_empty() {
            return;
        }
        let (least, most) = changes.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), &v| (a.min(v), b.max(v)));
        let note = if least < most { format!("the median of {least} to {most}") } else { String::new() };
        self.figure("planner_change_ms", median(changes.clone()), "ms", changes.len(), &note);
        if let Some(tail) = ms("Src_ane_Dest_bnns_ms") {
            self.figure(
                "planner_tail_ms",
                tail,
                "ms",
                1,
                "results leave the ANE through a conversion, which is another backend's",
            );
        }
    }

    /// Factors by family: traced estimates over those of the base.
    fn times<'c>(
        &mut self,
        part: &Part,
        comparison: &'c Comparison,
        base: &Device,
    ) -> BTreeMap<&'c str, Family> {
        let pairs = pairs(part, comparison);
        let with_estimates = pairs.iter().any(|(_, traced)| traced.estimates.iter().any(|(_, ms)| *ms > 0.0));
        let mut times = if with_estimates { by_backend(&pairs) } else { self.by_share(&pairs) };
        let Some(estimates) = &base.estimates else { return BTreeMap::new() };
        for (family, found) in &mut times {
            let before = estimates.rates.times.of(family);
            found.factors.ane *= before.ane;
            found.factors.bnns *= before.bnns;
            found.factors.classic_cpu *= before.classic_cpu;
            let PerBackend { ane, bnns, classic_cpu } = found.factors;
            let value = if ane == bnns && bnns == classic_cpu {
                plain(ane)
            } else {
                format!("{} / {} / {}", plain(ane), plain(bnns), plain(classic_cpu))
            };
            let (what, count) = (format!("times.{family}"), found.ops);
            self.fitted.push(Fitted { what, value, count, error: Some(found.error) });
        }
        times
    }

    /// Factors from parts of the cost, relative to the default family, because a part has no unit.
    fn by_share<'c>(&mut self, pairs: &[(&'c OpPlan, &TracedOp)]) -> BTreeMap<&'c str, Family> {
        let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (ours, traced) in pairs {
            let (Some(estimate), Some(share)) = (ours.estimate, traced.share.filter(|s| *s > 0.0)) else {
                continue;
            };
            let ms = match traced.unit {
                Some(Unit::Ane) => estimate.ane,
                Some(Unit::Cpu) => Some(estimate.cpu()),
                _ => None,
            };
            if let Some(ms) = ms.filter(|ms| *ms > 0.0) {
                ratios.entry(estimate.basis.family).or_default().push(share / ms);
            }
        }
        let every: Vec<f64> = ratios.values().flatten().copied().collect();
        if every.is_empty() {
            return BTreeMap::new();
        }
        let norm = ratios.get("default").map_or_else(|| median(every), |r| median(r.clone()));
        self.notes.push(
            "A plan tells parts of a cost, not times: factors are relative to the default family, whose own stays as it is."
                .to_owned(),
        );
        let one = |(family, found): (&'c str, Vec<f64>)| {
            let factor = median(found.clone()) / norm;
            let error = found.iter().map(|r| (r / norm / factor - 1.0).abs()).fold(0.0, f64::max);
            let factors = PerBackend { ane: factor, bnns: factor, classic_cpu: factor };
            (family, Family { factors, ops: found.len(), error })
        };
        ratios.into_iter().map(one).collect()
    }

    /// What a recording tells of the engine itself.
    fn recorded(&mut self, trace: &Trace, comparison: Option<&Comparison>) {
        let Some(p) = trace.timeline.as_ref().and_then(|t| t.predictions) else { return };
        if p.whole && p.engine_ms > 0.0 && p.gpu_ms == 0.0 && p.engine_intervals <= 1.0 {
            let note =
                format!("median over {} predictions of the time in which the engine does not work", p.count);
            self.figure("dispatch_us", p.rest_ms * 1e3, "µs", p.count, &note);
        } else if p.whole {
            self.notes.push(
                "The dispatch cost is not told: predictions have several pieces of work, or some of the GPU."
                    .to_owned(),
            );
        } else {
            self.notes.push(
                "The dispatch cost is not told: without coreml-os-signpost nothing says when a call begins."
                    .to_owned(),
            );
        }
        let Some((comparison, flops)) = comparison.and_then(|c| Some((c, c.flops?))) else { return };
        let all = comparison.plan.ops.iter().all(|op| op.supported.contains(&Unit::Ane));
        if all && p.engine_ms > 0.0 && p.gpu_ms == 0.0 {
            let note = "arithmetic of the whole model over the time of the engine";
            self.figure("fp16_tflops", flops / (p.engine_ms * 1e-3) / 1e12, "TFLOPS", p.count, note);
        }
    }

    /// What the device said of each op.
    fn seen(&mut self, part: &Part, comparison: &Comparison) {
        let gpu = part.ops.iter().any(|op| op.supported.contains(&Unit::Gpu) || op.unit == Some(Unit::Gpu));
        let ane = part.asked_ane();
        let mut entries: BTreeMap<&str, (bool, String)> = BTreeMap::new();
        for row in &comparison.rows {
            let (Some(p), Some(t)) = (row.predicted, row.traced) else { continue };
            let signature = &*comparison.signatures[p];
            if signature.is_empty() || part.ops[t].supported.is_empty() || entries.contains_key(signature) {
                continue;
            }
            if entries.len() >= MOST_SEEN {
                self.notes
                    .push(format!("More than {MOST_SEEN} different ops were seen; the rest is left out."));
                break;
            }
            let refused = ane && !part.ops[t].supported.contains(&Unit::Ane);
            entries.insert(signature, (refused, entry(signature, &part.ops[t], ane, gpu, &self.source)));
        }
        let refused = entries.values().filter(|(refused, _)| *refused).count();
        if !entries.is_empty() {
            let value = format!("{} taken by the ANE, {refused} refused", entries.len() - refused);
            self.fitted.push(Fitted { what: "seen".to_owned(), value, count: entries.len(), error: None });
        }
        self.out.extend(entries.into_values().map(|(_, text)| text));
    }
}

/// Ops that both sides have.
fn pairs<'c, 't>(part: &'t Part, comparison: &'c Comparison) -> Vec<(&'c OpPlan, &'t TracedOp)> {
    let rows = comparison.rows.iter().filter(|r| r.compared != Compared::Unmatched);
    rows.filter_map(|r| Some((&comparison.plan.ops[r.predicted?], &part.ops[r.traced?]))).collect()
}

fn by_backend<'c>(pairs: &[(&'c OpPlan, &TracedOp)]) -> BTreeMap<&'c str, Family> {
    let mut ratios: BTreeMap<&str, (usize, [Vec<f64>; 3])> = BTreeMap::new();
    for (ours, traced) in pairs {
        let Some(estimate) = ours.estimate else { continue };
        let mut any = false;
        for (slot, backend) in Backend::ALL.into_iter().enumerate() {
            let (Some(ours), Some(theirs)) = (estimate.on(backend), traced.estimate(backend.name())) else {
                continue;
            };
            if ours > 0.0 && theirs > 0.0 {
                ratios.entry(estimate.basis.family).or_default().1[slot].push(theirs / ours);
                any = true;
            }
        }
        if any {
            ratios.entry(estimate.basis.family).or_default().0 += 1;
        }
    }
    ratios.into_iter().map(|(family, (ops, found))| (family, fitted(ops, found))).collect()
}

/// Factors per backend; a backend without an op keeps its estimates.
fn fitted(ops: usize, found: [Vec<f64>; 3]) -> Family {
    let middle = |r: &Vec<f64>| if r.is_empty() { 1.0 } else { median(r.clone()) };
    let [ane, bnns, classic_cpu] = [&found[0], &found[1], &found[2]].map(middle);
    let off = |(r, factor): (&Vec<f64>, f64)| r.iter().map(|v| (v / factor - 1.0).abs()).fold(0.0, f64::max);
    let error = found.iter().zip([ane, bnns, classic_cpu]).map(off).fold(0.0, f64::max);
    Family { factors: PerBackend { ane, bnns, classic_cpu }, ops, error }
}

fn entry(signature: &str, op: &TracedOp, ane: bool, gpu: bool, source: &str) -> String {
    let mut out = format!("\n[[seen]]\nop = {}\n", quoted(signature));
    if ane {
        let _ = writeln!(out, "ane = {}", op.supported.contains(&Unit::Ane));
    }
    if gpu {
        let _ = writeln!(out, "gpu = {}", op.supported.contains(&Unit::Gpu));
    }
    if !op.why.is_empty() && !op.supported.contains(&Unit::Ane) {
        let _ = writeln!(out, "why = {}", quoted(&op.why));
    }
    if let (Some(bnns), Some(classic)) = (op.estimate("bnns"), op.estimate("classic_cpu")) {
        let ane = op.estimate("ane").map_or_else(String::new, |v| format!("ane = {v:?}, "));
        let _ = writeln!(out, "ms = {{ {ane}bnns = {bnns:?}, classic_cpu = {classic:?} }}");
    }
    let _ = writeln!(out, "source = {}", quoted(source));
    out
}

/// A number with four digits that count.
fn plain(v: f64) -> String {
    if v == 0.0 || (1e-3..1e6).contains(&v.abs()) {
        let text = format!("{v:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{v:.3e}")
    }
}
