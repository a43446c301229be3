//! A loaded function, ready to predict.

use crate::channels_last::channels_last;
use crate::emulate::{EmulatedOp, Emulation, Ready};
use crate::kernels::simd::Isa;
use crate::lower::keep_packed;
use crate::plan::{Plan, Run};
use crate::plans::Plans;
use crate::pool::{Pool, Watch};
use crate::profile::Profiler;
use crate::specialise::{fold_limits, is_static, specialise};
use crate::{Options, State};
use anemone_mil::{Dim, Function, Literal, Tensor, Type, VerifiedFunction, fold_constants};
use anemone_model::{DictKey, Feature, Features, Observer, Port, Predict, PredictError};
use std::sync::Arc;

/// A function loaded into the CPU engine.
///
/// Plans are made at the first prediction with a set of input shapes, and the latest [`Options::plans`] of them kept. [`Predict::predict`] works on a state
/// of the session's own, which lasts as long as the session; [`Session::run`] on the one it is given.
pub struct Session {
    function: Function,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    pool: Pool,
    plans: Plans,
    options: Options,
    /// The state of predictions that are given none.
    own: Option<State>,
    emulated: Option<Arc<Ready>>,
}

impl Session {
    /// Loads a function of a verified program and folds what is constant; compressed weights that only products take
    /// stay compressed.
    ///
    /// # Errors
    /// When a weight is missing, or an op is not one that the op table knows.
    pub fn new(function: VerifiedFunction<'_>, options: &Options) -> Result<Session, PredictError> {
        Session::load(function, options, None)
    }

    /// As [`Session::new`], with some ops computed as the Neural Engine does.
    ///
    /// Ops must be declared `fp16`, which they are in the precision [`Declared`](crate::Precision::Declared).
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn emulating(
        function: VerifiedFunction<'_>,
        options: &Options,
        emulation: &Emulation,
    ) -> Result<Session, PredictError> {
        Session::load(function, options, Some(emulation))
    }

    fn load(
        function: VerifiedFunction<'_>,
        options: &Options,
        emulation: Option<&Emulation>,
    ) -> Result<Session, PredictError> {
        let mut function = function.function().clone();
        check_loadable(&function)?;
        options.precision.apply(&mut function);
        let emulated = emulation.map(|e| Arc::new(Ready::new(&mut function, e)));
        if emulated.is_none() {
            keep_packed(&mut function, fold_limits(options.memory_limit));
        }
        fold_constants(&mut function, fold_limits(options.memory_limit));
        let port = |v: &anemone_mil::ValueId| {
            let value = function.value(*v);
            let ty = value.ty.tensor()?;
            let shape = ty.dims.iter().map(Dim::known).collect();
            Some(Port { name: value.name.to_string(), dtype: ty.dtype, shape })
        };
        let inputs = function.inputs.iter().filter_map(port).collect();
        let outputs = function.outputs().iter().filter_map(port).collect();
        let pool = Pool::new(options.threads.max(1));
        let options = *options;
        Ok(Session {
            inputs,
            outputs,
            pool,
            plans: Plans::new(options.plans),
            options,
            own: None,
            emulated,
            function,
        })
    }

    /// The ops that are computed as the Neural Engine does, in program order, with what their sums came to so far.
    pub fn emulated(&self) -> Vec<EmulatedOp> {
        self.emulated.as_ref().map(|ready| ready.ops()).unwrap_or_default()
    }

    /// True when predictions read or write states.
    pub fn has_states(&self) -> bool {
        self.function.inputs.iter().any(|&v| matches!(self.function.value(v).ty, Type::State(_)))
    }

    /// Memory for the states of the function, all zeros; empty when it has none.
    ///
    /// # Errors
    /// When a state has no fixed shape or takes more memory than allowed.
    pub fn new_state(&self) -> Result<State, PredictError> {
        State::new(&self.function, self.options.memory_limit)
    }

    /// One prediction that reads and writes `state`.
    ///
    /// # Errors
    /// As [`Predict::predict`]; when the function has states and `state` is none or of another function; when loops
    /// run longer or tensors are larger than the options allow.
    pub fn run(&mut self, inputs: &Features, state: Option<&mut State>) -> Result<Features, PredictError> {
        self.go(inputs, state, None, None)
    }

