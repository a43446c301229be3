//! The numbers of a weight, in single precision, rounded wherever numpy would round half precision.

use crate::Refusal;
use anemone_tensor::{Bytes, DType, Tensor, codec};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Elements that one step works on: they stay in the first cache.
pub(crate) const CHUNK: usize = 2048;

/// A float weight, held as it came; its elements are read chunk by chunk.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    bytes: Bytes,
    len: usize,
    half: bool,
}

impl Numbers {
    /// The elements of a tensor of `fp16` or `fp32`.
    ///
    /// # Errors
    /// When the type is another one, or an element is infinite or not a number.
    pub(crate) fn of(tensor: &Tensor) -> Result<Numbers, Refusal> {
        let half = match tensor.dtype() {
            DType::F16 => true,
            DType::F32 => false,
            other => return Err(Refusal::Type(other)),
        };
        let numbers = Numbers { bytes: tensor.bytes().clone(), len: tensor.len(), half };
        numbers.refuse_infinities()?;
        Ok(numbers)
    }

    fn refuse_infinities(&self) -> Result<(), Refusal> {
        let mut buffer = [0f32; CHUNK];
        for start in (0..self.len).step_by(CHUNK) {
            let chunk = self.load(start, (self.len - start).min(CHUNK), &mut buffer);
            // The sum of x * 0 is finite exactly when every x is, and needs no branch per element.
            if chunk.iter().map(|x| x * 0.0).sum::<f32>() != 0.0
                && let Some(at) = chunk.iter().position(|x| !x.is_finite())
            {
                return Err(Refusal::NotFinite { index: start + at, value: chunk[at] });
            }
        }
        Ok(())
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Element type.
    pub(crate) fn dtype(&self) -> DType {
        if self.half { DType::F16 } else { DType::F32 }
    }

    /// Elements `start..start + count`, at most [`CHUNK`] of them, in `buffer`.
    pub(crate) fn load<'b>(&self, start: usize, count: usize, buffer: &'b mut [f32; CHUNK]) -> &'b mut [f32] {
        let out = &mut buffer[..count];
        if self.half {
            let mut halves = [f16::ZERO; CHUNK];
            let raw = self.bytes[start * 2..(start + count) * 2].as_chunks::<2>().0;
            halves.iter_mut().zip(raw).for_each(|(h, b)| *h = f16::from_le_bytes(*b));
            halves[..count].convert_to_f32_slice(out);
        } else {
            let raw = self.bytes[start * 4..(start + count) * 4].as_chunks::<4>().0;
            out.iter_mut().zip(raw).for_each(|(x, b)| *x = f32::from_le_bytes(*b));
        }
        out
    }

    /// The bits of elements `start..start + count` of half precision.
    pub(crate) fn half_bits(&self, start: usize, count: usize) -> impl Iterator<Item = u16> + '_ {
        let raw = self.bytes[start * 2..(start + count) * 2].as_chunks::<2>().0;
        raw.iter().map(|b| u16::from_le_bytes(*b))
    }

    /// The `count` elements at the places that `wanted` says.
    ///
    /// # Errors
    /// When there are not so many.
    pub(crate) fn picked(&self, count: usize, wanted: impl Fn(usize) -> bool) -> Result<Tensor, Refusal> {
        let width = self.dtype().bits() / 8;
        let mut bytes = Vec::with_capacity(count * width);
        let places = (0..self.len).filter(|&i| wanted(i));
        places.for_each(|i| bytes.extend_from_slice(&self.bytes[i * width..(i + 1) * width]));
        Tensor::new(self.dtype(), [count], bytes).map_err(Refusal::Tensor)
    }

    /// Every element.
    pub(crate) fn all(&self) -> Vec<f32> {
        codec::to_f32(self.dtype(), &self.bytes, self.len)
    }

    /// One number, rounded to the weight's type.
    pub(crate) fn round(&self, x: f32) -> f32 {
        if self.half { f16::from_f32(x).to_f32() } else { x }
    }

    /// At most [`CHUNK`] numbers, rounded to the weight's type.
    pub(crate) fn round_all(&self, xs: &mut [f32]) {
        if self.half {
            let mut halves = [f16::ZERO; CHUNK];
            let halves = &mut halves[..xs.len()];
            halves.convert_from_f32_slice(xs);
            halves.convert_to_f32_slice(xs);
        }
    }

    /// A tensor of the weight's type.
    pub(crate) fn tensor(&self, shape: &[usize], values: &[f32]) -> Result<Tensor, Refusal> {
        let t = Tensor::from_f32s(shape, values).map_err(Refusal::Tensor)?;
        Ok(t.cast(self.dtype()))
    }
}

/// Rounds to the nearest integer, ties to even, as `numpy.round` does; vector code on every processor.
pub(crate) fn rint(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves no bits behind the point; larger numbers have none anyway.
    const MAGIC: f32 = 12_582_912.0;
    let rounded = (x + MAGIC) - MAGIC;
    if x.abs() < 4_194_304.0 { rounded } else { x }
}

/// Packs numbers of `bits` bits each, least significant bit first.
pub(crate) fn pack_bits(values: &[u8], bits: usize) -> Vec<u8> {
    match bits {
        8 => values.to_vec(),
        1 | 2 | 4 => {
            let per_byte = 8 / bits;
            let byte = |c: &[u8]| c.iter().rev().fold(0u8, |acc, v| acc << bits | v & ((1 << bits) - 1));
            values.chunks(per_byte).map(byte).collect()
        }
        _ => {
            let mut out = vec![0u8; (values.len() * bits).div_ceil(8)];
            let dtype = if bits == 3 { DType::U3 } else { DType::U6 };
            values.iter().enumerate().for_each(|(i, &v)| codec::write_i64(dtype, &mut out, i, v.into()));
            out
        }
    }
}

/// The unsigned type of `bits` bits.
pub(crate) fn unsigned(bits: usize) -> DType {
    match bits {
        1 => DType::U1,
        2 => DType::U2,
        3 => DType::U3,
        4 => DType::U4,
        6 => DType::U6,
        _ => DType::U8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rint_takes_ties_to_even_at_any_size() {
        for (x, y) in [(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (1e30, 1e30), (4_194_305.0, 4_194_305.0)] {
            assert_eq!(rint(x), y, "{x}");
        }
        assert!(rint(f32::NAN).is_nan());
    }

    #[test]
    fn bits_are_packed_from_the_lowest() {
        assert_eq!(pack_bits(&[1, 2, 3], 4), [0x21, 0x03]);
        assert_eq!(pack_bits(&[1, 0, 0, 0, 0, 0, 0, 0, 1], 1), [1, 1]);
        assert_eq!(pack_bits(&[7, 0, 1], 3), [0b0100_0111, 0]);
    }

    #[test]
    fn an_infinity_is_refused_with_its_place() {
        let t = Tensor::from_f32s([3], &[1.0, f32::NEG_INFINITY, 2.0]).expect("fits");
        let refused = Numbers::of(&t).expect_err("infinite");
        assert_eq!(refused.to_string(), "element 1 is -inf; only finite numbers can be compressed");
    }
}
