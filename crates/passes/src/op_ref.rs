//! An op as rewrites look at it.

use crate::{Index, Miss};
use anemone_mil::ops::{Fault, Form, Site};
use anemone_mil::{Const, Function, Op, OpId, Tensor, TensorType, ValueId, Weight};

/// What an op is asked to be: one of several kinds, or of a form.
pub trait Wanted {
    /// True when the op is that.
    fn holds(&self, op: &Op) -> bool;
    /// What it is, as a reason says it.
    fn words(&self) -> String;
}

impl Wanted for [&str] {
    fn holds(&self, op: &Op) -> bool {
        self.contains(&op.kind.name())
    }

    fn words(&self) -> String {
        self.join(" or ")
    }
}

impl<const N: usize> Wanted for [&str; N] {
    fn holds(&self, op: &Op) -> bool {
        self.as_slice().holds(op)
    }

    fn words(&self) -> String {
        self.as_slice().words()
    }
}

impl Wanted for Form {
    fn holds(&self, op: &Op) -> bool {
        op.kind.form() == *self
    }

    fn words(&self) -> String {
        match self {
            Form::Identity => "an identity",
            Form::Unary => "a function of single elements",
            Form::Binary => "a function of two elements",
            Form::Select => "a select",
            Form::Reshape => "a change of shape",
            Form::Move(_) | Form::Fill(_) => "a move",
            Form::Reduction => "a reduction",
            Form::Other => "anything else",
        }
        .into()
    }
}

/// An op within its function, with the uses of every value at hand.
#[derive(Clone, Copy, Debug)]
pub struct OpRef<'a> {
    /// The function around it.
    pub function: &'a Function,
    /// Uses and places.
    pub index: &'a Index,
    /// The op.
    pub id: OpId,
}

