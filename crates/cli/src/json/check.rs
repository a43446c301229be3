//! `anemone.check/1`, and SARIF 2.1.0.

use anemone::lint::{CheckOptions, Checked, Located};
use anemone::rules::{Severity, rules};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Findings and gates of several models.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    schema: &'static str,
    device: String,
    os: Option<String>,
    units: String,
    models: Vec<Model>,
}

#[derive(Debug, Serialize)]
struct Model {
    package: String,
    weight_bytes: u64,
    findings: Vec<Finding>,
    gates: Vec<Gate>,
}

#[derive(Debug, Serialize)]
struct Finding {
    rule: String,
    severity: String,
    function: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    op: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    message: String,
    help: String,
    facts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Gate {
    gate: String,
    function: String,
    passed: bool,
    found: String,
}

impl Check {
    pub(crate) fn of(checked: &[(PathBuf, Checked)], options: &CheckOptions) -> Check {
        Check {
            schema: "anemone.check/1",
            device: options.device.name.clone(),
            os: options.device.os.map(|os| os.to_string()),
            units: options.units.name().to_owned(),
            models: checked.iter().map(|(path, c)| Model::of(path, c)).collect(),
        }
    }
}

impl Model {
    fn of(path: &Path, c: &Checked) -> Model {
        let gate = |(function, g): &(String, anemone::rules::Judged)| Gate {
            gate: g.gate.clone(),
            function: function.clone(),
            passed: g.passed,
            found: g.found.clone(),
        };
        Model {
            package: path.display().to_string(),
            weight_bytes: c.weight_bytes,
            findings: c.findings.iter().map(Finding::of).collect(),
            gates: c.gates.iter().map(gate).collect(),
        }
    }
}

impl Finding {
    fn of(located: &Located) -> Finding {
        let f = &located.finding;
        let facts = f.rule.facts.iter().filter_map(|k| anemone::ane::Fact::named(k));
        Finding {
            rule: f.rule.name.to_owned(),
            severity: f.severity.to_string(),
            function: f.function.to_string(),
            op: f.value.clone(),
            kind: f.kind.clone(),
            line: located.line.as_ref().map(|l| l.number),
            text: located.line.as_ref().map(|l| l.text.clone()),
            message: f.message.clone(),
            help: f.rule.help.to_owned(),
            facts: facts.map(|k| k.id.clone()).collect(),
        }
    }
}

/// A log in SARIF 2.1.0.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Sarif(Value);

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

impl Sarif {
    pub(crate) fn of(checked: &[(PathBuf, Checked)]) -> Sarif {
        let rules: Vec<Value> = rules::ALL
            .iter()
            .map(|r| {
                json!({
                    "id": r.name,
                    "help": { "text": r.help, "markdown": r.page },
                    "defaultConfiguration": { "level": level(r.severity) },
                })
            })
            .collect();
        let results: Vec<Value> = checked
            .iter()
            .flat_map(|(path, c)| {
                let found = c.findings.iter().map(|f| result(path, f, c.is_text));
                found.chain(
                    c.gates.iter().filter(|(_, g)| !g.passed).map(|(function, g)| gate(path, function, g)),
                )
            })
            .collect();
        let driver = json!({
            "name": "anemone",
            "version": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        });
        Sarif(json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{ "tool": { "driver": driver }, "results": results }],
        }))
    }
}

fn uri(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/").replace(' ', "%20")
}

fn result(path: &Path, located: &Located, is_text: bool) -> Value {
    let f = &located.finding;
    let mut physical = json!({ "artifactLocation": { "uri": uri(path) } });
    if let (true, Some(line)) = (is_text, &located.line) {
        physical["region"] = json!({ "startLine": line.number });
    }
    let name =
        if f.value.is_empty() { f.function.to_string() } else { format!("{}/{}", f.function, f.value) };
    json!({
        "ruleId": f.rule.name,
        "level": level(f.severity),
        "message": { "text": format!("{}; {}", f.message, f.rule.help) },
        "locations": [{
            "physicalLocation": physical,
            "logicalLocations": [{ "fullyQualifiedName": name, "kind": "function" }],
        }],
    })
}

fn gate(path: &Path, function: &str, g: &anemone::rules::Judged) -> Value {
    json!({
        "level": "error",
        "message": { "text": format!("gate {} of {function} is not met: {}", g.gate, g.found) },
        "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri(path) } } }],
    })
}
