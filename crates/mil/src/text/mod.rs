//! MIL text: Apple's own spelling of ML programs, printed and parsed.
//!
//! The language is defined in `docs/mil.md`. Two dialects exist, see [`Dialect`]; the parser reads both, in any mix,
//! and the printer writes the one that Apple's compiler would write for the same program.
//!
//! `parse(print(p))` gives `p` back in everything but the interface, documentation strings, unknown protobuf fields
//! and arena numbering, which are not part of the text.

mod compact;
mod cursor;
mod error;
mod interface;
mod lex;
mod literal;
mod number;
mod parse;
mod place;
mod print;
mod types;
mod value;

pub use error::ParseError;
pub use interface::plain_interface;
pub use parse::{Resolver, parse};
pub(crate) use place::Placement;
pub use print::{BlobNamer, print, print_with};

use crate::{Name, Opset, Program};

/// Deepest nesting of types, of literals and of blocks that the parser follows.
pub const MAX_DEPTH: usize = 64;
/// Most dims of a tensor type that the parser takes.
pub const MAX_RANK: usize = 32;
/// Most arguments of an op, and most attributes in a bracket, that the parser takes.
pub const MAX_ENTRIES: usize = 4096;
/// Longest text that the parser takes, in bytes.
pub const MAX_TEXT: usize = 1 << 30;

/// Spelling of scalars and versions.
///
/// Apple's compiler writes the older one for op sets up to `ios17`, the newer one from `ios18` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `program(1.0)`: a scalar is a tensor without dims, `tensor<string, []>("x")`.
    V1_0,
    /// `program(1.3)`: a scalar is named by its element type, `string("x")`.
    V1_3,
}

impl Dialect {
    /// The dialect that Apple's compiler writes for the newest op set among the functions.
    pub fn of(program: &Program) -> Dialect {
        match program.functions.iter().map(|f| f.opset).max() {
            Some(opset) if opset >= Opset::Ios18 => Dialect::V1_3,
            _ => Dialect::V1_0,
        }
    }
}

/// Where `const` statements stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConstOrder {
    /// Right before the first op that uses them, in the order of its arguments: equal programs give equal text.
    #[default]
    FirstUse,
    /// Where the values were made, as far as that is before the first use: text that was parsed keeps its order.
    AsMade,
}

/// How to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrintOptions {
    /// The dialect; by default the one of the newest op set.
    pub dialect: Option<Dialect>,
    /// Where `const` statements stand.
    pub order: ConstOrder,
    /// For reading by people: no `const` statements, constants inlined and abbreviated. It cannot be parsed.
    pub compact: bool,
    /// Print only the function of this name.
    pub function: Option<Name>,
}

/// True for a legal MIL identifier: `[A-Za-z_][A-Za-z0-9_@]*` (`MIL.proto`).
pub fn is_identifier(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '@';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(legal)
}
