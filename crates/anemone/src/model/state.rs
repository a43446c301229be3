//! Memory that outlives a prediction.

use crate::{Error, ErrorKind};
use anemone_mil::{Function, Literal, Name, Type};
use anemone_tensor::Tensor;
use std::collections::BTreeMap;

/// The states of one function: tensors by name, zeros at first.
///
/// Made by [`crate::Model::new_state`] and given to [`crate::Model::predict_with_state`], which changes it. A model may
/// have any number of them side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(super) tensors: BTreeMap<Name, Literal>,
}

impl State {
    /// Zeros for every state of a function.
    pub(super) fn zeros(function: &Function) -> Result<State, Error> {
        let mut tensors = BTreeMap::new();
        for value in function.inputs.iter().map(|&v| function.value(v)) {
            let Type::State(ty) = &value.ty else { continue };
            let shape = ty.known_shape().ok_or_else(|| {
                let what = format!("state `{}` is {ty}, but a state must have fixed dims", value.name);
                Error::new(what).of_kind(ErrorKind::Unsupported)
            })?;
            let zeros = Tensor::zeros(ty.dtype, shape).map_err(Error::from_cause)?;
            tensors.insert(value.name.clone(), zeros.into());
        }
        Ok(State { tensors })
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(|n| &**n)
    }

    /// A copy of the tensor of that name, in the declared type and shape.
    ///
    /// # Errors
    /// When there is none; the error lists those there are.
    pub fn read(&self, name: &str) -> Result<Tensor, Error> {
        let found = self.tensors.get(name).and_then(Literal::as_tensor);
        found.cloned().ok_or_else(|| self.unknown(name))
    }

    /// Replaces the tensor of that name; any float type becomes the declared one.
    ///
    /// # Errors
    /// When there is none of that name, or it has another shape or another kind of number.
    pub fn write(&mut self, name: &str, tensor: &Tensor) -> Result<(), Error> {
        let held = self.read(name)?;
        if held.shape() != tensor.shape() {
            let what =
                format!("state `{name}` has shape {:?}, but {:?} is given", held.shape(), tensor.shape());
            return Err(Error::new(what).of_kind(ErrorKind::WrongShape));
        }
        if held.dtype().is_float() != tensor.dtype().is_float() {
            let what = format!("state `{name}` holds {}, but {} is given", held.dtype(), tensor.dtype());
            return Err(Error::new(what).of_kind(ErrorKind::WrongType));
        }
        self.tensors.insert(name.into(), tensor.cast(held.dtype()).into());
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.names().collect();
        Error::new(format!("there is no state `{name}`; there are {known:?}"))
            .of_kind(ErrorKind::UnknownState)
    }

    /// Checks that it is one that `other` could be.
    pub(super) fn check_like(&self, other: &State) -> Result<(), Error> {
        let types = |s: &State| s.tensors.iter().map(|(n, l)| (n.clone(), l.ty())).collect::<Vec<_>>();
        if types(self) == types(other) {
            return Ok(());
        }
        let names = |s: &State| s.names().map(str::to_owned).collect::<Vec<_>>();
        let what = format!(
            "the state is of another model: it holds {:?}, but the model needs {:?}; make one with new_state",
            names(self),
            names(other)
        );
        Err(Error::new(what).of_kind(ErrorKind::UnknownState))
    }
}
