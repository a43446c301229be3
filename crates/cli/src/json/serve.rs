//! Answers of `serve`, protocol 1: one object a line.

use anemone::DictKey;
use serde::Serialize;
use serde_json::{Map, Number, Value};

/// What a request that worked adds to its answer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ServeAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<u64>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    dicts: Map<String, Value>,
}

impl ServeAnswer {
    /// Nothing to add.
    pub(crate) fn done() -> ServeAnswer {
        ServeAnswer::default()
    }

    /// Who answers.
    pub(crate) fn hello() -> ServeAnswer {
        let (name, version) = ("anemone", env!("CARGO_PKG_VERSION"));
        ServeAnswer { name: Some(name), version: Some(version), protocol: Some(1), ..ServeAnswer::default() }
    }

    /// The number of a model.
    pub(crate) fn model(number: u64) -> ServeAnswer {
        ServeAnswer { model: Some(number), ..ServeAnswer::default() }
    }

    /// The number of a state.
    pub(crate) fn state(number: u64) -> ServeAnswer {
        ServeAnswer { state: Some(number), ..ServeAnswer::default() }
    }

    /// Adds a classifier's label.
    pub(crate) fn label(&mut self, output: &str, label: Value) {
        self.labels.insert(output.to_owned(), label);
    }

    /// Adds a classifier's probabilities; one that is no number is null.
    pub(crate) fn dict(&mut self, output: &str, entries: &[(DictKey, f64)]) {
        let key = |k: &DictKey| match k {
            DictKey::Text(t) => Value::from(t.as_str()),
            DictKey::Int(i) => Value::from(*i),
        };
        let entries: Vec<Value> =
            entries.iter().map(|(k, p)| Value::from(vec![key(k), Value::from(*p)])).collect();
        self.dicts.insert(output.to_owned(), entries.into());
    }
}

/// One line of the answer to a request.
#[derive(Debug, Serialize)]
pub(crate) struct ServeLine<'a> {
    id: Option<&'a Number>,
    ok: bool,
    #[serde(flatten)]
    answer: Option<&'a ServeAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> ServeLine<'a> {
    /// It worked.
    pub(crate) fn done(id: Option<&'a Number>, answer: &'a ServeAnswer) -> ServeLine<'a> {
        ServeLine { id, ok: true, answer: Some(answer), kind: None, error: None }
    }

    /// It failed; `id` is null where the request has none.
    pub(crate) fn failed(id: Option<&'a Number>, kind: &'static str, error: &'a str) -> ServeLine<'a> {
        ServeLine { id, ok: false, answer: None, kind: Some(kind), error: Some(error) }
    }
}
