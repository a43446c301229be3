//! Edits as values: what a rewrite wants.

use crate::OpRef;
use anemone_mil::ops::Fault;
use anemone_mil::{Const, Literal, Name, Op, ValueId};
use std::fmt;

/// Why a rewrite does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The op is none of those that the rewrite looks at.
    OtherKind,
    /// The op is, but something about it does not fit.
    Because(String),
}

impl Miss {
    /// A miss with a reason.
    pub fn because(why: impl Into<String>) -> Miss {
        Miss::Because(why.into())
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::OtherKind => f.write_str("it is another kind of op"),
            Miss::Because(why) => f.write_str(why),
        }
    }
}

impl From<&str> for Miss {
    fn from(why: &str) -> Miss {
        Miss::because(why)
    }
}

impl From<Fault> for Miss {
    fn from(fault: Fault) -> Miss {
        Miss::because(fault.to_string())
    }
}

impl From<anemone_tensor::TensorError> for Miss {
    fn from(error: anemone_tensor::TensorError) -> Miss {
        Miss::because(error.to_string())
    }
}

/// A value that a patch refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ref {
    /// One that exists.
    Value(ValueId),
    /// The first result of new op `n` of the patch.
    New(usize),
    /// New constant `n` of the patch.
    Const(usize),
}

impl From<ValueId> for Ref {
    fn from(value: ValueId) -> Ref {
        Ref::Value(value)
    }
}

/// An op that a patch adds.
#[derive(Clone, Debug)]
pub struct NewOp {
    /// Kind.
    pub kind: String,
    /// Arguments.
    pub args: Vec<(Name, Vec<Ref>)>,
    /// End of its name, unless its result takes over the name of what it replaces.
    pub suffix: &'static str,
    /// Attributes other than the name.
    pub attributes: Vec<(Name, Literal)>,
}

/// What to put in the place of an op: new constants, new ops, and which values they replace.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// New constants with the ends of their names.
    pub consts: Vec<(&'static str, Const)>,
    /// New ops, put before the op that the patch is about, in order.
    pub ops: Vec<NewOp>,
    /// Old values and what all their users take instead.
    pub replace: Vec<(ValueId, Ref)>,
}

impl Patch {
    /// A patch that only redirects users.
    pub fn redirect(from: ValueId, to: ValueId) -> Patch {
        Patch { replace: vec![(from, Ref::Value(to))], ..Patch::default() }
    }

    /// Adds a constant.
    pub fn constant(&mut self, suffix: &'static str, constant: impl Into<Const>) -> Ref {
        self.consts.push((suffix, constant.into()));
        Ref::Const(self.consts.len() - 1)
    }

    /// Adds a literal constant.
    pub fn literal(&mut self, suffix: &'static str, literal: impl Into<Literal>) -> Ref {
        self.constant(suffix, Const::Literal(literal.into()))
    }

    /// Adds an op.
    pub fn op(&mut self, kind: &str, suffix: &'static str, args: Vec<(&str, Ref)>) -> Ref {
        let args = args.into_iter().map(|(p, r)| (p.into(), vec![r])).collect();
        self.ops.push(NewOp { kind: kind.to_owned(), args, suffix, attributes: Vec::new() });
        Ref::New(self.ops.len() - 1)
    }

    /// Adds an op that is `op` with some arguments set anew.
    pub fn variant(&mut self, op: &Op, suffix: &'static str, changed: Vec<(&str, Ref)>) -> Ref {
        let kept = op.args.iter().filter(|a| changed.iter().all(|(p, _)| *p != &*a.param));
        let mut args: Vec<(Name, Vec<Ref>)> =
            kept.map(|a| (a.param.clone(), a.values.iter().map(|&v| Ref::Value(v)).collect())).collect();
        args.extend(changed.into_iter().map(|(p, r)| (p.into(), vec![r])));
        let (kind, attributes) = (op.kind.name().to_owned(), op.attributes.clone());
        self.ops.push(NewOp { kind, args, suffix, attributes });
        Ref::New(self.ops.len() - 1)
    }

    /// The patch, with `new` in the place of `old`.
    #[must_use]
    pub fn replacing(mut self, old: ValueId, new: Ref) -> Patch {
        self.replace.push((old, new));
        self
    }
}

/// Looks at one op and answers with a patch, or says why not; it changes nothing.
pub type Rewrite = for<'a> fn(OpRef<'a>) -> Result<Patch, Miss>;
