//! Arguments of `report`.

use anemone::ane::{Os, Units};
use clap::Args;
use std::path::PathBuf;

/// Shown under `--help`.
pub(crate) const EXAMPLES: &str = "Examples:
  anemone report model.mlpackage
  anemone report model.mlpackage -o report.html --device \"iPhone 15 Pro\" --units cpu-and-ne
  anemone report model.mlpackage --json
The page needs no network and no other file: it opens in any browser.";

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Model: .mlpackage, .mlmodelc or .mil
    pub model: PathBuf,
    /// Page to write [default: beside the model, ending in .html]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Device to plan for: a chip (m4), a product ("iPhone 15 Pro") or a device file (mine.toml)
    #[arg(long, default_value = "m4")]
    pub device: String,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long)]
    pub os: Option<Os>,
    /// Compute units that the model may use: all, cpu-and-ne, cpu-and-gpu or cpu-only
    #[arg(long, default_value = "cpu-and-ne", value_parser = super::units)]
    pub units: Units,
    /// Function to report on [default: the package's default one]
    #[arg(long)]
    pub function: Option<String>,
    /// Print what the page shows as JSON (schema anemone.report/1) and write no page
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}
