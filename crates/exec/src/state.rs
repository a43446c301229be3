//! Memory that outlives a prediction.

use crate::memory;
use anemone_mil::{DType, Function, Tensor, TensorType, Type};
use anemone_model::PredictError;

/// The states of a function, such as a key-value cache: all zeros at first, changed by each prediction it is given to.
///
/// Made by [`Session::new_state`](crate::Session::new_state); any number of them may live side by side.
#[derive(Clone, Debug)]
pub struct State {
    slots: Vec<Slot>,
}

/// One state. Float tensors of at most single precision are held as `f32`, as in the arena.
#[derive(Clone, Debug)]
struct Slot {
    name: String,
    ty: TensorType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    Floats(Vec<f32>),
    Tensor(Tensor),
}

impl State {
    /// Zeros for every state that the function takes.
    pub(crate) fn new(function: &Function, limit: u64) -> Result<State, PredictError> {
        let states = function.inputs.iter().map(|&v| function.value(v));
        let slots = states.filter_map(|v| match &v.ty {
            Type::State(ty) => Some(Slot::new(v.name.to_string(), ty, limit)),
            _ => None,
        });
        Ok(State { slots: slots.collect::<Result<_, _>>()? })
    }

    /// Not a single state.
    pub(crate) fn none() -> State {
        State { slots: Vec::new() }
    }

    /// Names of the states, in the order of the function.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|s| s.name.as_str())
    }

    /// What a state holds.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        let slot = self.slots.iter().find(|s| s.name == name)?;
        match &slot.data {
            Data::Floats(v) => Tensor::from_f32s(slot.shape.clone(), v).ok().map(|t| t.cast(slot.ty.dtype)),
            Data::Tensor(t) => Some(t.clone()),
        }
    }

    /// Puts a tensor into a state.
    ///
    /// # Errors
    /// When there is no such state, or it is of another type or shape.
    pub fn set(&mut self, name: &str, tensor: &Tensor) -> Result<(), PredictError> {
        let known = || self.names().collect::<Vec<_>>().join(", ");
        let fail = |message| PredictError::State { name: name.to_owned(), message };
        if !self.slots.iter().any(|s| s.name == name) {
            return Err(fail(format!("is not one of the model's; it has: {}", known())));
        }
        self.slots.iter_mut().filter(|s| s.name == name).try_for_each(|slot| {
            if (tensor.dtype(), tensor.shape()) != (slot.ty.dtype, slot.shape.as_slice()) {
                let (dtype, shape) = (tensor.dtype(), tensor.shape());
                let held = format!("{} {:?}", slot.ty.dtype, slot.shape);
                return Err(fail(format!("is {dtype} {shape:?}, but must be {held}")));
            }
            match &mut slot.data {
                Data::Floats(v) => v.copy_from_slice(&tensor.to_f32s()),
                Data::Tensor(t) => *t = tensor.clone(),
            }
            Ok(())
        })
    }

    /// Refuses a state that was made for another function.
    pub(crate) fn check(&self, function: &Function) -> Result<(), PredictError> {
        for &v in &function.inputs {
            let value = function.value(v);
            let Type::State(ty) = &value.ty else { continue };
            let slot = self.slots.iter().find(|s| *s.name == *value.name);
            let message = match slot {
                Some(s) if s.ty == *ty => continue,
                Some(s) => format!("is {}, but must be {ty}; make it with the model it is given to", s.ty),
                None => "is missing; make it with the model it is given to".to_owned(),
            };
            return Err(PredictError::State { name: value.name.to_string(), message });
        }
        Ok(())
    }

    /// The content of a state, to read and change.
    pub(crate) fn data(&mut self, name: &str) -> Option<&mut Data> {
        self.slots.iter_mut().find(|s| s.name == name).map(|s| &mut s.data)
    }
}

impl Slot {
    fn new(name: String, ty: &TensorType, limit: u64) -> Result<Slot, PredictError> {
        let fail = |message: String| PredictError::State { name: name.clone(), message };
        let shape = ty.known_shape().ok_or_else(|| fail(format!("is {ty}, but its shape must be fixed")))?;
        let place = || format!("state `{name}`");
        let count = memory::allowed(&shape, 4, limit, place)?;
        let data = if matches!(ty.dtype, DType::F16 | DType::F32) {
            Data::Floats(memory::zeros(count, limit, place)?)
        } else {
            Data::Tensor(Tensor::zeros(ty.dtype, shape.clone()).map_err(|e| fail(e.to_string()))?)
        };
        Ok(Slot { name, ty: ty.clone(), shape, data })
    }
}

impl Data {
    /// Takes a tensor of the same size in; says the two sizes when they differ.
    pub(crate) fn replace(&mut self, tensor: Tensor) -> Result<(), String> {
        let sizes = |held: usize| format!("{} elements, but the state holds {held}", tensor.len());
        match self {
            Data::Floats(v) if v.len() == tensor.len() => v.copy_from_slice(&tensor.to_f32s()),
            Data::Floats(v) => return Err(sizes(v.len())),
            Data::Tensor(t) if (t.dtype(), t.shape()) == (tensor.dtype(), tensor.shape()) => *t = tensor,
            Data::Tensor(t) => return Err(sizes(t.len())),
        }
        Ok(())
    }
}
