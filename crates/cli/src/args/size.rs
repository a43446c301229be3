//! Arguments of `size`.

use clap::Args;
use std::path::PathBuf;

/// Shown under `--help`.
pub(crate) const EXAMPLES: &str = "Examples:
  anemone size model.mlpackage
  anemone size Llama-3.2-3B/config.json --context 4096,32768
  anemone size 3B --device all
  anemone size config.json --device \"iPhone 17 Pro\" --shard 250MB --json";

/// Arguments of `size`.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    /// What to size: .mlpackage, .mlmodelc, .onnx, a Hugging Face config.json or its folder, or a number of parameters
    /// such as 3B
    pub model: PathBuf,
    /// Positions that keys and values are kept for
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "4096", value_parser = context)]
    pub context: Vec<u64>,
    /// Devices to fit it to: chips, products, device files, or all [default: some phones and Macs]
    #[arg(long = "device", value_name = "NAME,...", value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Largest program to cut the model into, such as 250MB [default: what the device is known to take]
    #[arg(long, value_name = "SIZE", value_parser = super::bytes)]
    pub shard: Option<u64>,
    /// Print JSON (schema anemone.size/1)
    #[arg(long)]
    pub json: bool,
}

fn context(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1 << 30;
    let number = text.trim().parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("must be a number from 1 to {MOST}"))
}
