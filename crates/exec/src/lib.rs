//! The CPU engine: plans a function once per set of input shapes, then runs it on a fixed arena.
//!
//! The way of a prediction: a [`Session`] folds constants and *lowers* each op to a kernel (weights are packed then,
//! once), gives every intermediate tensor a place in one arena, and runs the steps in order over a thread pool. Float
//! tensors are held as `f32`; where the program says `fp16`, results are rounded to it after every op. Integers and
//! booleans are held packed, beside the arena. Nested blocks are steps of the same plan; ops with data-dependent shapes
//! are lowered as they run. Ops without a kernel, and tensors without elements, go through the reference evaluation of
//! `anemone-mil`; a test lists the former.
//!
//! Compressed weights that only products take stay compressed: see [`kernels::packed`].
//!
//! SIMD and `unsafe` live in this room alone.

mod arena;
mod channels_last;
mod emulate;
pub mod kernels;
mod lower;
mod memory;
mod options;
mod plan;
mod plans;
pub mod pool;
mod precision;
mod profile;
mod session;
mod specialise;
mod state;

pub use emulate::{Arithmetic, EmulatedOp, Emulation, How, SumRange};
pub use kernels::simd::Isa;
pub use options::{DEFAULT_MAX_STEPS, DEFAULT_MEMORY_LIMIT, DEFAULT_PLANS, Options};
pub use precision::Precision;
pub use profile::{Profiler, StepInfo};
pub use session::Session;
pub use state::State;
