//! The meaning of programs: a readable interpreter that every fast kernel is compared with.
//!
//! Float arithmetic is done in `f32` or wider and rounded to the result's declared type.

mod error;
mod interpret;
mod lifetime;
mod site;

pub use error::EvalError;
pub use interpret::{DEFAULT_MAX_STEPS, Observer, Options, evaluate, run};
pub use site::{EvalFn, EvalSite};
