//! Compression configurations as coremltools writes and reads them: YAML, of which JSON is a part.
//!
//! Keys: `OptimizationConfig.from_yaml` in coremltools 9.0, `optimize/coreml/_config.py`. `steps`, a list of such
//! configurations to be applied one after the other, is an addition of this project.

use crate::{Error, ErrorKind};
use yaml_rust2::parser::{Event, Parser};

/// Largest file that is read.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 16;
const FORMAT: &str = "compression configuration";

/// Something that a key is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Nothing: `null`, `~` or left out.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Setting>),
    /// Keys and settings, in written order.
    Map(Vec<(String, Setting)>),
}

/// The settings of one op, kind of op, or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct OpConfig {
    /// Class of the configuration, such as `OpPalettizerConfig`.
    pub class: String,
    /// Keys and settings of the class, in written order.
    pub settings: Vec<(String, Setting)>,
}

/// One configuration; `None` for an op leaves its weights as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizationConfig {
    /// For everything that nothing else names.
    pub global: Option<OpConfig>,
    /// By kind of op.
    pub op_types: Vec<(String, Option<OpConfig>)>,
    /// By name of an op or weight.
    pub op_names: Vec<(String, Option<OpConfig>)>,
}

/// Reads a configuration: one, or a list of `steps`.
///
/// # Errors
/// When the text is no YAML, uses aliases, is too long or too deep, or has a key that no configuration has.
pub fn read(text: &str) -> Result<Vec<OptimizationConfig>, Error> {
    if text.len() > MAX_BYTES {
        let why = format!("{} bytes, of at most {MAX_BYTES}", text.len());
        return Err(Error::new(ErrorKind::TooLarge, why).format(FORMAT));
    }
    let Setting::Map(mut keys) = parse(text)? else {
        return Err(malformed("is not a map of keys such as config_type and global_config"));
    };
    if let [(key, Setting::List(_))] = keys.as_slice()
        && key == "steps"
        && let Some((_, Setting::List(steps))) = keys.pop()
    {
        return steps.into_iter().map(one).collect();
    }
    one(Setting::Map(keys)).map(|config| vec![config])
}

fn malformed(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Malformed, why).format(FORMAT)
}

fn one(setting: Setting) -> Result<OptimizationConfig, Error> {
    let Setting::Map(keys) = setting else { return Err(malformed("a step is not a map of keys")) };
    let class = keys.iter().find(|(k, _)| k == "config_type").map(|(_, v)| v.clone());
    let Some(Setting::Text(class)) = class else {
        return Err(malformed(
            "config_type is missing; it is the name of a class such as OpPalettizerConfig",
        ));
    };
    let mut config = OptimizationConfig::default();
    for (key, value) in keys {
        match key.as_str() {
            "config_type" => {}
            "global_config" => config.global = op_config(&class, value, &key)?,
            "op_type_configs" => config.op_types = op_configs(&class, value, &key)?,
            "op_name_configs" => config.op_names = op_configs(&class, value, &key)?,
            _ => {
                return Err(malformed(format!(
                    "key {key:?}; there are config_type, global_config, op_type_configs, op_name_configs"
                )));
            }
        }
    }
    Ok(config)
}

fn op_configs(class: &str, value: Setting, key: &str) -> Result<Vec<(String, Option<OpConfig>)>, Error> {
    match value {
        Setting::Null => Ok(Vec::new()),
        Setting::Map(ops) => {
            ops.into_iter().map(|(name, v)| op_config(class, v, &name).map(|c| (name, c))).collect()
        }
        _ => Err(malformed(format!("{key} is not a map from names to settings"))),
    }
}