    /// Bytes that intermediate tensors of the plans made so far take.
    pub fn arena_bytes(&self) -> usize {
        self.plans.iter().map(Plan::arena_bytes).sum()
    }

    /// Number of plans that are kept at the moment.
    pub fn plan_count(&self) -> usize {
        self.plans.iter().count()
    }

    /// Plans ahead of the first prediction, where all inputs have a fixed shape.
    ///
    /// # Errors
    /// When an op does not take its operands, or tensors are larger than the options allow.
    pub fn prepare(&mut self) -> Result<(), PredictError> {
        let fixed = |p: &Port| p.shape.iter().copied().collect::<Option<Vec<usize>>>();
        if let Some(shapes) = self.inputs.iter().map(fixed).collect::<Option<Vec<_>>>() {
            let plan = self.plan(&shapes, true)?;
            self.plans.insert((shapes, true), plan);
        }
        Ok(())
    }

    /// The steps of the plans made so far, for people.
    pub fn describe(&self) -> String {
        self.plans.iter().map(|p| format!("{p:?}\n")).collect()
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The instruction set of the kernels.
    pub fn isa(&self) -> Isa {
        self.pool.isa()
    }

    /// Tells `watch` of every thread that takes part in the work of an op; `None` ends that.
    pub fn watch(&mut self, watch: Option<Arc<dyn Watch>>) {
        self.pool.watch(watch);
    }

    /// One prediction on the session's own state that tells a profiler of every step.
    ///
    /// # Errors
    /// As [`Predict::predict`].
    pub fn predict_profiled(
        &mut self,
        inputs: &Features,
        profiler: &mut dyn Profiler,
    ) -> Result<Features, PredictError> {
        self.with_own_state(|session, state| session.go(inputs, Some(state), None, Some(profiler)))
    }

    /// One prediction that reads and writes `state` and shows every intermediate tensor.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_observed(
        &mut self,
        inputs: &Features,
        state: Option<&mut State>,
        observer: Observer<'_>,
    ) -> Result<Features, PredictError> {
        self.go(inputs, state, Some(observer), None)
    }

    fn go(
        &mut self,
        features: &Features,
        state: Option<&mut State>,
        observer: Option<Observer<'_>>,
        profiler: Option<&mut dyn Profiler>,
    ) -> Result<Features, PredictError> {
        let inputs = self.take_inputs(features)?;
        match &state {
            Some(state) => state.check(&self.function)?,
            None => State::none().check(&self.function)?,
        }
        let key = (inputs.iter().map(|t| t.shape().to_vec()).collect(), observer.is_none());
        if self.plans.find(&key).is_none() {
            self.plans.make_room();
            let plan = self.plan(&key.0, key.1)?;
            self.plans.insert(key.clone(), plan);
        }
        let Some(plan) = self.plans.find(&key) else { return Ok(Features::new()) };
        let profiler = profiler.map(|p| p as &mut dyn Profiler);
        let mut run = Run { pool: &self.pool, observer, profiler, state, iterations: 0 };
        let results = plan.run(&inputs, &mut run)?;
        let names = self.function.outputs().iter().map(|&v| self.function.value(v).name.to_string());
        Ok(names.zip(results).map(|(n, l)| (n, feature(l))).collect())
    }

    fn plan(&self, shapes: &[Vec<usize>], fuse: bool) -> Result<Plan, PredictError> {
        let function = if is_static(&self.function) {
            self.function.clone()
        } else {
            let limit = self.options.memory_limit;
            let mut function = specialise(&self.function, shapes, limit)?;
            if self.options.precision.apply_to_shapes(&mut function) {
                fold_constants(&mut function, fold_limits(limit));
            }
            function
        };
        // Observers see the values of the function as it is.
        let function = if fuse && self.emulated.is_none() { channels_last(function) } else { function };
        Plan::new(function, fuse, &self.pool, &self.options, self.emulated.clone())
    }

