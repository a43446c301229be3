//! A loaded function, ready to predict.

use crate::plan::Plan;
use crate::pool::Pool;
use crate::precision::Precision;
use crate::profile::{Profiler, REFERENCE, describe};
use crate::specialise::{FOLD_ALL, is_static, specialise};
use anemone_mil::eval;
use anemone_mil::{Dim, Function, Literal, Name, Tensor, VerifiedFunction, fold_constants};
use anemone_model::{DictKey, Feature, Features, Observer, Port, Predict, PredictError};
use std::collections::{BTreeMap, HashMap};

/// How a session computes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that share the work; at least 1.
    pub threads: usize,
    /// Which numbers it computes with.
    pub precision: Precision,
}

impl Default for Options {
    /// One thread, and the numbers that the program declares.
    fn default() -> Options {
        Options { threads: 1, precision: Precision::Declared }
    }
}

/// A function loaded into the CPU engine.
///
/// Plans are made at the first prediction with a set of input shapes and kept.
pub struct Session {
    function: Function,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    pool: Pool,
    plans: HashMap<(Vec<Vec<usize>>, bool), Option<Plan>>,
    states: BTreeMap<Name, Literal>,
}

impl Session {
    /// Loads a function of a verified program: unpacks its weights and folds what is constant.
    ///
    /// # Errors
    /// When a weight is missing, or an op is not one that the op table knows.
    pub fn new(function: VerifiedFunction<'_>, options: &Options) -> Result<Session, PredictError> {
        let mut function = function.function().clone();
        check_loadable(&function)?;
        options.precision.apply(&mut function);
        fold_constants(&mut function, FOLD_ALL);
        let port = |v: &anemone_mil::ValueId| {
            let value = function.value(*v);
            let ty = value.ty.tensor()?;
            let shape = ty.dims.iter().map(Dim::known).collect();
            Some(Port { name: value.name.to_string(), dtype: ty.dtype, shape })
        };
        let inputs = function.inputs.iter().filter_map(port).collect();
        let outputs = function.outputs().iter().filter_map(port).collect();
        let pool = Pool::new(options.threads.max(1));
        Ok(Session { inputs, outputs, pool, plans: HashMap::new(), states: BTreeMap::new(), function })
    }

    /// Bytes that intermediate tensors of the plans made so far take.
    pub fn arena_bytes(&self) -> usize {
        self.plans.values().flatten().map(Plan::arena_bytes).sum()
    }

    /// Plans ahead of the first prediction, where all inputs have a fixed shape.
    pub fn prepare(&mut self) {
        let fixed = |p: &Port| p.shape.iter().copied().collect::<Option<Vec<usize>>>();
        if let Some(shapes) = self.inputs.iter().map(fixed).collect::<Option<Vec<_>>>() {
            let plan = self.plan(&shapes, true);
            self.plans.insert((shapes, true), plan);
        }
    }

    /// The steps of the plans made so far, for people.
    pub fn describe(&self) -> String {
        self.plans.values().flatten().map(|p| format!("{p:?}\n")).collect()
    }

    /// One prediction that tells a profiler of every step.
    ///
    /// # Errors
    /// As [`Predict::predict`].
    pub fn predict_profiled(
        &mut self,
        inputs: &Features,
        profiler: &mut dyn Profiler,
    ) -> Result<Features, PredictError> {
        self.run(inputs, None, Some(profiler))
    }

    fn run(
        &mut self,
        features: &Features,
        observer: Option<Observer<'_>>,
        profiler: Option<&mut dyn Profiler>,
    ) -> Result<Features, PredictError> {
        let inputs = self.take_inputs(features)?;
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|t| t.shape().to_vec()).collect();
        let key = (shapes, observer.is_none());
        if !self.plans.contains_key(&key) {
            let plan = self.plan(&key.0, key.1);
            self.plans.insert(key.clone(), plan);
        }
        let results = match self.plans.get_mut(&key) {
            Some(Some(plan)) => plan.run(&inputs, &self.pool, observer, profiler)?,
            _ => interpret(&self.function, &self.inputs, &inputs, &mut self.states, observer, profiler)?,
        };
        let names = self.function.outputs().iter().map(|&v| self.function.value(v).name.to_string());
        Ok(names.zip(results).map(|(n, l)| (n, feature(l))).collect())
    }

    /// The plan for inputs of these shapes; `None` where the function has to be interpreted.
    fn plan(&self, shapes: &[Vec<usize>], fuse: bool) -> Option<Plan> {
        let function = if is_static(&self.function) {
            Some(self.function.clone())
        } else {
            specialise(&self.function, shapes)
        };
        function.map(|f| Plan::new(f, fuse, &self.pool))
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

fn interpret(
    function: &Function,
    ports: &[Port],
    inputs: &[Tensor],
    states: &mut BTreeMap<Name, Literal>,
    mut observer: Option<Observer<'_>>,
    mut profiler: Option<&mut dyn Profiler>,
) -> Result<Vec<Literal>, PredictError> {
    let named: BTreeMap<_, _> =
        ports.iter().zip(inputs).map(|(p, t)| (p.name.as_str().into(), t.clone().into())).collect();
    if let Some(profiler) = profiler.as_mut() {
        profiler.start();
    }
    let mut watch = |v: anemone_mil::ValueId, l: &Literal| {
        if let (Some(observe), Literal::Tensor(t)) = (observer.as_mut(), l) {
            observe(&function.value(v).name, t);
        }
        if let (Some(profiler), Some(op)) = (profiler.as_mut(), function.producer(v))
            && function.op(op).outputs.last() == Some(&v)
        {
            profiler.step(op.index(), &|| describe(function, op, op, REFERENCE));
        }
    };
    let mut options = eval::Options { observer: Some(&mut watch), ..eval::Options::default() };
    let results = eval::run(function, &named, states, &mut options);
    let mut results = results.map_err(|e| PredictError::Load(e.to_string()))?;
    let outputs = function.outputs().iter();
    let take = |v: &anemone_mil::ValueId| {
        let name = &function.value(*v).name;
        results.remove(name).ok_or_else(|| PredictError::Load(format!("output `{name}` was never computed")))
    };
    outputs.map(take).collect()
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
        self.run(inputs, None, None)
    }

    fn predict_observed(
        &mut self,
        inputs: &Features,
        observer: Observer<'_>,
    ) -> Result<Features, PredictError> {
        self.run(inputs, Some(observer), None)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("inputs", &self.inputs).field("outputs", &self.outputs).finish()
    }
}
