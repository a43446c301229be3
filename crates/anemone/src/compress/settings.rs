//! Configurations as files have them, turned into rules.

use crate::Error;
use anemone_compress::config::{Activation, Granularity, Linear, Palette};
use anemone_compress::{BITS, Config, LinearMode, PaletteMode, Pruning, Rule, Scheme};
use anemone_formats::optimization_config::{OpConfig, OptimizationConfig, Setting};
use anemone_tensor::DType;

/// Reads a configuration file's text: one step or several.
///
/// # Errors
/// When the text is no configuration, or a class, key or setting is not one of coremltools 9.0.
pub fn read_config(text: &str) -> Result<Vec<Config>, Error> {
    let steps = anemone_formats::optimization_config::read(text).map_err(Error::from_cause)?;
    steps.iter().map(config).collect()
}

fn config(from: &OptimizationConfig) -> Result<Config, Error> {
    let named = |list: &[(String, Option<OpConfig>)]| {
        let one = |(name, c): &(String, Option<OpConfig>)| {
            let rule = c.as_ref().map(rule).transpose();
            rule.map(|r| (name.clone(), r)).map_err(|e| Error::new(format!("{name}: {e}")))
        };
        list.iter().map(one).collect::<Result<_, Error>>()
    };
    Ok(Config {
        global: from.global.as_ref().map(rule).transpose()?,
        op_types: named(&from.op_types)?,
        op_names: named(&from.op_names)?,
    })
}

/// The settings of one class, taken out one by one, so that what is left is unknown.
struct Settings<'a> {
    class: &'a str,
    left: Vec<(&'a str, &'a Setting)>,
}

impl<'a> Settings<'a> {
    fn take(&mut self, key: &str) -> Option<&'a Setting> {
        let at = self.left.iter().position(|(k, _)| *k == key)?;
        Some(self.left.remove(at).1).filter(|s| **s != Setting::Null)
    }

    fn wrong(&self, key: &str, value: &Setting, allowed: &str) -> Error {
        Error::new(format!("{} of {} is {value:?}; it must be {allowed}", key, self.class))
    }

    fn word(&mut self, key: &str) -> Result<Option<&'a str>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Setting::Text(t)) => Ok(Some(t)),
            Some(other) => Err(self.wrong(key, other, "a word")),
        }
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Setting::Number(n)) => Ok(Some(*n)),
            Some(other) => Err(self.wrong(key, other, "a number")),
        }
    }

    fn count(&mut self, key: &str) -> Result<Option<usize>, Error> {
        self.take(key).map(|s| self.as_count(key, s)).transpose()
    }

    fn as_count(&self, key: &str, setting: &Setting) -> Result<usize, Error> {
        match setting {
            Setting::Number(n) if *n >= 0.0 && n.fract() == 0.0 && *n <= 1e15 => Ok(*n as usize),
            other => Err(self.wrong(key, other, "a whole number of 0 or more")),
        }
    }

    fn counts(&mut self, key: &str) -> Result<Option<Vec<usize>>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Setting::List(items)) => {
                items.iter().map(|i| self.as_count(key, i)).collect::<Result<_, _>>().map(Some)
            }
            Some(other) => self.as_count(key, other).map(|n| Some(vec![n])),
        }
    }

    fn flag(&mut self, key: &str) -> Result<bool, Error> {
        match self.take(key) {
            None => Ok(false),
            Some(Setting::Bool(b)) => Ok(*b),
            Some(other) => Err(self.wrong(key, other, "true or false")),
        }
    }

    fn done(self) -> Result<(), Error> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(Error::new(format!("{} has no setting {key:?}", self.class))),
        }
    }
}

fn rule(from: &OpConfig) -> Result<Rule, Error> {
    let left = from.settings.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut s = Settings { class: &from.class, left };
    let threshold = s.count("weight_threshold")?.unwrap_or(2048);
    let scheme = match from.class.as_str() {
        "OpLinearQuantizerConfig" => Scheme::Linear(linear(&mut s)?),
        "OpActivationLinearQuantizerConfig" => Scheme::Activation(activation(&mut s)?),
        "OpPalettizerConfig" => Scheme::Palette(palette(&mut s)?),
        "OpThresholdPrunerConfig" => Scheme::Prune(Pruning::Threshold {
            threshold: s.number("threshold")?.unwrap_or(1e-12),
            minimum: s.number("minimum_sparsity_percentile")?.unwrap_or(0.5),
        }),
        "OpMagnitudePrunerConfig" => Scheme::Prune(magnitude(&mut s)?),
        other => {
            return Err(Error::new(format!(
                "config_type {other:?}; there are OpLinearQuantizerConfig, OpPalettizerConfig, \
                 OpThresholdPrunerConfig, OpMagnitudePrunerConfig and OpActivationLinearQuantizerConfig"
            )));
        }
    };
    s.done()?;
    Ok(Rule { scheme, weight_threshold: threshold })
}

fn linear(s: &mut Settings<'_>) -> Result<Linear, Error> {
    let mode = linear_mode(s.word("mode")?.unwrap_or("linear_symmetric"))?;
    let dtype = linear_dtype(s.word("dtype")?.unwrap_or("int8"))?;
    let blocks = s.counts("block_size")?;
    let granularity = match s.word("granularity")?.unwrap_or("per_channel") {
        "per_tensor" => Granularity::PerTensor,
        "per_channel" => Granularity::PerChannel,
        "per_block" => match blocks.as_deref() {
            None => Granularity::PerBlock(32),
            Some([one]) => Granularity::PerBlock(*one),
            Some(many) => Granularity::PerBlockOf(many.to_vec()),
        },
        other => {
            return Err(Error::new(format!(
                "granularity {other:?}; there are per_tensor, per_channel, per_block"
            )));
        }
    };
    Ok(Linear { mode, dtype, granularity })
}

