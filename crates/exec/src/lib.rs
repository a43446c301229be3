//! Room `exec` of Anemone: the CPU engine. SIMD and `unsafe` live here alone.

pub mod kernels;
pub mod pool;
