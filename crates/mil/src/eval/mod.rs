//! The meaning of programs: a readable interpreter that every fast kernel is compared with.
//!
//! Float arithmetic is done in `f32` or wider and rounded to the result's declared type.

mod site;

pub use site::{EvalFn, EvalSite};
