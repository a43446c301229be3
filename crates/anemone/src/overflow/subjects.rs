//! The programs of a model, each with the inputs that it takes there.

use crate::data::{self, Inputs};
use crate::open::{Loadable, open_loadable, programs};
use crate::{Error, Model, features};
use anemone_exec::Precision;
use anemone_mil::Program;
use anemone_mil::interface::FunctionInterface;
use anemone_model::{Features, Port};
use std::path::Path;

/// A program: the whole model, or one of a pipeline.
pub(crate) struct Subject<'a> {
    /// What stands before the names of its ops: nothing, or the stage of a pipeline and a slash.
    pub prefix: String,
    pub program: Program,
    /// Function that runs; the default one when nothing is said.
    pub function: Option<String>,
    given: Given<'a>,
}

enum Given<'a> {
    Files(&'a Inputs),
    /// What it took when the pipeline ran in `fp32`.
    Seen(Features),
}

impl Subject<'_> {
    /// The tensors that its function takes.
    ///
    /// # Errors
    /// When an input does not load or does not fit.
    pub fn inputs(&self, interface: &FunctionInterface, ports: &[Port]) -> Result<Features, Error> {
        match &self.given {
            Given::Files(inputs) => {
                features::take(interface, ports, &data::gather(inputs, interface, ports)?)
            }
            Given::Seen(taken) => features::take(interface, ports, taken),
        }
    }
}

/// The programs of the model at `path`, in the order in which they run; a pipeline runs once for their inputs.
///
/// # Errors
/// When the model or an input does not load, or a stage of the pipeline fails.
pub(crate) fn subjects<'a>(
    path: &Path,
    function: Option<&str>,
    inputs: &'a Inputs,
) -> Result<Vec<Subject<'a>>, Error> {
    let pipeline = match open_loadable(path)? {
        Loadable::Program(opened) => {
            let (program, function) = (opened.program, function.map(str::to_owned));
            return Ok(vec![Subject {
                prefix: String::new(),
                program,
                function,
                given: Given::Files(inputs),
            }]);
        }
        Loadable::Pipeline(pipeline) => pipeline,
    };
    let programs = programs(&pipeline);
    let mut options = Model::options().precision(Precision::F32);
    if let Some(function) = function {
        options = options.function(function);
    }
    let mut model = Model::of(Loadable::Pipeline(pipeline), options)?;
    let given = data::gather(inputs, model.interface(), model.ports())?;
    let seen = model.taken_by_programs(&given)?;
    let subject = |((stage, program), taken): ((String, Program), Features)| Subject {
        prefix: format!("{stage}/"),
        program,
        function: None,
        given: Given::Seen(taken),
    };
    Ok(programs.into_iter().zip(seen).map(subject).collect())
}
