//! Compute plans as public tools write them: where Core ML would run each op (`MLComputePlan`), and what the E5
//! compiler estimated.
//!
//! Core ML has no file format for its plans: every tool writes its own. The readers know the keys of the tools that were
//! found published, by name and not by position:
//!
//! | layout | written by |
//! |---|---|
//! | JSON, lists of objects with an operator and a preferred unit, in snake or camel case | scripts over `coremltools.models.compute_plan` and Swift programs over `MLComputePlan` |
//! | JSON, `infos` with `deviceUsage`, `estimatedCost` and `path` | the remote plans of coremltools 9.0 |
//! | JSON lines, one object with `plans` a line | the labels of placement studies |
//! | JSON, `anemone.plan/1` and `anemone.bench/1` | this project |
//! | table with tabs: graph, index, operator, output, preferred, supported, cost | `computeplan.swift` of 751K/Apple-Neural-Engine-Microarchitecture-Study-M6 |
//! | table with commas: `DebugName`, `OpType`, `SelectedBackend`, `backend_0`, `est_time_0`, `invalid_0`, … | freedomtan/coreml_modelc_profling |
//! | lines `operation ios17.conv, device <MLNeuralEngineComputeDevice: 0x…>, cost 4.6 %` | the same project's first program |
//! | lines `0.68% G|C  name = ios16.gather(…)` | smpanaro/CoreMLInspect |

mod json;
mod text;

use crate::{Error, ErrorKind};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 26;

pub(crate) const FORMAT: &str = "compute plan";

/// What runs an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processor {
    /// The CPU, through whichever of its backends.
    Cpu,
    /// The GPU.
    Gpu,
    /// The Neural Engine.
    NeuralEngine,
}

/// How the file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// JSON with lists of ops.
    Json,
    /// JSON as coremltools fetches plans from a device.
    Remote,
    /// One JSON object a line.
    Lines,
    /// `anemone.plan/1`.
    OwnPlan,
    /// `anemone.bench/1`.
    OwnBench,
    /// A table with tabs.
    Tabs,
    /// A table with commas, with the compiler's estimates.
    Commas,
    /// A log with one op a line.
    Log,
    /// The listing of CoreMLInspect.
    Listing,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ComputePlans {
    /// How it is laid out.
    pub layout: Layout,
    /// Plans, in written order; one at least, each with one op at least.
    pub plans: Vec<ComputePlan>,
    /// What was left out, one sentence each.
    pub notes: Vec<String>,
}

/// The plan of one function under one setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ComputePlan {
    /// Model, graph or component; empty when not told.
    pub name: String,
    /// Function; empty when not told.
    pub function: String,
    /// Setting of compute units as written, such as `CPU_AND_NE`; empty when not told.
    pub units: String,
    /// Chip as written; empty when not told.
    pub chip: String,
    /// System as written; empty when not told.
    pub os: String,
    /// Ops, in written order.
    pub ops: Vec<PlannedOp>,
}

/// One op of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannedOp {
    /// Kind without the operator set, such as `conv`; empty when not told.
    pub kind: String,
    /// First output; empty when not told.
    pub name: String,
    /// Where Core ML would run it; `None` when it did not say, as for constants.
    pub preferred: Option<Processor>,
    /// What could run it; empty when not told.
    pub supported: Vec<Processor>,
    /// Part of the plan's cost, 0 to 1.
    pub share: Option<f64>,
    /// The compiler's estimates by backend, in ms.
    pub estimates: Vec<(String, f64)>,
    /// Why a backend refuses the op, by backend.
    pub messages: Vec<(String, String)>,
    /// Measured time, in ms.
    pub measured_ms: Option<f64>,
    /// Ops that were computed together with it, by kind.
    pub fused: Vec<String>,
}

