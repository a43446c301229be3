//! One function per operator, or per group of operators that differ by name alone.

pub(super) mod activation;
pub(super) mod control;
pub(super) mod conv;
pub(super) mod einsum;
pub(super) mod elementwise;
pub(super) mod gather;
pub(super) mod matmul;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod quant;
pub(super) mod random;
pub(super) mod recurrent;
pub(super) mod reduce;
pub(super) mod resize;
pub(super) mod scatter;
pub(super) mod select;
pub(super) mod shape;
pub(super) mod slice;
