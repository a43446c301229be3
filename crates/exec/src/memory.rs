//! Memory that is asked for, never presumed, and numbers that are read where they lie.

use anemone_mil::{DType, Tensor};
use anemone_model::PredictError;
use std::alloc::{Layout, alloc_zeroed};
use std::ops::Deref;

/// The elements of a constant as `f32`: the bytes of the tensor where they are such numbers already, else a copy.
pub(crate) enum Floats {
    /// Bytes of `fp32` numbers in the order of this machine, aligned.
    Shared(Tensor),
    /// Converted.
    Own(Vec<f32>),
}

impl Floats {
    /// The elements of `tensor`.
    pub(crate) fn of(tensor: Tensor) -> Floats {
        let aligned = tensor.bytes().as_ptr().cast::<f32>().is_aligned();
        if tensor.dtype() == DType::F32 && aligned && cfg!(target_endian = "little") {
            Floats::Shared(tensor)
        } else {
            Floats::Own(tensor.to_f32s())
        }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            // SAFETY: every 4 bytes are an `f32`; what is not aligned is none of the middle part, and all of it is.
            Floats::Shared(tensor) => unsafe { tensor.bytes().align_to::<f32>().1 },
            Floats::Own(values) => values,
        }
    }
}

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
    use anemone_tensor::Bytes;

    #[test]
    fn numbers_are_copied_only_where_they_lie_wrong() {
        let numbers = [1.5f32, -0.0, f32::MAX];
        let bytes: Vec<u8> = [0; 4].into_iter().chain(numbers.iter().flat_map(|v| v.to_le_bytes())).collect();
        let bytes = Bytes::from(bytes);
        for skip in 0..4 {
            let lying = bytes.slice(skip..skip + 12);
            let expected = Tensor::new(DType::F32, [3], lying.to_vec()).expect("12 bytes").to_f32s();
            let aligned = lying.as_ptr().addr().is_multiple_of(4);
            let floats = Floats::of(Tensor::new(DType::F32, [3], lying).expect("12 bytes"));
            assert_eq!(matches!(floats, Floats::Shared(_)), aligned);
            assert_eq!(
                floats.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                expected.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            );
        }
        let half = Tensor::from_f32s([3], &numbers).expect("3 numbers").cast(DType::F16);
        assert_eq!(*Floats::of(half), [1.5, -0.0, f32::INFINITY]);
    }

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
