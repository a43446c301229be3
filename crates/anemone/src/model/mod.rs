//! Models that are loaded and ready to predict.

mod interpret;
mod options;
mod state;

pub use options::{DEFAULT_MAX_BYTES, DEFAULT_PLANS, LoadOptions};
pub use state::State;

use crate::{Error, ErrorKind, Opened, features};
use anemone_exec::Session;
use anemone_mil::Function;
use anemone_mil::interface::{self, FunctionInterface};
use anemone_model::{Features, Port, Predict};
use std::path::Path;
use std::sync::Arc;

/// A model that is loaded and ready to predict.
///
/// What is needed of the package is read or mapped by then: the package may be deleted.
///
/// ```no_run
/// use anemone::{Features, Model, Tensor};
/// let mut model = Model::load("efficientnet-lite0.mlpackage")?;
/// let image = Tensor::zeros(anemone::DType::F32, [1, 3, 224, 224])?;
/// let outputs = model.predict(&Features::from_iter([("image", image)]))?;
/// println!("{:?}", outputs.tensor("logits"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Model {
    opened: Arc<Opened>,
    options: LoadOptions,
    interface: FunctionInterface,
    session: Session,
    /// The function, where it has states.
    stateful: Option<Function>,
    /// What a new state is.
    zeros: State,
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

    fn of(opened: Opened, options: LoadOptions) -> Result<Model, Error> {
        Model::shared(Arc::new(opened), options)
    }

    fn shared(opened: Arc<Opened>, options: LoadOptions) -> Result<Model, Error> {
        let verified = opened.verified(options.function.as_deref())?;
        let function = verified.function();
        check_known(function)?;
        let zeros = State::zeros(function)?;
        let session = Session::new(verified, &options.engine())?;
        let interface = opened.program.interface.function(&function.name).cloned();
        let stateful = (zeros.names().count() > 0).then(|| function.clone());
        Ok(Model { interface: interface.unwrap_or_default(), session, stateful, zeros, options, opened })
    }

    /// Another function of the same package, loaded with the same options; the weight file is mapped once.
    ///
    /// # Errors
    /// When there is no such function; the error lists those there are.
    pub fn function(&self, name: &str) -> Result<Model, Error> {
        Model::shared(self.opened.clone(), self.options.clone().function(name))
    }

    /// Names of the package's functions, the default one first.
    pub fn functions(&self) -> Vec<&str> {
        let default = self.opened.program.default_function().map(|f| &*f.name);
        let others = self.opened.program.functions.iter().map(|f| &*f.name).filter(|n| Some(*n) != default);
        default.into_iter().chain(others).collect()
    }

    /// Name of the function that this is.
    pub fn name(&self) -> &str {
        &self.interface.name
    }

    /// Inputs, outputs and states as the package describes them, and the outputs that a classifier's label and
    /// probabilities are in.
    pub fn interface(&self) -> &FunctionInterface {
        &self.interface
    }

    /// Inputs as the package describes them.
    pub fn inputs(&self) -> &[interface::Feature] {
        &self.interface.inputs
    }

    /// Outputs as the package describes them.
    pub fn outputs(&self) -> &[interface::Feature] {
        &self.interface.outputs
    }

    /// States as the package describes them.
    pub fn states(&self) -> &[interface::Feature] {
        &self.interface.states
    }

    /// True when predictions need a [`State`].
    pub fn is_stateful(&self) -> bool {
        self.stateful.is_some()
    }

    /// Tensors that the function takes, which are planes for pictures and may have free extents.
    pub(crate) fn ports(&self) -> &[Port] {
        self.session.inputs()
    }

    /// The engine behind it, which takes and gives the tensors of the function: planes for pictures, and every input.
    pub fn engine(&mut self) -> &mut dyn Predict {
        &mut self.session
    }

    /// A state of zeros.
    pub fn new_state(&self) -> State {
        self.zeros.clone()
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
        if self.is_stateful() {
            let names: Vec<&str> = self.zeros.names().collect();
            let what = format!("the function has states {names:?}; make a state with new_state and give it");
            return Err(Error::new(what).of_kind(ErrorKind::MissingState));
        }
        let taken = features::take(&self.interface, self.session.inputs(), inputs)?;
        let computed = self.session.predict(&taken)?;
        Ok(features::give(&self.interface, computed))
    }

    /// One prediction that reads and changes a state; functions without states take one, too, and leave it alone.
    ///
    /// # Errors
    /// As [`Model::predict`], and when the state was made by another model.
    pub fn predict_with_state(&mut self, inputs: &Features, state: &mut State) -> Result<Features, Error> {
        state.check_like(&self.zeros)?;
        let Some(function) = &self.stateful else { return self.predict(inputs) };
        let taken = features::take(&self.interface, self.session.inputs(), inputs)?;
        let computed = interpret::run(function, &taken, state, self.options.max_steps)?;
        Ok(features::give(&self.interface, computed))
    }

    /// Predictions that have nothing to do with each other, in order; a stateful function starts each with zeros.
    ///
    /// # Errors
    /// As [`Model::predict`]; the error says which one failed.
    pub fn predict_batch(&mut self, batch: &[Features]) -> Result<Vec<Features>, Error> {
        let one = |(i, inputs): (usize, &Features)| {
            let mut state = self.new_state();
            self.predict_with_state(inputs, &mut state).map_err(|e| e.within(&format!("inputs {i}")))
        };
        batch.iter().enumerate().map(one).collect()
    }
}

/// Every op must be one that the op table has.
fn check_known(function: &Function) -> Result<(), Error> {
    let mut foreign: Vec<&str> = Vec::new();
    for (_, id) in function.walk() {
        let kind = &function.op(id).kind;
        if kind.def().is_none() && !foreign.contains(&kind.name()) {
            foreign.push(kind.name());
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let what = format!("ops {foreign:?} are not in the op table and cannot be executed");
    Err(Error::new(what).of_kind(ErrorKind::Unsupported))
}