    /// A prediction on the session's own state.
    fn with_own_state(
        &mut self,
        predict: impl FnOnce(&mut Session, &mut State) -> Result<Features, PredictError>,
    ) -> Result<Features, PredictError> {
        let mut own = match self.own.take() {
            Some(state) => state,
            None => self.new_state()?,
        };
        let results = predict(self, &mut own);
        self.own = Some(own);
        results
    }

    /// The inputs in declared order, each of the declared type.
    fn take_inputs(&self, features: &Features) -> Result<Vec<Tensor>, PredictError> {
        for (name, _) in features.iter() {
            if !self.inputs.iter().any(|p| p.name == name) {
                let known = self.inputs.iter().map(|p| p.name.clone()).collect();
                return Err(PredictError::UnknownInput { name: name.to_owned(), known });
            }
        }
        self.inputs.iter().map(|port| take_input(port, features)).collect()
    }
}

fn take_input(port: &Port, features: &Features) -> Result<Tensor, PredictError> {
    let Some(tensor) = features.tensor(&port.name) else {
        let given = features.iter().map(|(n, _)| n.to_owned()).collect();
        return Err(PredictError::MissingInput { name: port.name.clone(), given });
    };
    // A scalar input is described as one element.
    let scalar = port.shape.is_empty() && tensor.len() == 1;
    let same_kind = tensor.dtype().is_float() == port.dtype.is_float();
    if !same_kind || !(scalar || port.accepts(tensor.shape())) {
        return Err(PredictError::InputType {
            name: port.name.clone(),
            actual: tensor.dtype(),
            actual_shape: tensor.shape().to_vec(),
            expected: port.dtype,
            expected_shape: port.shape.clone(),
        });
    }
    let tensor = tensor.cast(port.dtype);
    if scalar { tensor.reshaped([]).map_err(|e| PredictError::Load(e.to_string())) } else { Ok(tensor) }
}

/// Weights must be at hand, and every op known.
fn check_loadable(function: &Function) -> Result<(), PredictError> {
    for (_, id) in function.walk() {
        let op = function.op(id);
        let fail = |message: String| PredictError::Op {
            kind: op.kind.name().to_owned(),
            name: op.name.to_string(),
            message,
        };
        if op.kind.def().is_none() {
            return Err(fail("is not in the op table and cannot be executed".into()));
        }
        for v in op.operands() {
            if let Some(c) = function.constant(v)
                && let anemone_mil::Const::Weight(w) = c
                && !w.is_available()
            {
                let place = w
                    .origin
                    .as_ref()
                    .map_or_else(String::new, |b| format!(" (from {} at {})", b.path, b.offset));
                let name = &function.value(v).name;
                return Err(fail(format!(
                    "weight `{name}`{place} is missing; give the package its weight file"
                )));
            }
        }
    }
    Ok(())
}

fn feature(literal: Literal) -> Feature {
    match literal {
        Literal::Tensor(t) => Feature::Tensor(t),
        Literal::Strings { values, .. } => {
            Feature::Text(values.first().map_or_else(String::new, |v| v.to_string()))
        }
        Literal::List { items, .. } | Literal::Tuple(items) => {
            items.into_iter().next().map_or_else(|| Feature::Text(String::new()), feature)
        }
        Literal::Dict { entries, .. } => {
            Feature::Dict(entries.into_iter().filter_map(|(k, v)| entry(&k, &v)).collect())
        }
    }
}

fn entry(key: &Literal, value: &Literal) -> Option<(DictKey, f64)> {
    let number = value.as_tensor().filter(|t| !t.is_empty())?.f64_at(0);
    let key = match key {
        Literal::Tensor(t) if !t.is_empty() => DictKey::Int(t.i64_at(0)),
        other => DictKey::Text(other.as_str()?.to_owned()),
    };
    Some((key, number))
}

impl Predict for Session {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn predict(&mut self, inputs: &Features) -> Result<Features, PredictError> {
        self.with_own_state(|session, state| session.go(inputs, Some(state), None, None))
    }

    fn predict_observed(
        &mut self,
        inputs: &Features,
        observer: Observer<'_>,
    ) -> Result<Features, PredictError> {
        self.with_own_state(|session, state| session.go(inputs, Some(state), Some(observer), None))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("inputs", &self.inputs).field("outputs", &self.outputs).finish()
    }
}
