//! Models that are loaded and ready to predict.

mod chain;
mod measure;
mod options;
mod stage;
mod state;
mod step;
mod suppress;

pub use options::LoadOptions;
pub use state::State;
pub use suppress::Detection;

use crate::open::Loadable;
use crate::{Error, ErrorKind};
use anemone_exec::EmulatedOp;
use anemone_mil::interface::{self, FunctionInterface};
use anemone_model::{Features, Port};
use chain::Chain;
use stage::Stage;
use std::path::Path;
use std::sync::Arc;
use step::{OnStates, Step};

/// A model that is loaded and ready to predict.
///
/// What is needed of the package is read or mapped by then: the package may be deleted.
///
/// ```
/// use anemone::{ErrorKind, Features, Model, Tensor};
///
/// // Adds two tensors of any number of rows from 2 up.
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../corpus/interfaces/range-open/model.mlpackage");
/// let mut model = Model::options().threads(1).load(path)?;
/// let rows = |n: usize, v: f32| Tensor::from_f32s([n, 4], &vec![v; n * 4]);
/// let inputs = Features::from_iter([("a", rows(5, 1.0)?), ("b", rows(5, 0.5)?)]);
/// let outputs = model.predict(&inputs)?;
/// assert_eq!(outputs.tensor("sum").map(Tensor::to_f32s), Some(vec![1.5; 20]));
///
/// // Errors say what they are about, and the model lives on.
/// let one_row = Features::from_iter([("a", rows(1, 1.0)?), ("b", rows(1, 0.5)?)]);
/// assert_eq!(model.predict(&one_row).unwrap_err().kind(), ErrorKind::WrongShape);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Model {
    source: Arc<Loadable>,
    options: LoadOptions,
    /// The program, or the pipeline.
    step: Step,
}

impl Model {
    /// Loads the default function of a package or compiled model.
    ///
    /// # Errors
    /// When nothing that can be run is at `path`, or it is faulty.
    pub fn load(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::options().load(path)
    }

    /// Choices to make before loading: function, threads, limits.
    pub fn options() -> LoadOptions {
        LoadOptions::default()
    }

    pub(crate) fn of(source: Loadable, options: LoadOptions) -> Result<Model, Error> {
        Model::shared(Arc::new(source), options)
    }

    fn shared(source: Arc<Loadable>, options: LoadOptions) -> Result<Model, Error> {
        let function = options.function.as_deref();
        let step = match &*source {
            Loadable::Program(opened) => {
                Step::Program(Box::new(Stage::load(&opened.program, function, &options)?))
            }
            Loadable::Pipeline(pipeline) => Step::Chain(Box::new(Chain::load(pipeline, function, &options)?)),
        };
        Ok(Model { source, options, step })
    }

    /// Another function of the same package, loaded with the same options; the weight file is mapped once.
    ///
    /// # Errors
    /// When there is no such function; the error lists those there are.
    pub fn function(&self, name: &str) -> Result<Model, Error> {
        Model::shared(self.source.clone(), self.options.clone().function(name))
    }

    /// Names of the package's functions, the default one first.
    pub fn functions(&self) -> Vec<&str> {
        match &*self.source {
            Loadable::Pipeline(pipeline) => pipeline.interface.functions.iter().map(|f| &*f.name).collect(),
            Loadable::Program(opened) => {
                let program = &opened.program;
                let default = program.default_function().map(|f| &*f.name);
                let others = program.functions.iter().map(|f| &*f.name).filter(|n| Some(*n) != default);
                default.into_iter().chain(others).collect()
            }
        }
    }

