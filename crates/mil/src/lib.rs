//! The language of ML programs: types, values, functions, the op table, text, checking and meaning.
//!
//! # The language in one page
//! A [`Program`] is a set of named [`Function`]s and an [`Interface`] that says how the world sees them.
//! A function owns three arenas, [`Op`]s, [`Value`]s and [`Block`]s, named by typed ids ([`OpId`], [`ValueId`],
//! [`BlockId`]). Ids are only meaningful within their function, and never reused.
//!
//! * A **value** has a name, a [`Type`] and one definition ([`Def`]): a function input, a block input, the result
//!   of an op, or a constant. Constants are values, not ops: printers and writers place `const` statements before
//!   the first use, readers fold them back and keep their names. A constant without a name is written inline, as
//!   the argument itself.
//! * An **op** has a kind, arguments by parameter name (a variadic parameter takes several values), results, nested
//!   blocks (`cond`, `while_loop`) and attributes. Kinds are rows of the static [op table](ops::table) or foreign
//!   names, so that any program can be read, shown and written back unchanged.
//! * A **block** is a list of ops with inputs and outputs. A nested block sees the values of the blocks around it.
//! * `constexpr_*` ops, which unpack compressed weights when a model is loaded, are ops like any other whose
//!   arguments are all constant.
//!
//! Analyses are side tables keyed by id ([`Uses`], for example); nothing derived is stored in the IR.
#![forbid(unsafe_code)]
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss
)]

pub mod builder;
mod constant;
mod dims;
mod edit;
mod equal;
pub mod eval;
mod fold;
pub mod function;
mod ids;
pub mod interface;
pub mod ops;
mod opset;
mod program;
pub mod text;
mod types;
mod uses;
pub mod verify;

pub use anemone_tensor::{Bytes, DType, Tensor};
pub use builder::{Builder, OpBuilder};
pub use constant::{BlobRef, Const, Literal, Packed, Recipe, Weight, WeightData};
pub use dims::{Broadcast, broadcast};
pub use equal::difference;
pub use fold::{FoldLimits, constant_value, fold_constants};
pub use function::{Arg, Block, Def, Function, Op, OpKind, Origin, Value};
pub use ids::{BlockId, Name, OpId, ValueId};
pub use interface::Interface;
pub use opset::Opset;
pub use program::Program;
pub use types::{Dim, TensorType, Type};
pub use uses::Uses;
pub use verify::{Diagnostic, Diagnostics, Level, Verified, VerifiedFunction, verify, verify_op};
