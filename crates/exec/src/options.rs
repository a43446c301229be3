//! How a session computes.

use crate::Precision;

/// How a session computes; what is not said is [`Options::default`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that share the work; at least 1.
    pub threads: usize,
    /// Which numbers it computes with.
    pub precision: Precision,
    /// Iterations allowed over all loops of one prediction.
    pub max_steps: u64,
    /// Bytes that the intermediate tensors of a prediction and what kernels work in may take; weights and inputs do not
    /// count.
    pub memory_limit: u64,
    /// Plans for different input shapes that are kept, at least 1; each holds its own arena and packed weights.
    pub plans: usize,
}

/// Plans that are kept when nothing else is said.
pub const DEFAULT_PLANS: usize = 8;

/// Iterations over all loops that are allowed when nothing else is said.
pub const DEFAULT_MAX_STEPS: u64 = anemone_mil::eval::DEFAULT_MAX_STEPS;

/// Bytes of intermediate tensors that are allowed when nothing else is said: 16 GiB.
pub const DEFAULT_MEMORY_LIMIT: u64 = 16 << 30;

impl Default for Options {
    /// One thread, the numbers that the program declares, and limits that few programs reach.
    fn default() -> Options {
        Options {
            threads: 1,
            precision: Precision::Declared,
            max_steps: DEFAULT_MAX_STEPS,
            memory_limit: DEFAULT_MEMORY_LIMIT,
            plans: DEFAULT_PLANS,
        }
    }
}
