//! Arguments of `trace`.

use super::units;
use anemone::ane::{Os, Units};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Arguments of `trace`.
#[derive(Debug, ClapArgs)]
pub(crate) struct TraceArgs {
    /// Trace: a dump of MLComputePlan, the compiler's analytics.mil, an export of xctrace, or JSON of plan or bench
    pub file: PathBuf,
    /// Model to plan and to set beside the trace: .mlpackage, .mlmodelc or .mil
    #[arg(long, value_name = "PKG")]
    pub against: Option<PathBuf>,
    /// Function of the model [default: its default one]
    #[arg(long, requires = "against")]
    pub function: Option<String>,
    /// Device to plan for, and to build a device file on: a chip, a product or a device file [default: the trace's, else m4]
    #[arg(long)]
    pub device: Option<String>,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long, requires = "device")]
    pub os: Option<Os>,
    /// Compute units to plan for: all, cpu-and-ne, cpu-and-gpu or cpu-only [default: the trace's, else cpu-and-ne]
    #[arg(long, value_parser = units)]
    pub units: Option<Units>,
    /// Write what the trace teaches into a device file, for --device of later plans
    #[arg(long, requires = "output")]
    pub calibrate: bool,
    /// Device file to write
    #[arg(short, long, value_name = "OUT.toml", requires = "calibrate")]
    pub output: Option<PathBuf>,
    /// Write the timeline for ui.perfetto.dev
    #[arg(long, value_name = "OUT")]
    pub perfetto: Option<PathBuf>,
    /// Print JSON (schema anemone.trace/1)
    #[arg(long)]
    pub json: bool,
}
