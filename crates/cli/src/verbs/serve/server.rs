//! Models and states of one client.

use super::failure::Failure;
use super::request::Request;
use crate::json::ServeAnswer as Answer;
use anemone::data::{read_safetensors, write_safetensors};
use anemone::files::Files;
use anemone::{DType, Error, Feature, Features, Model, State, Tensor};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What was given out, by number.
#[derive(Debug)]
pub(super) struct Server {
    threads: Option<usize>,
    models: BTreeMap<u64, Model>,
    /// A state and the number of its model.
    states: BTreeMap<u64, (u64, State)>,
    /// Numbers given out so far; none comes twice.
    given: u64,
}

impl Server {
    /// A server without models; `threads` as the machine has them where nothing is said.
    pub(super) fn new(threads: Option<usize>) -> Server {
        Server { threads, models: BTreeMap::new(), states: BTreeMap::new(), given: 0 }
    }

    /// Answers one request; a panic becomes a failure, and the model or state that it was about is forgotten.
    pub(super) fn answer(&mut self, request: Request) -> Result<Answer, Failure> {
        let model = match &request {
            Request::Predict { model, .. } => Some(*model),
            _ => None,
        };
        let answered = catch_unwind(AssertUnwindSafe(|| self.perform(request)));
        answered.unwrap_or_else(|cause| {
            // Nobody knows what it left behind.
            if let Some(model) = model {
                self.forget(model);
            }
            Err(Failure::panicked(&*cause))
        })
    }

    fn perform(&mut self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::Hello => Ok(Answer::hello()),
            Request::Load { path, function } => self.load(&path, function),
            Request::Predict { model, inputs, outputs, state } => {
                self.predict(model, inputs.as_deref(), &outputs, state)
            }
            Request::NewState { model } => self.new_state(model),
            Request::ReadState { state, name, outputs } => {
                let (_, held) = self.states.get(&state).ok_or_else(|| no_such("state", state))?;
                write(&outputs, vec![(name.clone(), in_a_file(held.read(&name)?)?)])?;
                Ok(Answer::done())
            }
            Request::WriteState { state, name, inputs } => self.write_state(state, &name, &inputs),
            Request::FreeModel(model) => {
                let known = self.models.contains_key(&model);
                self.forget(model);
                if known { Ok(Answer::done()) } else { Err(no_such("model", model)) }
            }
            Request::FreeState(state) => {
                let found = self.states.remove(&state).map(|_| Answer::done());
                found.ok_or_else(|| no_such("state", state))
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn forget(&mut self, model: u64) {
        self.models.remove(&model);
        self.states.retain(|_, (of, _)| *of != model);
    }

    fn load(&mut self, path: &Path, function: Option<String>) -> Result<Answer, Failure> {
        let mut options = Model::options();
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        if let Some(function) = function {
            options = options.function(function);
        }
        let model = options.load(path)?;
        let number = self.number();
        self.models.insert(number, model);
        Ok(Answer::model(number))
    }

    fn new_state(&mut self, model: u64) -> Result<Answer, Failure> {
        let state = self.models.get(&model).ok_or_else(|| no_such("model", model))?.new_state()?;
        let number = self.number();
        self.states.insert(number, (model, state));
        Ok(Answer::state(number))
    }

    fn write_state(&mut self, state: u64, name: &str, inputs: &Path) -> Result<Answer, Failure> {
        let (_, held) = self.states.get_mut(&state).ok_or_else(|| no_such("state", state))?;
        let mut tensors = read_safetensors(inputs)?;
        let Some(at) = tensors.iter().position(|(n, _)| n == name) else {
            let names: Vec<&str> = tensors.iter().map(|(n, _)| n.as_str()).collect();
            return Err(Failure::invalid(format!(
                "{} has no tensor `{name}`; it has {names:?}",
                inputs.display()
            )));
        };
        let tensor = tensors.swap_remove(at).1;
        let shape = held.read(name)?.shape().to_vec();
        let scalar = shape.is_empty() && tensor.len() == 1;
        let tensor = if scalar { tensor.reshaped(shape).map_err(Error::from_cause)? } else { tensor };
        held.write(name, &tensor)?;
        Ok(Answer::done())
    }

    fn predict(
        &mut self,
        number: u64,
        inputs: Option<&Path>,
        outputs: &Path,
        state: Option<u64>,
    ) -> Result<Answer, Failure> {
        let model = self.models.get_mut(&number).ok_or_else(|| no_such("model", number))?;
        let given: Features =
            inputs.map(read_safetensors).transpose()?.unwrap_or_default().into_iter().collect();
        let Some(state) = state else {
            let computed = model.predict(&given)?;
            return answer(model, &computed, outputs);
        };
        let (of, held) = self.states.get_mut(&state).ok_or_else(|| no_such("state", state))?;
        if *of != number {
            return Err(Failure::invalid(format!("state {state} is of model {of}, not of model {number}")));
        }
        // The state changes only when the outputs are written, too.
        let mut next = held.clone();
        let computed = model.predict_with_state(&given, &mut next)?;
        let answered = answer(model, &computed, outputs)?;
        *held = next;
        Ok(answered)
    }
}

fn no_such(what: &str, number: u64) -> Failure {
    Failure::invalid(format!("there is no {what} {number}; it was never given out, or is freed"))
}

/// Writes the tensors among the outputs and answers with the rest.
fn answer(model: &Model, computed: &Features, outputs: &Path) -> Result<Answer, Failure> {
    let mut tensors = Vec::new();
    let mut answer = Answer::done();
    for (name, feature) in computed.iter() {
        match feature {
            Feature::Tensor(t) => tensors.push((name.to_owned(), in_a_file(t.clone())?)),
            Feature::Double(v) => tensors.push((name.to_owned(), Tensor::scalar_f64(DType::F64, *v))),
            Feature::Int(v) if name != model.interface().predicted_feature => {
                let tensor = Tensor::from_i64s(DType::I64, [], &[*v]).map_err(Error::from_cause)?;
                tensors.push((name.to_owned(), tensor));
            }
            Feature::Int(v) => answer.label(name, (*v).into()),
            Feature::Text(text) => answer.label(name, text.as_str().into()),
            Feature::Dict(entries) => answer.dict(name, entries),
        }
    }
    write(outputs, tensors)?;
    Ok(answer)
}

/// A tensor of rank 0 is one element in a file.
fn in_a_file(tensor: Tensor) -> Result<Tensor, Error> {
    if tensor.rank() == 0 { tensor.reshaped([1]).map_err(Error::from_cause) } else { Ok(tensor) }
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<(), Error> {
    let mut files = Files::default();
    write_safetensors(path, &tensors, &mut files)?;
    files.finish().map(|_| ())
}