impl Processor {
    /// What a tool calls a processor: `CPU`, `gpu`, `neuralEngine`, `MLNeuralEngineComputeDevice`, `bnns`, `mps_graph`, ….
    pub fn named(text: &str) -> Option<Processor> {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        let plain = plain.strip_prefix("ml").unwrap_or(&plain);
        let class = |name: &str| plain.starts_with(name);
        match plain {
            "cpu" | "c" | "bnns" | "classiccpu" | "e5minimalcpu" | "jitcall" => Some(Processor::Cpu),
            "gpu" | "g" | "mpsgraph" | "psgraph" | "metal" => Some(Processor::Gpu),
            "ane" | "ne" | "n" | "neuralengine" | "neural" => Some(Processor::NeuralEngine),
            _ if class("cpucomputedevice") => Some(Processor::Cpu),
            _ if class("gpucomputedevice") => Some(Processor::Gpu),
            _ if class("neuralenginecomputedevice") => Some(Processor::NeuralEngine),
            _ => None,
        }
    }
}

/// True for what tools write where Core ML named no processor.
pub(crate) fn is_nothing(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "-" | "none" | "null" | "nil" | "unknown" | "unk" | "const"
    )
}

/// An op kind without its operator set: `conv` of `ios18.conv`.
pub(crate) fn bare(kind: &str) -> String {
    let kind = kind.trim();
    let set = |head: &str| {
        let version = head.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        head.len() > version.len() && !version.is_empty() && version.chars().all(|c| c.is_ascii_digit())
    };
    match kind.split_once('.') {
        Some((head, rest)) if set(head) => rest.to_owned(),
        _ => kind.to_owned(),
    }
}

/// True for ops that hold data and compute nothing.
pub(crate) fn is_data(kind: &str) -> bool {
    kind == "const" || kind.starts_with("constexpr_")
}

fn wrong(kind: ErrorKind, cause: impl Into<String>) -> Error {
    Error::new(kind, cause).format(FORMAT)
}

/// True when the bytes look like JSON.
pub fn is_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['))
}

/// Reads a plan in whichever layout.
///
/// # Errors
/// When the file is too large or cut off, its layout is none of those known, a value has another type than expected, or
/// there is no op in it; the error names the place and what was expected there.
pub fn read(bytes: &[u8]) -> Result<ComputePlans, Error> {
    if bytes.len() > MAX_BYTES {
        let why = format!("{} bytes, of at most {MAX_BYTES}", bytes.len());
        return Err(wrong(ErrorKind::TooLarge, why));
    }
    if is_json(bytes) { json::read(bytes) } else { text::read(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_known_by_what_tools_call_them() {
        let engine = [
            "ANE",
            "NE",
            "N",
            "neuralEngine",
            "neural_engine",
            "MLNeuralEngineComputeDevice",
            "Neural Engine",
        ];
        assert!(engine.iter().all(|n| Processor::named(n) == Some(Processor::NeuralEngine)));
        let cpu = [
            "CPU",
            "cpu",
            "MLCPUComputeDevice",
            "<MLCPUComputeDevice: 0x6000036e8170>",
            "bnns",
            "classic_cpu",
        ];
        assert!(cpu.iter().all(|n| Processor::named(n) == Some(Processor::Cpu)));
        let gpu = ["GPU", "gpu", "MLGPUComputeDevice", "mps_graph"];
        assert!(gpu.iter().all(|n| Processor::named(n) == Some(Processor::Gpu)));
        assert!(["", "TPU", "unknown", "MLComputeDevice"].iter().all(|n| Processor::named(n).is_none()));
    }

    #[test]
    fn plans_beyond_number_are_refused() {
        let op = |i: usize| format!("{{\"op\": \"relu\", \"preferred\": \"CPU\", \"function\": \"f{i}\"}}");
        let ops: Vec<String> = (0..=json::MAX_PLANS).map(op).collect();
        let error = read(format!("[{}]", ops.join(",")).as_bytes()).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn operator_sets_are_no_part_of_a_kind() {
        assert_eq!(
            ["ios18.conv", "conv", "CoreML7.relu", "a.b", ""].map(bare),
            ["conv", "conv", "relu", "a.b", ""]
        );
    }
}
