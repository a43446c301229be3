//! Arguments of `advise`.

use anemone::ane::Os;
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Examples of `advise`.
pub(crate) const EXAMPLES: &str = "Examples:
  anemone advise model.mlpackage
  anemone advise model.onnx --device \"iPhone 15 Pro\"
  anemone advise model.mlpackage --device m1 --json";

/// Arguments of `advise`.
#[derive(Debug, ClapArgs)]
pub(crate) struct AdviseArgs {
    /// Model: .mlpackage, .mlmodelc, .mil or .onnx
    pub model: PathBuf,
    /// Device: a chip (m4), a product ("iPhone 15 Pro") or a device file (mine.toml)
    #[arg(long, default_value = "m4")]
    pub device: String,
    /// System to plan for, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long)]
    pub os: Option<Os>,
    /// Function [default: the package's default one]
    #[arg(long)]
    pub function: Option<String>,
    /// Print JSON (schema anemone.advise/1)
    #[arg(long)]
    pub json: bool,
}
