//! Pipelines of models that run.

use super::suppression::{self, Suppression};
use super::weights::Weights;
use super::{lost, only_function, program};
use crate::{Error, ErrorKind, interface};
use anemone_formats::coreml::{self, ModelKind};
use anemone_mil::{Interface, Program};

/// Pipelines that are within each other at most; each that is deeper takes stack while it loads and runs.
const MAX_NESTED: usize = 16;

/// Models that run one after the other, joined by the names of their features.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `pipeline`, `pipelineClassifier` or `pipelineRegressor`.
    pub kind: String,
    /// What the whole takes and gives; its one function is `main`.
    pub interface: Interface,
    /// The models, in order.
    pub stages: Vec<PipelineStage>,
    /// What was left out while reading, in whole sentences.
    pub notes: Vec<String>,
}

/// One model of a pipeline.
#[derive(Clone, Debug)]
pub struct PipelineStage {
    /// Its name; empty when the pipeline names none.
    pub name: String,
    /// What it is.
    pub model: StageModel,
}

/// What a stage of a pipeline can be.
#[derive(Clone, Debug)]
pub enum StageModel {
    /// An ML program, with an interface of its own.
    Program(Box<Program>),
    /// A pipeline, whose own stages see only what it takes.
    Pipeline(Box<Pipeline>),
    /// Non-maximum suppression.
    Suppression(Box<Suppression>),
}

/// The pipeline that a model is; `None` when it is something else.
pub(super) fn read(model: &coreml::Model, weights: &mut Weights<'_>) -> Result<Option<Pipeline>, Error> {
    match model.kind.as_ref().and_then(ModelKind::pipeline) {
        Some(pipeline) => nested(model, pipeline, weights, 1).map(Some),
        None => Ok(None),
    }
}

/// The pipeline that a model is, the outermost one being at level 1.
fn nested(
    model: &coreml::Model,
    pipeline: &coreml::Pipeline,
    weights: &mut Weights<'_>,
    level: usize,
) -> Result<Pipeline, Error> {
    let kind = model.kind.as_ref().map(ModelKind::type_name).unwrap_or_default();
    if pipeline.models.is_empty() {
        let message = format!("the {kind} has no models; it needs at least one");
        return Err(Error::new(ErrorKind::Missing, message));
    }
    if level > MAX_NESTED {
        let message = format!(
            "pipelines are nested more than {MAX_NESTED} deep; put the stages of the inner ones into the outer one"
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let mut notes = Vec::new();
    let mut stages = Vec::with_capacity(pipeline.models.len());
    for (i, model) in pipeline.models.iter().enumerate() {
        let name = pipeline.names.get(i).cloned().unwrap_or_default();
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let place = format!("stage {i}{named} of the {kind}");
        let model = stage(model, weights, &mut notes, level).map_err(|e| e.within(place))?;
        stages.push(PipelineStage { name, model });
    }
    Ok(Pipeline { kind, interface: interface::interface(model, None), stages, notes })
}

fn stage(
    model: &coreml::Model,
    weights: &mut Weights<'_>,
    notes: &mut Vec<String>,
    level: usize,
) -> Result<StageModel, Error> {
    match &model.kind {
        Some(ModelKind::MlProgram(message)) => {
            notes.extend(lost::notes(message));
            let described = interface::interface(model, only_function(model));
            Ok(StageModel::Program(Box::new(program(message, described, weights, notes)?)))
        }
        Some(ModelKind::NonMaximumSuppression(message)) => {
            Ok(StageModel::Suppression(Box::new(suppression::read(model, message)?)))
        }
        Some(kind) => match kind.pipeline() {
            Some(inner) => {
                let mut inner = nested(model, inner, weights, level + 1)?;
                notes.append(&mut inner.notes);
                Ok(StageModel::Pipeline(Box::new(inner)))
            }
            None => Err(no_stage(&kind.type_name())),
        },
        None => Err(no_stage("no type")),
    }
}

fn no_stage(kind: &str) -> Error {
    let message = format!(
        "is of type {kind}, but a stage that runs is of type mlProgram, nonMaximumSuppression or one of the \
         pipelines; convert the source of that stage to an ML program"
    );
    Error::new(ErrorKind::ModelType, message)
}
