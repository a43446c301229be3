//! One function per operator, or per group of operators that differ by name alone.

pub(super) mod activation;
pub(super) mod conv;
pub(super) mod elementwise;
pub(super) mod gather;
pub(super) mod matmul;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod reduce;
pub(super) mod resize;
pub(super) mod shape;
pub(super) mod slice;
