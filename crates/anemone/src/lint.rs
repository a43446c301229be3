//! `check`: what in a model keeps it from the Neural Engine, and whether it meets its gates.

use crate::open::open_to_look;
use crate::{Container, Error, SimulateOptions, simulated};
use anemone_ane::simulate::Interval;
use anemone_ane::{Device, Os, Plan, Units};
use anemone_lint::{Finding, Gate, Judged, Measured, Rule, Severity, Subject, rules, weight_bytes};
use anemone_mil::{Function, Level, Program};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// What to check for.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The device, with the system to plan for.
    pub device: Arc<Device>,
    /// The compute units.
    pub units: Units,
    /// What rules count as, by name; `None` switches one off.
    pub severities: BTreeMap<String, Option<Severity>>,
    /// Conditions that every function must meet.
    pub gates: Vec<Gate>,
}

/// Where a finding's op stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Line number from 1: of the file itself when it is MIL text, otherwise of what `show` prints.
    pub number: usize,
    /// The line, without the spaces around it.
    pub text: String,
}

/// A finding with its line.
#[derive(Clone, Debug)]
pub struct Located {
    /// The finding.
    pub finding: Finding,
    /// Its op's line; `None` for the function as a whole.
    pub line: Option<Line>,
}

/// The answer for one model.
#[derive(Clone, Debug)]
pub struct Checked {
    /// True when lines are those of the file itself.
    pub is_text: bool,
    /// Findings of every function, in program order.
    pub findings: Vec<Located>,
    /// The answer of every gate, per function.
    pub gates: Vec<(String, Judged)>,
    /// The plan of every function.
    pub plans: Vec<(String, Plan)>,
    /// Bytes of the model's weights.
    pub weight_bytes: u64,
}

impl Checked {
    /// True when a finding counts more than a note, or a gate is not met.
    pub fn fails(&self) -> bool {
        self.findings.iter().any(|f| f.finding.severity > Severity::Note)
            || self.gates.iter().any(|(_, g)| !g.passed)
    }
}

/// Checks every function of a model.
///
/// # Errors
/// When the model does not open, is faulty, or the settings name a rule that does not exist.
pub fn check(path: &Path, options: &CheckOptions) -> Result<Checked, Error> {
    if let Some(name) = options.severities.keys().find(|n| rules::named(n).is_none()) {
        return Err(Error::new(format!(
            "there is no rule `{name}`; `anemone check --list` shows those there are"
        )));
    }
    let opened = open_to_look(path)?;
    let verified = anemone_mil::verify(&opened.program, Level::Imported).map_err(|faults| {
        Error::new(format!("the program has {} faults:\n{faults}", faults.count())).at(path)
    })?;
    let lines = Lines::of(path, opened.container)?;
    let severity = |rule: &'static Rule| match options.severities.get(rule.name) {
        Some(set) => *set,
        None => Some(rule.severity),
    };
    let weight_bytes = weight_bytes(&opened.program);
    let mut checked = Checked {
        is_text: opened.container == Container::Text,
        findings: Vec::new(),
        gates: Vec::new(),
        plans: Vec::new(),
        weight_bytes,
    };
    for function in &opened.program.functions {
        let Some(ticket) = verified.function(Some(&function.name)) else { continue };
        let plan = anemone_ane::plan(ticket, &options.device, options.units);
        let subject = Subject::new(&opened.program, function, &plan);
        let found = anemone_lint::check(&subject, severity);
        let locate = |finding: Finding| Located { line: lines.find(&function.name, &finding.value), finding };
        checked.findings.extend(found.into_iter().map(locate));
        let latency = latency(&opened.program, function, options)?;
        let measured = Measured { plan: &plan, weight_bytes, latency };
        checked.gates.extend(options.gates.iter().map(|g| (function.name.to_string(), g.judge(&measured))));
        checked.plans.push((function.name.to_string(), plan));
    }
    Ok(checked)
}

/// Time of one warm call, when a gate asks for it.
fn latency(program: &Program, function: &Function, options: &CheckOptions) -> Result<Interval, Error> {
    if !options.gates.iter().any(Gate::needs_latency) {
        return Ok(Interval::default());
    }
    let wanted = SimulateOptions::new(Arc::clone(&options.device), options.units);
    Ok(simulated(program, function, &wanted)?.timeline.latency)
}

/// Lines of a program by function and name of the last result.
struct Lines(HashMap<(String, String), Line>);