fn activation(s: &mut Settings<'_>) -> Result<Activation, Error> {
    let mode = linear_mode(s.word("mode")?.unwrap_or("linear_symmetric"))?;
    let dtype = activation_dtype(s.word("dtype")?.unwrap_or("int8"))?;
    // A class of coremltools that takes more than it uses: activations have one scale per tensor.
    s.word("granularity")?;
    s.counts("block_size")?;
    Ok(Activation { mode, dtype })
}

/// `int8` or `uint8`.
///
/// # Errors
/// When it is another word.
pub fn activation_dtype(word: &str) -> Result<DType, Error> {
    match DType::from_name(word) {
        Some(d @ (DType::I8 | DType::U8)) => Ok(d),
        _ => Err(Error::new(format!("type {word:?}; activations are int8 or uint8"))),
    }
}

/// `linear_symmetric` or `linear`, in either case.
///
/// # Errors
/// When it is another word.
pub fn linear_mode(word: &str) -> Result<LinearMode, Error> {
    match word.to_ascii_lowercase().as_str() {
        "linear_symmetric" => Ok(LinearMode::Symmetric),
        "linear" => Ok(LinearMode::Affine),
        _ => Err(Error::new(format!("mode {word:?}; there are linear_symmetric and linear"))),
    }
}

/// `int8`, `uint8`, `int4` or `uint4`.
///
/// # Errors
/// When it is another word.
pub fn linear_dtype(word: &str) -> Result<DType, Error> {
    match DType::from_name(word) {
        Some(d @ (DType::I8 | DType::U8 | DType::I4 | DType::U4)) => Ok(d),
        _ => Err(Error::new(format!("type {word:?}; there are int8, uint8, int4 and uint4"))),
    }
}

fn palette(s: &mut Settings<'_>) -> Result<Palette, Error> {
    let mode = match s.take("lut") {
        Some(Setting::List(entries)) => {
            s.word("mode")?;
            let entry = |e: &Setting| match e {
                Setting::Number(n) => Ok(*n as f32),
                other => Err(s.wrong("lut", other, "a list of numbers")),
            };
            PaletteMode::Custom(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        Some(other) => return Err(s.wrong("lut", other, "a list of numbers")),
        None => palette_mode(s.word("mode")?.unwrap_or("kmeans"))?,
    };
    let bits = s.count("nbits")?;
    if let Some(b) = bits.filter(|b| !BITS.contains(b)) {
        return Err(Error::new(format!("nbits {b}; there are 1, 2, 3, 4, 6 and 8")));
    }
    if bits.is_none() && matches!(mode, PaletteMode::Kmeans | PaletteMode::Uniform) {
        return Err(Error::new("nbits is missing; kmeans and uniform need 1, 2, 3, 4, 6 or 8"));
    }
    // How many processes work is the reader's affair, not the model's.
    s.count("num_kmeans_workers")?;
    let (size, axis) = (s.count("group_size")?.unwrap_or(32), s.count("channel_axis")?);
    let granularity = match s.word("granularity")?.unwrap_or("per_tensor") {
        "per_tensor" => Granularity::PerTensor,
        "per_grouped_channel" => Granularity::PerGroupedChannel { size, axis },
        other => {
            return Err(Error::new(format!(
                "granularity {other:?}; there are per_tensor and per_grouped_channel"
            )));
        }
    };
    Ok(Palette {
        mode,
        bits,
        granularity,
        cluster_dim: s.count("cluster_dim")?.unwrap_or(1),
        per_channel_scale: s.flag("enable_per_channel_scale")?,
    })
}

/// `kmeans`, `uniform` or `unique`, in either case.
///
/// # Errors
/// When it is another word.
pub fn palette_mode(word: &str) -> Result<PaletteMode, Error> {
    match word.to_ascii_lowercase().as_str() {
        "kmeans" => Ok(PaletteMode::Kmeans),
        "uniform" => Ok(PaletteMode::Uniform),
        "unique" => Ok(PaletteMode::Unique),
        "custom" => Err(Error::new("mode custom needs the entries: lut: [..]")),
        _ => Err(Error::new(format!("mode {word:?}; there are kmeans, uniform, unique and custom"))),
    }
}

fn magnitude(s: &mut Settings<'_>) -> Result<Pruning, Error> {
    let (sparsity, size, dim) = (s.number("target_sparsity")?, s.count("block_size")?, s.count("dim")?);
    match (sparsity, s.counts("n_m_ratio")?.as_deref(), size) {
        (None, Some(&[n, m]), None) => Ok(Pruning::NOfM { n, m, dim: dim.unwrap_or(1) }),
        (Some(sparsity), None, Some(size)) => Ok(Pruning::Blocks { sparsity, size, dim: dim.unwrap_or(0) }),
        (Some(sparsity), None, None) if dim.is_none() => Ok(Pruning::Magnitude { sparsity }),
        _ => Err(Error::new(
            "OpMagnitudePrunerConfig needs target_sparsity, with block_size or without, or n_m_ratio: [n, m]; dim goes \
             with block_size or n_m_ratio",
        )),
    }
}