fn op_config(class: &str, value: Setting, key: &str) -> Result<Option<OpConfig>, Error> {
    let mut settings = match value {
        Setting::Null => return Ok(None),
        Setting::Map(settings) => settings,
        _ => return Err(malformed(format!("{key} is not a map of settings"))),
    };
    let own = settings.iter().position(|(k, _)| k == "config_type").map(|at| settings.remove(at).1);
    let class = match own {
        Some(Setting::Text(class)) => class,
        None => class.to_string(),
        Some(_) => return Err(malformed(format!("config_type of {key} is not a name"))),
    };
    Ok(Some(OpConfig { class, settings }))
}

/// A list or map whose end has not come.
enum Open {
    List(Vec<Setting>),
    Map(Vec<(String, Setting)>, Option<String>),
}

fn parse(text: &str) -> Result<Setting, Error> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Open> = Vec::new();
    loop {
        let (event, mark) = parser.next_token().map_err(|e| malformed(e.to_string()))?;
        let at = |why: &str| malformed(format!("line {}: {why}", mark.line()));
        let done = match event {
            Event::StreamEnd | Event::DocumentEnd => return Ok(Setting::Null),
            Event::Alias(_) => return Err(at("aliases are not read; write the settings out")),
            Event::Scalar(text, style, _, _) => {
                scalar(&text, style == yaml_rust2::scanner::TScalarStyle::Plain)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                return Err(at("nested too deeply"));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Setting::List(items),
                Some(Open::Map(entries, _)) => Setting::Map(entries),
                None => return Err(at("an end without a start")),
            },
            Event::Nothing | Event::StreamStart | Event::DocumentStart => continue,
        };
        match open.last_mut() {
            None => return Ok(done),
            Some(Open::List(items)) => items.push(done),
            Some(Open::Map(entries, key)) => match (key.take(), done) {
                (Some(k), value) => entries.push((k, value)),
                (None, Setting::Text(k)) => *key = Some(k),
                (None, Setting::Number(n)) => *key = Some(n.to_string()),
                (None, _) => return Err(at("a key is not a word")),
            },
        }
    }
}

fn scalar(text: &str, plain: bool) -> Setting {
    if !plain {
        return Setting::Text(text.to_string());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Setting::Null,
        "true" | "True" | "TRUE" => Setting::Bool(true),
        "false" | "False" | "FALSE" => Setting::Bool(false),
        _ => text.parse().map_or_else(|_| Setting::Text(text.to_string()), Setting::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_coremltools_reads() {
        let text = "config_type: OpPalettizerConfig\nglobal_config:\n  mode: kmeans\n  nbits: 4\nop_type_configs:\n  \
                    conv:\n    mode: uniform\n    nbits: 1\nop_name_configs:\n  conv_1: null\n";
        let config = &read(text).expect("reads")[0];
        let global = config.global.as_ref().expect("given");
        assert_eq!(global.class, "OpPalettizerConfig");
        assert_eq!(global.settings[1], ("nbits".into(), Setting::Number(4.0)));
        assert_eq!(config.op_names, [("conv_1".into(), None)]);
    }

    #[test]
    fn json_with_a_class_per_op_reads() {
        let text = r#"{"config_type": "OpThresholdPrunerConfig", "global_config": {"threshold": 0.01},
            "op_type_configs": {"conv": {"config_type": "OpMagnitudePrunerConfig", "n_m_ratio": [3, 4]}}}"#;
        let config = &read(text).expect("reads")[0];
        let conv = config.op_types[0].1.as_ref().expect("given");
        assert_eq!(conv.class, "OpMagnitudePrunerConfig");
        let ratio = Setting::List(vec![Setting::Number(3.0), Setting::Number(4.0)]);
        assert_eq!(conv.settings, [("n_m_ratio".into(), ratio)]);
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_place() {
        for (text, why) in [
            ("[1, 2]", "not a map"),
            ("global_config: {}", "config_type is missing"),
            ("config_type: X\nglobal: {}", "key \"global\""),
            ("config_type: &a X\nglobal_config: *a", "aliases"),
            ("config_type: [", "line"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(&deep).is_err());
    }
}
