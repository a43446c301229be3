//! Memory that is asked for, never presumed.

use anemone_model::PredictError;
use std::alloc::{Layout, alloc_zeroed};

/// Number of elements of a shape whose tensor takes at most `limit` bytes at `width` bytes each.
///
/// # Errors
/// When it takes more; `place` names who asks.
pub(crate) fn allowed(
    shape: &[usize],
    width: usize,
    limit: u64,
    place: impl Fn() -> String,
) -> Result<usize, PredictError> {
    let count =
        if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) };
    let bytes = count.and_then(|n| n.checked_mul(width)).and_then(|b| u64::try_from(b).ok());
    match (count, bytes) {
        (Some(count), Some(bytes)) if bytes <= limit => Ok(count),
        (_, bytes) => Err(PredictError::Memory { place: place(), needed: bytes.unwrap_or(u64::MAX), limit }),
    }
}

/// `count` zeros, in pages that are not touched before they are used.
///
/// # Errors
/// When they take more than `limit` bytes or than there are; `place` names who asks.
pub(crate) fn zeros(count: usize, limit: u64, place: impl Fn() -> String) -> Result<Vec<f32>, PredictError> {
    let count = allowed(&[count], size_of::<f32>(), limit, &place)?;
    let none = |_| PredictError::Memory { place: place(), needed: u64::MAX, limit };
    let layout = Layout::array::<f32>(count).map_err(none)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not empty; zero bytes are the `f32` 0; the vector takes over an allocation of the global
    // allocator with the layout that it will free.
    unsafe {
        let memory = alloc_zeroed(layout).cast::<f32>();
        if memory.is_null() {
            let needed = u64::try_from(layout.size()).unwrap_or(u64::MAX);
            return Err(PredictError::Memory { place: place(), needed, limit });
        }
        Ok(Vec::from_raw_parts(memory, count, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_refused_before_it_is_asked_for() {
        let place = || "test".to_owned();
        assert_eq!(allowed(&[2, 3], 4, 24, place), Ok(6));
        assert!(allowed(&[2, 3], 4, 23, place).is_err());
        assert!(allowed(&[usize::MAX, 2], 4, u64::MAX, place).is_err());
        assert_eq!(allowed(&[usize::MAX, 2, 0], 4, 0, place), Ok(0));
        assert!(zeros(1 << 60, u64::MAX, place).is_err());
        assert_eq!(zeros(3, 12, place), Ok(vec![0.0; 3]));
    }
}
