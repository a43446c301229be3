//! Arguments of `simulate`.

use super::units;
use anemone::SweepSpec;
use anemone::ane::{Os, Units};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Arguments of `simulate`.
#[derive(Debug, ClapArgs)]
pub(crate) struct SimulateArgs {
    /// Model: .mlpackage, .mlmodelc or .mil
    pub model: PathBuf,
    /// Device to simulate: a chip (m4), a product ("iPhone 15 Pro") or a device file (mine.toml)
    #[arg(long, default_value = "m4")]
    pub device: String,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long)]
    pub os: Option<Os>,
    /// Compute units that the model may use: all, cpu-and-ne, cpu-and-gpu or cpu-only
    #[arg(long, default_value = "cpu-and-ne", value_parser = units)]
    pub units: Units,
    /// Function to simulate [default: the package's default one]
    #[arg(long)]
    pub function: Option<String>,
    /// Items in one call: axis 0 of every input is that many times as long
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub batch: usize,
    /// Calls, one after another
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub iterations: usize,
    /// Count what comes before the first call: compiling, waking the engine
    #[arg(long)]
    pub cold: bool,
    /// Show energy, run by run
    #[arg(long)]
    pub power: bool,
    /// Slowest ops to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Simulate once for each value: context=512..32768, batch=1..64, device=all, tokens.1=64,128
    #[arg(long, value_name = "NAME=VALUES", value_parser = sweep, conflicts_with_all = ["trace", "power", "cold"])]
    pub sweep: Option<SweepSpec>,
    /// Draw the sweep as a picture
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub svg: Option<PathBuf>,
    /// Write the timeline as a Chrome and Perfetto trace
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print JSON (schema anemone.simulate/1, with --sweep anemone.sweep/1)
    #[arg(long)]
    pub json: bool,
}

fn count(text: &str) -> Result<usize, String> {
    let found = text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    found.ok_or_else(|| format!("must be a whole number from 1 to 1000000, but is {text:?}"))
}

fn sweep(text: &str) -> Result<SweepSpec, String> {
    SweepSpec::read(text).map_err(|e| e.to_string())
}