impl<'a> OpRef<'a> {
    /// The op itself.
    pub fn op(&self) -> &'a Op {
        self.function.op(self.id)
    }

    /// The op with its signature.
    ///
    /// # Errors
    /// When the op table does not have it.
    pub fn site(&self) -> Result<Site<'a>, Fault> {
        Site::new(self.function, self.op())
    }

    /// Kind in MIL, such as `conv`.
    pub fn kind(&self) -> &'a str {
        self.op().kind.name()
    }

    /// Where the elements of its results come from.
    pub fn form(&self) -> Form {
        self.op().kind.form()
    }

    /// True when it is of one of these kinds, or of that form.
    pub fn is(&self, wanted: &(impl Wanted + ?Sized)) -> bool {
        wanted.holds(self.op())
    }

    /// Asks for one of these kinds, or for a form.
    ///
    /// # Errors
    /// [`Miss::OtherKind`] when it is none of them.
    pub fn expect(&self, wanted: &(impl Wanted + ?Sized)) -> Result<(), Miss> {
        if self.is(wanted) { Ok(()) } else { Err(Miss::OtherKind) }
    }

    /// The value given for `param`.
    ///
    /// # Errors
    /// When it is left out.
    pub fn operand(&self, param: &str) -> Result<ValueId, Miss> {
        self.op().value(param).ok_or_else(|| Miss::because(format!("operand `{param}` is missing")))
    }

    /// The one result.
    ///
    /// # Errors
    /// When there are several, or none.
    pub fn result(&self) -> Result<ValueId, Miss> {
        match *self.op().outputs.as_slice() {
            [result] => Ok(result),
            _ => Err("the op does not have one result".into()),
        }
    }

    /// Type of a value that must be a tensor.
    ///
    /// # Errors
    /// When it is none.
    pub fn tensor(&self, value: ValueId) -> Result<&'a TensorType, Miss> {
        let value = self.function.value(value);
        value.ty.tensor().ok_or_else(|| Miss::because(format!("`{}` is no tensor", value.name)))
    }

    /// Extents of a value, all known.
    ///
    /// # Errors
    /// When one is not.
    pub fn shape(&self, value: ValueId) -> Result<Vec<usize>, Miss> {
        self.tensor(value)?.known_shape().ok_or_else(|| self.about(value, "does not have a known shape"))
    }

    /// The op that makes a value.
    pub fn maker(&self, value: ValueId) -> Option<OpRef<'a>> {
        self.function.producer(value).map(|id| OpRef { id, ..*self })
    }

    /// The op that makes a value, of one of the given kinds or of a form.
    ///
    /// # Errors
    /// When it is of another kind, or the value is no result.
    pub fn made_by(&self, value: ValueId, wanted: &(impl Wanted + ?Sized)) -> Result<OpRef<'a>, Miss> {
        let maker = self
            .maker(value)
            .ok_or_else(|| self.about(value, format!("is not the result of {}", wanted.words())))?;
        if maker.is(wanted) {
            return Ok(maker);
        }
        Err(self.about(value, format!("comes from {}, not from {}", maker.kind(), wanted.words())))
    }

    /// As [`made_by`](OpRef::made_by), for a value that only this op takes, made in the same block.
    ///
    /// # Errors
    /// Also when the value has other users or escapes, or is made in another block.
    pub fn sole(&self, value: ValueId, wanted: &(impl Wanted + ?Sized)) -> Result<OpRef<'a>, Miss> {
        let maker = self.made_by(value, wanted)?;
        self.feeds_only_this(value)?;
        Ok(maker)
    }

    /// Asks that only this op takes a value, and that both stand in one block.
    ///
    /// # Errors
    /// When it has other users or escapes, or is made in another block.
    pub fn feeds_only_this(&self, value: ValueId) -> Result<(), Miss> {
        if self.index.escapes(value) {
            return Err(self.about(value, "is handed out"));
        }
        if self.index.only(value) != Some(self.id) {
            return Err(self.about(value, "has other users"));
        }
        let maker = self.function.producer(value);
        if maker.is_some_and(|m| self.index.home(m) != self.index.home(self.id)) {
            return Err(self.about(value, "is made in another block"));
        }
        Ok(())
    }

    /// The numbers of a constant.
    ///
    /// # Errors
    /// When it is computed, or no tensor of numbers.
    pub fn constant(&self, value: ValueId) -> Result<Tensor, Miss> {
        let constant = self.function.constant(value).and_then(|c| c.literal().ok());
        let numbers = constant.and_then(|l| l.as_tensor().cloned());
        numbers.ok_or_else(|| self.about(value, "is not constant"))
    }

    /// A constant tensor as a weight, which is not made when it is computed.
    ///
    /// # Errors
    /// When it is the result of an op, or no tensor of numbers.
    pub fn weight(&self, value: ValueId) -> Result<Weight, Miss> {
        match self.function.constant(value) {
            Some(Const::Weight(w)) if w.is_available() => Ok(w.clone()),
            _ => self.constant(value).map(|t| Weight::of(&t)),
        }
    }

    /// The constant operand of a binary op and the parameter of the other one.
    ///
    /// # Errors
    /// When neither `x` nor `y` is constant.
    pub fn constant_side(&self) -> Result<(Tensor, &'static str), Miss> {
        for (constant, other) in [("y", "x"), ("x", "y")] {
            if let Some(t) = self.op().value(constant).and_then(|v| self.constant(v).ok()) {
                return Ok((t, other));
            }
        }
        Err("neither operand is constant".into())
    }

    /// The constant number of a binary op that changes no shape, and the parameter of the other operand.
    ///
    /// # Errors
    /// When neither operand is a constant of one element, or it has more dims than the other.
    pub fn number_side(&self) -> Result<(f64, &'static str), Miss> {
        let (constant, other) = self.constant_side()?;
        let rank = self.tensor(self.operand(other)?)?.rank();
        if constant.len() != 1 || constant.rank() > rank {
            return Err("the constant is not one number".into());
        }
        Ok((constant.f64_at(0), other))
    }

    /// A miss about a value: its name, and what it is.
    pub fn about(&self, value: ValueId, what: impl AsRef<str>) -> Miss {
        Miss::because(format!("`{}` {}", self.function.value(value).name, what.as_ref()))
    }
}
