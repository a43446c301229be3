//! Conversions between number types that say what they do, for rooms where `as` is forbidden.

/// Nearest `f64`; exact below 2^53.
#[allow(clippy::cast_precision_loss, reason = "the one documented place")]
pub const fn f64_of(v: i64) -> f64 {
    v as f64
}

/// Nearest `f64` of a count; exact below 2^53.
#[allow(clippy::cast_precision_loss, reason = "the one documented place")]
pub const fn f64_of_usize(v: usize) -> f64 {
    v as f64
}

/// Nearest `f32` (round to nearest even).
#[allow(clippy::cast_possible_truncation, reason = "the one documented place")]
pub const fn f32_of(v: f64) -> f32 {
    v as f32
}

/// Truncation toward zero, saturating; NaN gives 0.
#[allow(clippy::cast_possible_truncation, reason = "the one documented place")]
pub const fn i64_trunc(v: f64) -> i64 {
    v as i64
}

/// `usize` of a non-negative value.
pub fn usize_of(v: i64) -> Option<usize> {
    usize::try_from(v).ok()
}

/// `i64` of a count; saturates at `i64::MAX`.
pub fn i64_of(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

/// The number of elements of a shape, or `None` when it overflows.
pub fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}
