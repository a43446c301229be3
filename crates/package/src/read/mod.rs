//! Containers to programs.

mod function;
mod lost;
mod pipeline;
mod suppression;
pub(crate) mod types;
mod value;
pub(crate) mod weights;

use crate::container::{Container, Kept};
use crate::interface::{self, Overview};
use crate::{Error, ErrorKind, Source, unknown};
use anemone_formats::coreml::{self, ModelKind, mil};
use anemone_mil::{Interface, Program};
use anemone_tensor::Bytes;
use weights::Weights;

pub use pipeline::{Pipeline, PipelineStage, StageModel};
pub use suppression::Suppression;

/// A package that was read.
#[derive(Clone, Debug)]
pub struct Package {
    /// The program and its interface.
    pub program: Program,
    /// What the container says beyond the program; goes back into [`crate::write`].
    pub kept: Kept,
    /// What was left out while reading, in whole sentences.
    pub notes: Vec<String>,
}

/// Reads a package whose model is an ML program. Weights share the mapped weight file.
///
/// # Errors
/// When a file is missing or malformed, the model is of another type (named in the error; [`overview`] still reads
/// its interface), a weight is not where the program says, or names, types and sizes do not fit together. The
/// error names function, op and argument.
pub fn read(source: &dyn Source) -> Result<Package, Error> {
    let container = Container::open(source)?;
    let model = container.model()?;
    package(&container, model)
}

fn package(container: &Container<'_>, mut model: coreml::Model) -> Result<Package, Error> {
    let interface = interface::interface(&model, only_function(&model));
    let message = match model.kind.take() {
        Some(ModelKind::MlProgram(program)) => program,
        other => return Err(not_a_program(other.as_ref())),
    };
    let mut notes = lost::notes(&message);
    let mut weights = container.weights();
    let program = program(&message, interface, &mut weights, &mut notes)?;
    let kept = container.keep(model, &weights)?;
    Ok(Package { program, kept, notes })
}

/// What a package can hold that runs.
#[derive(Clone, Debug)]
pub enum Runnable {
    /// An ML program.
    Program(Box<Package>),
    /// Models that run one after the other.
    Pipeline(Box<Pipeline>),
}

/// Reads a package whose model is an ML program, or a pipeline of ML programs, of non-maximum suppression and of further
/// pipelines.
///
/// # Errors
/// As [`read`]; the error names the stage of a pipeline that is something else, and its type.
pub fn read_runnable(source: &dyn Source) -> Result<Runnable, Error> {
    let container = Container::open(source)?;
    let model = container.model()?;
    if let Some(pipeline) = pipeline::read(&model, &mut container.weights())? {
        return Ok(Runnable::Pipeline(Box::new(pipeline)));
    }
    package(&container, model).map(|p| Runnable::Program(Box::new(p)))
}

/// What the model of a package says of itself, whatever its type.
///
/// # Errors
/// When the manifest or the model file is missing or malformed.
pub fn overview(source: &dyn Source) -> Result<Overview, Error> {
    Container::open(source)?.model().map(|m| interface::overview(&m))
}

/// What a model file on its own (`.mlmodel`) says of itself, whatever its type.
///
/// # Errors
/// When the bytes are not a model.
pub fn model_overview(bytes: &Bytes) -> Result<Overview, Error> {
    let model = coreml::Model::read(bytes).map_err(|e| Error::format("model file", e))?;
    Ok(interface::overview(&model))
}

fn program(
    message: &mil::Program,
    interface: Interface,
    weights: &mut Weights<'_>,
    notes: &mut Vec<String>,
) -> Result<Program, Error> {
    if message.version != 1 {
        let text = format!("program version {} is not supported; version 1 is", message.version);
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    let functions = message.functions.iter().map(|(name, f)| function::function(name, f, weights, notes));
    Ok(Program {
        version: message.version,
        functions: functions.collect::<Result<_, _>>()?,
        interface,
        attributes: function::literals(&message.attributes, weights)?,
        doc: message.doc_string.clone(),
        unknown: unknown::bytes(&message.unknown),
    })
}

/// Name of the program's function, when it has one only.
pub(crate) fn only_function(model: &coreml::Model) -> Option<&str> {
    match &model.kind {
        Some(ModelKind::MlProgram(program)) if program.functions.len() == 1 => {
            program.functions.keys().next().map(String::as_str)
        }
        _ => None,
    }
}

fn not_a_program(kind: Option<&ModelKind>) -> Error {
    let what = match kind {
        Some(kind) if kind.pipeline().is_some() => {
            format!("the model is a {}; open one of its models on its own, or convert them", kind.type_name())
        }
        Some(kind) => format!("the model is a {}", kind.type_name()),
        None => "the model names no type".to_owned(),
    };
    let message = format!(
        "{what}; only ML programs can be opened. Convert its source again with a target of iOS 15 or newer \
         and the type mlProgram"
    );
    Error::new(ErrorKind::ModelType, message)
}