    /// Names of the stages of a pipeline, in order; empty for everything else.
    pub fn stages(&self) -> Vec<&str> {
        match &self.step {
            Step::Chain(chain) => chain.steps.iter().map(|(name, _)| name.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// Name of the function that this is.
    pub fn name(&self) -> &str {
        &self.interface().name
    }

    /// Inputs, outputs and states as the package describes them, and the outputs that a classifier's label and
    /// probabilities are in.
    pub fn interface(&self) -> &FunctionInterface {
        self.step.interface()
    }

    /// Inputs as the package describes them.
    pub fn inputs(&self) -> &[interface::Feature] {
        &self.interface().inputs
    }

    /// Outputs as the package describes them.
    pub fn outputs(&self) -> &[interface::Feature] {
        &self.interface().outputs
    }

    /// States as the package describes them.
    pub fn states(&self) -> &[interface::Feature] {
        &self.interface().states
    }

    /// True when predictions need a [`State`].
    pub fn is_stateful(&self) -> bool {
        self.step.programs().iter().any(|s| s.session.has_states())
    }

    /// The ops that are computed as a Neural Engine does, in program order; of a pipeline, of all its programs.
    pub fn emulated(&self) -> Vec<EmulatedOp> {
        self.step.programs().iter().flat_map(|s| s.session.emulated()).collect()
    }

    /// Tensors that the function takes, which are planes for pictures and may have free extents.
    pub(crate) fn ports(&self) -> &[Port] {
        self.step.ports()
    }

    /// A state of zeros; an empty one where the model has no states.
    ///
    /// # Errors
    /// When it would take more memory than the limit, or a state has no fixed shape.
    pub fn new_state(&self) -> Result<State, Error> {
        let programs = self.step.programs();
        let stages: Result<Vec<_>, _> = programs.iter().map(|s| s.session.new_state()).collect();
        Ok(State { stages: stages? })
    }

    /// One prediction of a function without states.
    ///
    /// Features are those of the interface: a picture is `uint8 [height, width, 3]`, red first whatever the model's
    /// layout, or `[height, width]` for grayscale, and `fp32 [height, width]` for 16-bit-float grayscale. Tensors of
    /// another float type than declared are converted; optional inputs may be left out.
    ///
    /// # Errors
    /// When an input is missing, unknown, or of a type or shape that the model does not allow, when the function has
    /// states, or an op cannot be computed.
    pub fn predict(&mut self, inputs: &Features) -> Result<Features, Error> {
        if !self.is_stateful() {
            let mut none = self.new_state()?;
            return self.predict_with_state(inputs, &mut none);
        }
        let names: Vec<&str> = self.states().iter().map(|f| f.name.as_str()).collect();
        let what = format!("the function has states {names:?}; make a state with new_state and give it");
        Err(Error::new(what).of_kind(ErrorKind::MissingState))
    }

    /// One prediction that reads and changes a state; functions without states take one, too, and leave it alone.
    ///
    /// # Errors
    /// As [`Model::predict`], and when the state was made by another model. A prediction that fails on its way may have
    /// changed the state already.
    pub fn predict_with_state(&mut self, inputs: &Features, state: &mut State) -> Result<Features, Error> {
        if state.stages.len() != self.step.programs().len() {
            let what = "the state is of another model; make one with new_state of the model it is given to";
            return Err(Error::new(what).of_kind(ErrorKind::UnknownState));
        }
        self.step.predict(inputs, &mut OnStates(state.stages.iter_mut()))
    }

    /// The objects that a detector found, from the outputs of a prediction, the most confident first; none for models that
    /// do not end in non-maximum suppression.
    pub fn detections(&self, outputs: &Features) -> Vec<Detection> {
        self.step.suppression().map(|s| s.detections(outputs)).unwrap_or_default()
    }

    /// Predictions that have nothing to do with each other, in order; a stateful function starts each with zeros.
    ///
    /// # Errors
    /// As [`Model::predict`]; the error says which one failed.
    pub fn predict_batch(&mut self, batch: &[Features]) -> Result<Vec<Features>, Error> {
        let one = |(i, inputs): (usize, &Features)| {
            let mut state = self.new_state()?;
            self.predict_with_state(inputs, &mut state).map_err(|e| e.within(&format!("inputs {i}")))
        };
        batch.iter().enumerate().map(one).collect()
    }
}
