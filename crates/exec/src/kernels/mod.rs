//! Kernels of the CPU engine: plain functions over f32 slices and small geometry structs.
//!
//! Every kernel takes a [`Pool`](crate::pool::Pool), which names the threads and the instruction set.
//! Slices are dense and row-major unless a stride is given, images are `[batch, channels, (depth,) height, width]`.
//! Kernels that need scratch memory report its size and borrow it, so that the executor's arena owns it.
//!
//! # Panics
//! A slice whose length does not fit the geometry beside it is an error of the calling code and panics;
//! what a program can get wrong is refused by the constructors of plans with a [`Misfit`].

pub mod activation;
pub mod conv;
pub mod conv_transpose;
pub mod elementwise;
pub mod gemm;
pub mod last;
pub mod layout;
pub mod math;
pub mod norm;
pub mod packed;
pub mod pool2d;
pub mod recurrent;
pub mod recurrent_plain;
pub mod reduce;
pub mod resize;
pub mod rows;
pub mod scan;
pub mod simd;
pub mod softmax;
pub mod sort;
mod stencil;
mod window;

#[cfg(test)]
pub(crate) mod testing;

pub use activation::{Activation, Bias, Epilogue};
pub use window::Window;

use std::fmt;

/// A geometry that no kernel can run; the message names the quantity, its value and what would fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit(String);

impl Misfit {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}

/// Refuses a geometry unless `$ok`.
macro_rules! fits {
    ($ok:expr, $($message:tt)*) => {
        if !$ok {
            return Err($crate::kernels::Misfit::new(format!($($message)*)));
        }
    };
}
pub(crate) use fits;
