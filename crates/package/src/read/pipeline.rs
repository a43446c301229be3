//! Pipelines of ML programs.

use super::weights::Weights;
use super::{lost, only_function, program};
use crate::{Error, ErrorKind, interface};
use anemone_formats::coreml::{self, ModelKind};
use anemone_mil::{Interface, Program};

/// ML programs that run one after the other, joined by the names of their features.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `pipeline`, `pipelineClassifier` or `pipelineRegressor`.
    pub kind: String,
    /// What the whole takes and gives; its one function is `main`.
    pub interface: Interface,
    /// The programs, in order.
    pub stages: Vec<PipelineStage>,
    /// What was left out while reading, in whole sentences.
    pub notes: Vec<String>,
}

/// One program of a pipeline.
#[derive(Clone, Debug)]
pub struct PipelineStage {
    /// Its name; empty when the pipeline names none.
    pub name: String,
    /// The program, with an interface of its own.
    pub program: Program,
}

/// The pipeline that a model is; `None` when it is something else.
pub(super) fn read(model: &coreml::Model, weights: &mut Weights<'_>) -> Result<Option<Pipeline>, Error> {
    let whole = interface::interface(model, None);
    let kind = model.kind.as_ref().map(ModelKind::type_name).unwrap_or_default();
    let Some(pipeline) = model.kind.as_ref().and_then(ModelKind::pipeline) else { return Ok(None) };
    if pipeline.models.is_empty() {
        let message = format!("the {kind} has no models; it needs at least one");
        return Err(Error::new(ErrorKind::Missing, message));
    }
    let mut notes = Vec::new();
    let mut stages = Vec::with_capacity(pipeline.models.len());
    for (i, model) in pipeline.models.iter().enumerate() {
        let name = pipeline.names.get(i).cloned().unwrap_or_default();
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let place = format!("stage {i}{named} of the {kind}");
        let program = stage(model, weights, &mut notes).map_err(|e| e.within(place))?;
        stages.push(PipelineStage { name, program });
    }
    Ok(Some(Pipeline { kind, interface: whole, stages, notes }))
}

fn stage(
    model: &coreml::Model,
    weights: &mut Weights<'_>,
    notes: &mut Vec<String>,
) -> Result<Program, Error> {
    let Some(ModelKind::MlProgram(message)) = &model.kind else {
        let kind = model.kind.as_ref().map_or_else(|| "model of no type".to_owned(), ModelKind::type_name);
        let message = format!(
            "is of type {kind}, but a pipeline runs only where every stage is of type mlProgram; convert the \
             source of that stage to an ML program"
        );
        return Err(Error::new(ErrorKind::ModelType, message));
    };
    notes.extend(lost::notes(message));
    program(message, interface::interface(model, only_function(model)), weights, notes)
}
