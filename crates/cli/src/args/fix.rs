//! Arguments of `fix`.

use super::{shape, units};
use anemone::ane::{Os, Units};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Arguments of `fix`.
#[derive(Debug, ClapArgs)]
pub(crate) struct FixArgs {
    /// Model: .mlpackage or .mlmodelc; .mil with --dry-run
    pub model: PathBuf,
    /// Package to write
    #[arg(short, long, value_name = "OUT", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Apply fixes that round otherwise, too
    #[arg(long)]
    pub rounding: bool,
    /// Device to plan for: a chip, a product or a device file
    #[arg(long, default_value = "m4")]
    pub device: String,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long)]
    pub os: Option<Os>,
    /// Compute units: all, cpu-and-ne, cpu-and-gpu or cpu-only
    #[arg(long, default_value = "cpu-and-ne", value_parser = units)]
    pub units: Units,
    /// Fix what this rule finds, and nothing else; may be given several times
    #[arg(long = "rule", value_name = "NAME")]
    pub rules: Vec<String>,
    /// Leave what this rule finds alone
    #[arg(long, value_name = "NAME")]
    pub skip: Vec<String>,
    /// Shape of an input that has several: name:1x3x224x224
    #[arg(long = "shape", value_name = "NAME:SHAPE", value_parser = shape)]
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Give every input that has several shapes its default one
    #[arg(long)]
    pub fixed: bool,
    /// Take look-ups in tables out of the model: it takes the rows, and the tables are written beside it
    #[arg(long)]
    pub host_lookups: bool,
    /// Keep fixes that make the plan worse, too
    #[arg(long)]
    pub keep_worse: bool,
    /// Write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not compare the outputs
    #[arg(long)]
    pub no_check: bool,
    /// Print JSON (schema anemone.fix/1)
    #[arg(long)]
    pub json: bool,
}
