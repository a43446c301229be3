//! Files to traces.

use super::{Part, Timeline, Trace, TraceLayout, TracedOp};
use crate::{Error, ErrorKind, files};
use anemone_ane::{Unit, Units};
use anemone_formats::compute_plan::{self, ComputePlan, PlannedOp, Processor};
use anemone_formats::{analytics_mil, instruments};
use std::path::Path;

/// Reads a trace in whichever layout.
///
/// # Errors
/// When the file is not there, or is no trace of a layout that is known; the error names the place in it and what was
/// expected there.
pub fn read(path: &Path) -> Result<Trace, Error> {
    if path.is_dir() {
        return Err(folder(path));
    }
    let bytes = files::map(path)?;
    let trace = if instruments::is_xml(&bytes) {
        recording(path, &bytes)
    } else if bytes.trim_ascii_start().starts_with(b"program") {
        analytics(path, &bytes)
    } else {
        plans(path, &bytes)
    };
    trace.map_err(|e| Error::from_cause(e).of_kind(ErrorKind::Malformed).at(path))
}

/// What to do about a folder.
fn folder(path: &Path) -> Error {
    let ends = |end: &str| path.extension().is_some_and(|e| e == end);
    let what = if ends("trace") {
        "is a recording of Instruments itself; export its tables with `xcrun xctrace export --input … --xpath \
         '//trace-toc[1]/run[1]/data[1]/table[@schema=\"ane-hw-intervals\"]'`"
    } else if ends("mlpackage") || ends("mlmodelc") {
        "is a model, not a trace; `anemone plan` plans it, and `anemone trace FILE --against` compares it with a trace"
    } else {
        "is a folder, but must be a file"
    };
    Error::new(what).of_kind(ErrorKind::Unsupported).at(path)
}

fn recording(path: &Path, bytes: &[u8]) -> Result<Trace, anemone_formats::Error> {
    let read = instruments::read(bytes)?;
    let mut notes = Vec::new();
    if !read.others.is_empty() {
        let names: Vec<&str> = read.others.iter().map(|(n, _)| &**n).collect();
        notes.push(format!("Tables that are not read: {}.", names.join(", ")));
    }
    if read.skipped > 0 {
        notes.push(format!("{} rows are idle times or parts of other rows, and left out.", read.skipped));
    }
    for (name, rows) in read.tables.iter().filter(|(_, rows)| *rows == 0) {
        notes.push(format!(
            "The table {name} has {rows} rows; an empty table does not prove that nothing ran."
        ));
    }
    let timeline = Some(Timeline::of(read.intervals));
    Ok(Trace {
        path: path.to_owned(),
        layout: TraceLayout::Instruments,
        parts: Vec::new(),
        timeline,
        notes,
        program: None,
    })
}

fn analytics(path: &Path, bytes: &[u8]) -> Result<Trace, anemone_formats::Error> {
    let read = analytics_mil::read(bytes)?;
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let one = |f: &analytics_mil::Function| Part {
        name: stem.clone(),
        function: f.name.clone(),
        ops: f.ops.iter().filter(|op| op.depth == 0).map(analysed).collect(),
        fixed: f.fixed.clone(),
        ..Part::default()
    };
    let mut parts: Vec<Part> = read.functions.iter().map(one).collect();
    parts.iter_mut().for_each(shares);
    let (path, layout) = (path.to_owned(), TraceLayout::Analytics);
    Ok(Trace { path, layout, parts, timeline: None, notes: Vec::new(), program: Some(read.program) })
}

fn unit(processor: Processor) -> Unit {
    match processor {
        Processor::Cpu => Unit::Cpu,
        Processor::Gpu => Unit::Gpu,
        Processor::NeuralEngine => Unit::Ane,
    }
}

/// Units in the order CPU, GPU, ANE, each once.
fn listed(processors: impl Iterator<Item = Processor>) -> Vec<Unit> {
    let mut units: Vec<Unit> = processors.map(unit).collect();
    units.sort_unstable();
    units.dedup();
    units
}

fn analysed(op: &analytics_mil::Op) -> TracedOp {
    TracedOp {
        name: op.name.clone(),
        kind: op.kind.clone(),
        unit: Processor::named(&op.selected).map(unit),
        supported: listed(op.supported.iter().filter_map(|b| Processor::named(b))),
        estimates: op.estimates.clone(),
        why: messages(&op.messages),
        ..TracedOp::default()
    }
}

/// The Neural Engine's message, or whichever there is.
fn messages(messages: &[(String, String)]) -> String {
    let found = messages.iter().find(|(b, _)| b == "ane").or(messages.first());
    found.map_or_else(String::new, |(_, why)| why.clone())
}

/// Shares of the cost from times, where the trace tells none.
fn shares(part: &mut Part) {
    if part.ops.iter().any(|op| op.share.is_some()) {
        return;
    }
    let whole: f64 = part.ops.iter().filter_map(TracedOp::ms).sum();
    if whole > 0.0 {
        part.ops.iter_mut().for_each(|op| op.share = op.ms().map(|ms| ms / whole));
    }
}

fn plans(path: &Path, bytes: &[u8]) -> Result<Trace, anemone_formats::Error> {
    let read = compute_plan::read(bytes)?;
    let mut parts: Vec<Part> = read.plans.into_iter().map(planned).collect();
    parts.iter_mut().for_each(shares);
    let layout = TraceLayout::Plan(read.layout);
    Ok(Trace { path: path.to_owned(), layout, parts, timeline: None, notes: read.notes, program: None })
}

/// A setting by whatever name: `CPU_AND_NE`, `cpuAndNeuralEngine`, `all`.
fn setting(text: &str) -> Option<Units> {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    match plain.strip_prefix("mlcomputeunits").unwrap_or(&plain) {
        "all" => Some(Units::All),
        "cpuandne" | "cpune" | "cpuandneuralengine" => Some(Units::CpuAndNe),
        "cpuandgpu" | "cpugpu" => Some(Units::CpuAndGpu),
        "cpuonly" | "cpu" => Some(Units::CpuOnly),
        _ => None,
    }
}

fn planned(plan: ComputePlan) -> Part {
    let ComputePlan { name, function, units, chip, os, ops } = plan;
    let ops = ops.into_iter().map(placed).collect();
    Part { name, function, units: setting(&units), chip, os, ops, fixed: Vec::new() }
}

fn placed(op: PlannedOp) -> TracedOp {
    TracedOp {
        name: op.name,
        kind: op.kind,
        unit: op.preferred.map(unit),
        supported: listed(op.supported.into_iter()),
        share: op.share,
        estimates: op.estimates,
        measured_ms: op.measured_ms,
        why: messages(&op.messages),
    }
}