impl Lines {
    fn of(path: &Path, container: Container) -> Result<Lines, Error> {
        let text = match container {
            Container::Text => String::from_utf8_lossy(&crate::files::map(path)?).into_owned(),
            _ => crate::show(path, None, false)?,
        };
        let mut found = HashMap::new();
        let mut function = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("func ") {
                function = rest.split('<').next().unwrap_or_default().to_owned();
            }
            let Some((results, _)) = line.split_once(" = ") else { continue };
            let Some(name) = results.split_whitespace().next_back() else { continue };
            found
                .entry((function.clone(), name.to_owned()))
                .or_insert_with(|| Line { number: index + 1, text: line.to_owned() });
        }
        Ok(Lines(found))
    }

    fn find(&self, function: &str, value: &str) -> Option<Line> {
        self.0.get(&(function.to_owned(), value.to_owned())).cloned()
    }
}

/// The settings of a folder: `anemone.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The device to plan for.
    pub device: Option<String>,
    /// The system to plan for.
    pub os: Option<Os>,
    /// The compute units.
    pub units: Option<Units>,
    /// Gates, as text.
    pub gates: Vec<String>,
    /// What rules count as, by name; `None` switches one off.
    pub severities: BTreeMap<String, Option<Severity>>,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or holds a key or value that is not known.
    pub fn read(path: &Path) -> Result<Settings, Error> {
        let bytes = crate::files::map(path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| Error::new(format!("byte {} is not UTF-8", e.valid_up_to())).at(path))?;
        Settings::parse(text).map_err(|e| Error::new(e).at(path))
    }

    fn parse(text: &str) -> Result<Settings, String> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let mut settings = Settings::default();
        for (key, value) in &table {
            let part =
                value.as_table().ok_or_else(|| format!("`{key}` must be a table: [check] or [rules]"))?;
            match key.as_str() {
                "check" => part.iter().try_for_each(|(k, v)| settings.set(k, v))?,
                "rules" => part.iter().try_for_each(|(k, v)| settings.rule(k, v))?,
                _ => return Err(format!("there is no table [{key}]; there are [check] and [rules]")),
            }
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let text = || value.as_str().ok_or_else(|| format!("`check.{key}` must be a text"));
        match key {
            "device" => self.device = Some(text()?.to_owned()),
            "os" => self.os = Some(text()?.parse().map_err(|e: anemone_ane::UnknownOs| e.to_string())?),
            "units" => {
                let name = text()?;
                let units = Units::named(name);
                self.units = Some(units.ok_or_else(|| {
                    format!("`check.units` is `{name}`, but must be all, cpu-and-ne, cpu-and-gpu or cpu-only")
                })?);
            }
            "gates" => {
                let wrong = || "`check.gates` must be a list of texts".to_owned();
                for gate in value.as_array().ok_or_else(wrong)? {
                    self.gates.push(gate.as_str().ok_or_else(wrong)?.to_owned());
                }
            }
            _ => return Err(format!("there is no `check.{key}`; there are device, os, units and gates")),
        }
        Ok(())
    }

    fn rule(&mut self, name: &str, value: &toml::Value) -> Result<(), String> {
        if rules::named(name).is_none() {
            return Err(format!("there is no rule `{name}`; `anemone check --list` shows those there are"));
        }
        let wrong = || format!("`rules.{name}` must be \"off\", \"note\", \"warning\" or \"error\"");
        let text = value.as_str().ok_or_else(wrong)?;
        let severity = if text == "off" { None } else { Some(Severity::named(text).ok_or_else(wrong)?) };
        self.severities.insert(name.to_owned(), severity);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_what_is_not_known_is_refused() {
        let text = "[check]\ndevice = \"m1\"\nos = \"macOS 15\"\nunits = \"cpu-and-ne\"\ngates = [\"ane>=95%\"]\n\
                    [rules]\ntopk = \"off\"\nrecurrent = \"error\"\n";
        let settings = Settings::parse(text).expect("settings");
        assert_eq!((settings.device.as_deref(), settings.gates.len()), (Some("m1"), 1));
        assert_eq!(settings.severities["topk"], None);
        assert_eq!(settings.severities["recurrent"], Some(Severity::Error));
        let error = |text: &str| Settings::parse(text).expect_err("faulty");
        assert!(error("[check]\ncolour = 1").contains("colour"));
        assert!(error("[check]\nos = \"windows\"").contains("windows"));
        assert!(error("[rules]\ntopc = \"off\"").contains("topc"));
        assert!(error("[rules]\ntopk = \"loud\"").contains("\"off\""));
        assert!(error("gates = 1").contains("[check]") && error("[").contains("TOML"));
    }
}
