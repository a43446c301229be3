//! Arguments of `compress` and `decompress`.

use anemone::Goal;
use anemone::ane::Os;
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Arguments of `compress`.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["linear", "palettize", "prune", "n_m", "activations", "config", "budget", "max_loss"])))]
#[command(group(clap::ArgGroup::new("search").multiple(true).args(["budget", "max_loss"])))]
pub(crate) struct CompressArgs {
    /// Model: .mlpackage or .mlmodelc
    pub model: PathBuf,
    /// Package to write
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Quantise to int8, uint8, int4 or uint4
    #[arg(long, value_name = "TYPE")]
    pub linear: Option<String>,
    /// Palettise with indices of so many bits: 1, 2, 3, 4, 6 or 8 (with --mode unique: as many as are needed)
    #[arg(long, value_name = "BITS")]
    pub palettize: Option<usize>,
    /// Zero this part of each weight, by magnitude: 0 to 1
    #[arg(long, value_name = "SPARSITY")]
    pub prune: Option<f64>,
    /// Zero n of every m neighbours, by magnitude: 2:4
    #[arg(long = "n-m", value_name = "N:M", value_parser = ratio, conflicts_with = "prune")]
    pub n_m: Option<(usize, usize)>,
    /// Quantise what convolutions, linear, pools and additions read, too: int8 or uint8; ranges come from --inputs
    #[arg(long, value_name = "TYPE", conflicts_with_all = ["config", "budget", "max_loss"])]
    pub activations: Option<String>,
    /// linear-symmetric (default) or linear; kmeans (default), uniform or unique
    #[arg(long)]
    pub mode: Option<String>,
    /// per-tensor, per-channel, per-grouped-channel or per-block [default: per-channel for --linear, else per-tensor]
    #[arg(long)]
    pub granularity: Option<String>,
    /// Channels that share a palette
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub group_size: usize,
    /// Input channels that share a scale; with --prune, channels that go together
    #[arg(long, value_name = "N")]
    pub block_size: Option<usize>,
    /// Neighbours along the channels that share an index
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub cluster_dim: usize,
    /// Divide each channel by its largest magnitude before it is palettised
    #[arg(long)]
    pub per_channel_scale: bool,
    /// Leave weights of so many elements or fewer alone
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub weight_threshold: usize,
    /// A configuration of coremltools (YAML or JSON) instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["linear", "palettize", "prune", "n_m"])]
    pub config: Option<PathBuf>,
    /// Choose a scheme for each weight, so that the package has at most this size or its weights so many bits per element
    /// on average: 1.2GB or 4.3bits; losses are measured on --inputs, or on random inputs
    #[arg(long, value_name = "SIZE or BITS", value_parser = budget,
        conflicts_with_all = ["linear", "palettize", "prune", "n_m", "config", "max_loss"])]
    pub budget: Option<Goal>,
    /// Choose a scheme for each weight, so that the outputs lose at most this share: 0.5% or 0.005
    #[arg(long, value_name = "SHARE", value_parser = super::share,
        conflicts_with_all = ["linear", "palettize", "prune", "n_m", "config"])]
    pub max_loss: Option<f64>,
    /// Write what was chosen as a configuration that --config reads
    #[arg(long, value_name = "FILE", requires = "search")]
    pub recipe: Option<PathBuf>,
    /// Draw size and loss of the choices there are (SVG)
    #[arg(long, value_name = "FILE", requires = "search")]
    pub plot: Option<PathBuf>,
    /// Compress also what is compressed already, as far as there is a joint form
    #[arg(long)]
    pub joint: bool,
    /// Compare the outputs on this sample: a .safetensors or .npz file as for run, or several samples stacked in it
    #[arg(long = "inputs", value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// Compare the outputs on random inputs from this seed
    #[arg(long, value_name = "SEED", conflicts_with = "inputs")]
    pub random: Option<u64>,
    /// Random samples
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub samples: usize,
    /// Warn of what this device would not run on its Neural Engine: a chip, a product or a device file
    #[arg(long)]
    pub device: Option<String>,
    /// System of the device, such as ios18 or "macOS 15" [default: the newest of a phone, the observed one of a Mac]
    #[arg(long, requires = "device")]
    pub os: Option<Os>,
    /// Print JSON (schema anemone.compress/1)
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `decompress`.
#[derive(Debug, ClapArgs)]
pub(crate) struct DecompressArgs {
    /// Model: .mlpackage or .mlmodelc
    pub model: PathBuf,
    /// Package to write
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Print JSON (schema anemone.decompress/1)
    #[arg(long)]
    pub json: bool,
}

/// `2:4`.
fn ratio(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("must be N:M such as 2:4, but is {text:?}");
    let (n, m) = text.split_once(':').ok_or_else(wrong)?;
    Ok((n.parse().map_err(|_| wrong())?, m.parse().map_err(|_| wrong())?))
}

/// `1.2GB`, or `4.3bits`.
fn budget(text: &str) -> Result<Goal, String> {
    let wrong = || format!("must be a size such as 1.2GB or an average such as 4.3bits, but is {text:?}");
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = |unit: f64| Ok(Goal::Bytes((number * unit) as u64));
    match unit.trim().to_ascii_lowercase().as_str() {
        "bits" | "bit" => Ok(Goal::Bits(number)),
        "b" => bytes(1.0),
        "kb" => bytes(1e3),
        "mb" => bytes(1e6),
        "gb" => bytes(1e9),
        "kib" => bytes(1024.0),
        "mib" => bytes(1024.0 * 1024.0),
        "gib" => bytes(1024.0 * 1024.0 * 1024.0),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_sizes_or_bits() {
        assert_eq!(budget("1.5GB"), Ok(Goal::Bytes(1_500_000_000)));
        assert_eq!(budget("4.3bits"), Ok(Goal::Bits(4.3)));
        assert!(budget("4.3").is_err() && budget("GB").is_err() && budget("3 apples").is_err());
    }
}
