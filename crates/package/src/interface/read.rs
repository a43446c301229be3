//! Description messages to interfaces.

use super::feature;
use crate::read::only_function;
use anemone_formats::coreml;
use anemone_mil::Interface;
use anemone_mil::interface::{Feature, FunctionInterface, Metadata};

/// What a model of any type says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// Name of the model type in `Model.proto`, such as `mlProgram` or `neuralNetwork`; empty when it has none.
    pub kind: String,
    /// Features, metadata and versions. Models other than ML programs have one function, `main`.
    pub interface: Interface,
    /// The models of a pipeline, in order; empty for everything else.
    pub stages: Vec<Stage>,
}

/// One model of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its name; empty when the pipeline names none.
    pub name: String,
    /// What it says of itself.
    pub overview: Overview,
}

impl Overview {
    /// True when the model is an ML program, which [`crate::read`] reads.
    pub fn is_program(&self) -> bool {
        self.kind == "mlProgram"
    }
}

/// The overview of a model and, for pipelines, of the models in it.
pub(crate) fn overview(model: &coreml::Model) -> Overview {
    let pipeline = model.kind.as_ref().and_then(coreml::ModelKind::pipeline);
    let stage = |(i, m): (usize, &coreml::Model)| Stage {
        name: pipeline.and_then(|p| p.names.get(i)).cloned().unwrap_or_default(),
        overview: overview(m),
    };
    Overview {
        kind: model.kind.as_ref().map(coreml::ModelKind::type_name).unwrap_or_default(),
        interface: interface(model, only_function(model)),
        stages: pipeline.map(|p| p.models.iter().enumerate().map(stage).collect()).unwrap_or_default(),
    }
}

/// The interface that a model describes, whose program has `only` this function, when it has one only.
///
/// The default function is the named one, else the only one, else `main`.
pub(crate) fn interface(model: &coreml::Model, only: Option<&str>) -> Interface {
    let empty = coreml::ModelDescription::default();
    let description = model.description.as_ref().unwrap_or(&empty);
    let multi_function = !description.functions.is_empty();
    let default_function = match description.default_function_name.as_str() {
        "" => only.unwrap_or("main").to_owned(),
        named => named.to_owned(),
    };
    let functions = if multi_function {
        description.functions.iter().map(one_of_several).collect()
    } else {
        vec![sole(&default_function, description)]
    };
    Interface {
        spec_version: model.specification_version,
        functions,
        default_function,
        multi_function,
        metadata: description.metadata.as_ref().map(metadata).unwrap_or_default(),
        updatable: model.is_updatable,
    }
}

fn features(messages: &[coreml::FeatureDescription]) -> Vec<Feature> {
    messages.iter().map(feature::read).collect()
}

fn sole(name: &str, d: &coreml::ModelDescription) -> FunctionInterface {
    FunctionInterface {
        name: name.to_owned(),
        inputs: features(&d.input),
        outputs: features(&d.output),
        states: features(&d.state),
        predicted_feature: d.predicted_feature_name.clone(),
        predicted_probabilities: d.predicted_probabilities_name.clone(),
        training_inputs: features(&d.training_input),
    }
}

fn one_of_several(d: &coreml::FunctionDescription) -> FunctionInterface {
    FunctionInterface {
        name: d.name.clone(),
        inputs: features(&d.input),
        outputs: features(&d.output),
        states: features(&d.state),
        predicted_feature: d.predicted_feature_name.clone(),
        predicted_probabilities: d.predicted_probabilities_name.clone(),
        training_inputs: Vec::new(),
    }
}

pub(super) fn metadata(m: &coreml::Metadata) -> Metadata {
    Metadata {
        description: m.short_description.clone(),
        version: m.version_string.clone(),
        author: m.author.clone(),
        license: m.license.clone(),
        user: m.user_defined.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
}
