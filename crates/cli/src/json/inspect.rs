//! `anemone.inspect/1`.

use super::Count;
use crate::verbs::{container_name, encoding_name, feature_text};
use anemone::Inspection;
use anemone::mil::interface::{Feature, FunctionInterface, Metadata};
use anemone::package::{Overview, Summary};
use serde::Serialize;
use std::path::Path;

/// What a model is.
#[derive(Debug, Serialize)]
pub(crate) struct Inspect {
    schema: &'static str,
    path: String,
    container: &'static str,
    bytes: u64,
    model: Model,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<Vec<Count>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    specification_version: i32,
    default_function: String,
    functions: Vec<Function>,
    metadata: Meta,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
struct Stage {
    name: String,
    model: Model,
}

/// Features of a function.
#[derive(Debug, Serialize)]
pub(super) struct Function {
    name: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    states: Vec<Port>,
    #[serde(skip_serializing_if = "String::is_empty")]
    predicted_feature: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    predicted_probabilities: String,
}

#[derive(Debug, Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    optional: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
}

#[derive(Debug, Serialize)]
struct Meta {
    description: String,
    author: String,
    version: String,
    license: String,
    user: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Weights {
    parameters: u64,
    bytes: u64,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Group {
    encoding: String,
    dtype: String,
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

impl Inspect {
    pub(crate) fn of(path: &Path, i: &Inspection) -> Inspect {
        Inspect {
            schema: "anemone.inspect/1",
            path: path.display().to_string(),
            container: container_name(i.container),
            bytes: i.bytes,
            model: Model::of(&i.overview),
            ops: i.summary.as_ref().map(|s| Count::all(&s.ops)),
            weights: i.summary.as_ref().map(Weights::of),
            notes: i.notes.clone(),
        }
    }
}

impl Model {
    fn of(o: &Overview) -> Model {
        let Metadata { description, version, author, license, user } = o.interface.metadata.clone();
        Model {
            kind: o.kind.clone(),
            specification_version: o.interface.spec_version,
            default_function: o.interface.default_function.clone(),
            functions: o.interface.functions.iter().map(Function::of).collect(),
            metadata: Meta { description, author, version, license, user },
            stages: o
                .stages
                .iter()
                .map(|s| Stage { name: s.name.clone(), model: Model::of(&s.overview) })
                .collect(),
        }
    }
}

impl Function {
    pub(super) fn of(f: &FunctionInterface) -> Function {
        let port = |f: &Feature| Port {
            name: f.name.clone(),
            kind: feature_text(&f.kind),
            optional: f.optional,
            description: f.description.clone(),
        };
        Function {
            name: f.name.clone(),
            inputs: f.inputs.iter().map(port).collect(),
            outputs: f.outputs.iter().map(port).collect(),
            states: f.states.iter().map(port).collect(),
            predicted_feature: f.predicted_feature.clone(),
            predicted_probabilities: f.predicted_probabilities.clone(),
        }
    }
}

impl Weights {
    fn of(s: &Summary) -> Weights {
        let group = |g: &anemone::package::WeightGroup| Group {
            encoding: encoding_name(&g.encoding),
            dtype: g.dtype.to_string(),
            tensors: g.tensors,
            parameters: g.parameters,
            bytes: g.bytes,
        };
        Weights {
            parameters: s.parameters,
            bytes: s.weight_bytes,
            groups: s.weights.iter().map(group).collect(),
        }
    }
}
