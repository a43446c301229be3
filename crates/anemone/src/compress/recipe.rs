//! Configurations as text that `--config`, and coremltools, read.

use anemone_compress::config::{Granularity, Linear, Palette};
use anemone_compress::{Config, LinearMode, PaletteMode, Pruning, Rule, Scheme};

/// The YAML of a configuration of one step, or of several.
///
/// A file of one step is one of coremltools as it is; its rules must all be of one class, as coremltools asks.
pub fn write_config(steps: &[Config]) -> String {
    if let [one] = steps {
        return step(one).join("\n") + "\n";
    }
    let mut text = String::from("steps:\n");
    for one in steps {
        for (i, line) in step(one).into_iter().enumerate() {
            text += if i == 0 { "  - " } else { "    " };
            text += &line;
            text.push('\n');
        }
    }
    text
}

fn step(config: &Config) -> Vec<String> {
    let named = || config.op_types.values().chain(config.op_names.values()).flatten();
    let first = config.global.as_ref().or_else(|| named().next());
    let mut lines =
        vec![format!("config_type: {}", first.map_or("OpPalettizerConfig", |r| class(&r.scheme)))];
    lines.extend(config.global.as_ref().map(|r| format!("global_config: {}", rule(r))));
    for (key, rules) in [("op_type_configs", &config.op_types), ("op_name_configs", &config.op_names)] {
        if !rules.is_empty() {
            lines.push(format!("{key}:"));
        }
        for (name, r) in rules {
            lines.push(format!("  {}: {}", quoted(name), r.as_ref().map_or_else(|| "null".into(), rule)));
        }
    }
    lines
}

fn class(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Activation(_) => "OpActivationLinearQuantizerConfig",
        Scheme::Linear(_) => "OpLinearQuantizerConfig",
        Scheme::Palette(_) => "OpPalettizerConfig",
        Scheme::Prune(Pruning::Threshold { .. }) => "OpThresholdPrunerConfig",
        Scheme::Prune(_) => "OpMagnitudePrunerConfig",
    }
}

/// A name in double quotes, as YAML and JSON have it.
fn quoted(name: &str) -> String {
    let mut out = String::from("\"");
    for c in name.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

fn rule(rule: &Rule) -> String {
    let mut settings = match &rule.scheme {
        Scheme::Activation(a) => {
            let mode = if a.mode == LinearMode::Affine { "linear" } else { "linear_symmetric" };
            vec![format!("mode: {mode}"), format!("dtype: {}", a.dtype.name())]
        }
        Scheme::Linear(l) => linear(l),
        Scheme::Palette(p) => palette(p),
        Scheme::Prune(p) => pruning(p),
    };
    settings.push(format!("weight_threshold: {}", rule.weight_threshold));
    format!("{{{}}}", settings.join(", "))
}

fn linear(l: &Linear) -> Vec<String> {
    let mode = if l.mode == LinearMode::Affine { "linear" } else { "linear_symmetric" };
    let mut out = vec![format!("mode: {mode}"), format!("dtype: {}", l.dtype.name())];
    out.extend(match &l.granularity {
        Granularity::PerTensor => vec!["granularity: per_tensor".to_owned()],
        Granularity::PerBlock(n) => vec!["granularity: per_block".to_owned(), format!("block_size: {n}")],
        Granularity::PerBlockOf(n) => vec!["granularity: per_block".to_owned(), format!("block_size: {n:?}")],
        Granularity::PerChannel | Granularity::PerGroupedChannel { .. } => {
            vec!["granularity: per_channel".to_owned()]
        }
    });
    out
}

fn palette(p: &Palette) -> Vec<String> {
    let mut out = match &p.mode {
        PaletteMode::Kmeans => vec!["mode: kmeans".to_owned()],
        PaletteMode::Uniform => vec!["mode: uniform".to_owned()],
        PaletteMode::Unique => vec!["mode: unique".to_owned()],
        PaletteMode::Custom(entries) => vec!["mode: custom".to_owned(), format!("lut: {entries:?}")],
    };
    out.extend(p.bits.map(|b| format!("nbits: {b}")));
    if let Granularity::PerGroupedChannel { size, axis } = &p.granularity {
        out.extend(["granularity: per_grouped_channel".to_owned(), format!("group_size: {size}")]);
        out.extend(axis.map(|a| format!("channel_axis: {a}")));
    } else {
        out.push("granularity: per_tensor".to_owned());
    }
    if p.cluster_dim > 1 {
        out.push(format!("cluster_dim: {}", p.cluster_dim));
    }
    if p.per_channel_scale {
        out.push("enable_per_channel_scale: true".to_owned());
    }
    out
}

fn pruning(p: &Pruning) -> Vec<String> {
    match p {
        Pruning::Threshold { threshold, minimum } => {
            vec![format!("threshold: {threshold:e}"), format!("minimum_sparsity_percentile: {minimum}")]
        }
        Pruning::Magnitude { sparsity } => vec![format!("target_sparsity: {sparsity}")],
        Pruning::Blocks { sparsity, size, dim } => {
            vec![format!("target_sparsity: {sparsity}"), format!("block_size: {size}"), format!("dim: {dim}")]
        }
        Pruning::NOfM { n, m, dim } => vec![format!("n_m_ratio: [{n}, {m}]"), format!("dim: {dim}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_config;
    use anemone_compress::config::Activation;
    use anemone_tensor::DType;

    #[test]
    fn every_scheme_is_read_again_as_it_was() {
        let grouped = Granularity::PerGroupedChannel { size: 16, axis: Some(1) };
        let schemes = [
            Scheme::Linear(Linear::default()),
            Scheme::Activation(Activation { dtype: DType::U8, ..Activation::default() }),
            Scheme::Linear(Linear {
                mode: LinearMode::Affine,
                dtype: DType::U4,
                granularity: Granularity::PerBlock(8),
            }),
            Scheme::Linear(Linear { granularity: Granularity::PerBlockOf(vec![0, 4]), ..Linear::default() }),
            Scheme::Linear(Linear { granularity: Granularity::PerTensor, ..Linear::default() }),
            Scheme::Palette(Palette { bits: Some(4), granularity: grouped, ..Palette::default() }),
            Scheme::Palette(Palette {
                bits: Some(6),
                cluster_dim: 2,
                per_channel_scale: true,
                ..Palette::default()
            }),
            Scheme::Palette(Palette { mode: PaletteMode::Custom(vec![-1.5, 1e-7]), ..Palette::default() }),
            Scheme::Palette(Palette { mode: PaletteMode::Unique, ..Palette::default() }),
            Scheme::Prune(Pruning::Threshold { threshold: 1e-12, minimum: 0.5 }),
            Scheme::Prune(Pruning::Magnitude { sparsity: 0.3 }),
            Scheme::Prune(Pruning::Blocks { sparsity: 0.5, size: 4, dim: 1 }),
            Scheme::Prune(Pruning::NOfM { n: 2, m: 4, dim: 1 }),
        ];
        for scheme in schemes {
            let rule = Rule { scheme, weight_threshold: 7 };
            let mut config = Config { global: Some(rule.clone()), ..Config::default() };
            config.op_names.insert("a \"name\": of\\it\n".into(), Some(rule.clone()));
            config.op_names.insert("null".into(), None);
            config.op_types.insert("conv".into(), Some(rule));
            for steps in [vec![config.clone()], vec![config.clone(), config.clone()]] {
                let text = write_config(&steps);
                assert_eq!(read_config(&text).map_err(|e| e.to_string()), Ok(steps), "{text}");
            }
        }
    }
}
