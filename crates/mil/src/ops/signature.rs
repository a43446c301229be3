//! Signatures: what an op takes, in which version, and what it does besides computing.

use super::{Fault, Form, Site, Work};
use crate::eval::{EvalFn, EvalSite};
use crate::{Literal, Opset, Type};
use anemone_tensor::DType;

/// One op of the table.
#[derive(Debug)]
pub struct OpDef {
    /// Name in MIL.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Versions, oldest first.
    pub versions: &'static [Version],
    /// What it does besides computing.
    pub effect: Effect,
    /// Where the elements of its results come from.
    pub form: Form,
    /// Types of the results; must hold for every version.
    pub infer: fn(&Site<'_>) -> Result<Vec<Type>, Fault>,
    /// Reference evaluation: readable, not fast. `None` for control flow and state, which the interpreter runs.
    pub eval: Option<EvalFn>,
    /// Arithmetic done by one execution; `None` when a dim is unknown.
    pub work: fn(&Site<'_>) -> Option<Work>,
}

impl OpDef {
    /// The version that a program of op set `opset` means: the newest one not newer than it.
    pub fn version(&self, opset: Opset) -> Option<&'static Version> {
        self.versions.iter().rev().find(|v| v.since <= opset)
    }

    /// Runs the reference evaluation.
    ///
    /// # Errors
    /// When there is none, or the operands do not allow it.
    pub fn evaluate(&self, site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
        match self.eval {
            Some(eval) => eval(site),
            None => Err(Fault::new(format!("{} has no evaluation of its own", self.name))),
        }
    }
}

/// What an op does besides computing its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Pure,
    /// Unpacks a compressed weight when the model is loaded.
    Constexpr,
    /// Draws random numbers.
    Random,
    /// Runs nested blocks.
    Control,
    /// Reads a state.
    ReadState,
    /// Writes a state.
    WriteState,
}

/// The signature from one op set on.
#[derive(Debug)]
pub struct Version {
    /// First op set that has it.
    pub since: Opset,
    /// Parameters.
    pub params: &'static [Param],
    /// Type domains that parameters share, such as `T`.
    pub domains: &'static [Domain],
}

impl Version {
    /// The parameter of that name.
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// The element types that a parameter may have; empty means any.
    pub fn types(&self, param: &Param) -> &'static [DType] {
        match param.accept {
            Accept::Types(types) => types,
            Accept::Any => &[],
            Accept::Domain(name) => self.domains.iter().find(|d| d.name == name).map_or(&[], |d| d.types),
        }
    }
}

/// A set of element types under a name; parameters of the same domain have the same type.
#[derive(Debug)]
pub struct Domain {
    /// Name, such as `T`.
    pub name: &'static str,
    /// The element types.
    pub types: &'static [DType],
}

/// One parameter.
#[derive(Debug)]
pub struct Param {
    /// Name.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// Element types.
    pub accept: Accept,
    /// What counts when it is left out.
    pub default: Default,
}

/// What kind of value a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tensor that may be computed.
    Tensor,
    /// A constant.
    Const,
    /// Several values.
    Variadic,
    /// A list.
    List,
    /// A state.
    State,
    /// Anything.
    Any,
}

/// Element types that a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Accept {
    /// Any.
    Any,
    /// One of these.
    Types(&'static [DType]),
    /// One of the domain of this name.
    Domain(&'static str),
}

/// What counts when a parameter is left out.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// It must not be left out.
    Required,
    /// Nothing: the op does without.
    Absent,
    /// A boolean.
    Bool(bool),
    /// An `int32`.
    Int(i32),
    /// A rank-1 `int32`.
    Ints(&'static [i32]),
    /// A float of the type of the op's first float operand.
    Float(f64),
    /// A string.
    Str(&'static str),
    /// Depends on the other operands, such as strides of 1 by rank.
    Derived(fn(&Site<'_>) -> Option<Literal>),
}

impl Param {
    const fn new(name: &'static str, kind: Kind, accept: Accept) -> Param {
        Param { name, kind, accept, default: Default::Required }
    }

    /// The parameter with a default.
    #[must_use]
    pub const fn or(self, default: Default) -> Param {
        Param { default, ..self }
    }

    /// The parameter, which may be left out.
    #[must_use]
    pub const fn optional(self) -> Param {
        self.or(Default::Absent)
    }

    /// True when it must be given.
    pub const fn is_required(&self) -> bool {
        matches!(self.default, Default::Required)
    }
}

/// A parameter that takes a tensor.
pub const fn tensor(name: &'static str, accept: Accept) -> Param {
    Param::new(name, Kind::Tensor, accept)
}

/// A parameter that takes a constant.
pub const fn constant(name: &'static str, accept: Accept) -> Param {
    Param::new(name, Kind::Const, accept)
}

/// A parameter that takes several values.
pub const fn variadic(name: &'static str, accept: Accept) -> Param {
    Param::new(name, Kind::Variadic, accept)
}

/// A parameter that takes a list.
pub const fn list(name: &'static str) -> Param {
    Param::new(name, Kind::List, Accept::Any)
}

/// A parameter that takes a state.
pub const fn state(name: &'static str) -> Param {
    Param::new(name, Kind::State, Accept::Any)
}

/// A parameter that takes anything.
pub const fn any(name: &'static str) -> Param {
    Param::new(name, Kind::Any, Accept::Any)
}
