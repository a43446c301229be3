//! Where the elements of an op's results come from.

/// Where the elements of an op's results come from, as the specification says.
///
/// Rewrites, kernels and rules ask this instead of keeping lists of ops: what holds for one function of single elements
/// holds for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `x` itself.
    Identity,
    /// A function of the element of `x` at the same place; other operands are constant scalars.
    Unary,
    /// A function of the elements of `x` and `y` at the same place, both stretched to one shape.
    Binary,
    /// The element of `a` or of `b`, as that of `cond` at the same place says, all stretched to one shape.
    Select,
    /// The elements of `x` in the same order, under another shape.
    Reshape,
    /// Elements of these operands, in other places, left out or repeated; which ones does not depend on their values.
    Move(&'static [&'static str]),
    /// As [`Move`](Form::Move), with zeros or another constant where nothing comes to.
    Fill(&'static [&'static str]),
    /// A function of all elements of `x` along some axes.
    Reduction,
    /// Something else.
    Other,
}

impl Form {
    /// The operands of which an element of a result needs no element but the one at its own place; none for ops that do
    /// not work element by element.
    pub const fn elementwise(self) -> &'static [&'static str] {
        match self {
            Form::Identity | Form::Unary => &["x"],
            Form::Binary => &["x", "y"],
            Form::Select => &["cond", "a", "b"],
            Form::Reshape | Form::Move(_) | Form::Fill(_) | Form::Reduction | Form::Other => &[],
        }
    }

    /// The operands whose elements the results are made of, unchanged and wherever they were; none for ops that compute
    /// or fill in.
    pub const fn moved(self) -> &'static [&'static str] {
        match self {
            Form::Identity | Form::Reshape => &["x"],
            Form::Move(params) => params,
            Form::Unary | Form::Binary | Form::Select | Form::Fill(_) | Form::Reduction | Form::Other => &[],
        }
    }

    /// As [`moved`](Form::moved), also for ops that fill in.
    pub const fn moved_or_filled(self) -> &'static [&'static str] {
        match self {
            Form::Fill(params) => params,
            other => other.moved(),
        }
    }
}
