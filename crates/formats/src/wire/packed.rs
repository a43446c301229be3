//! Repeated floats, kept as the bytes they have on the wire.

use super::fields::{Field, write_sized, write_tag};
use super::reader::{Reader, Tag, Wire};
use crate::{Error, ErrorKind};
use bytes::{Bytes, BytesMut};
use std::{fmt, marker::PhantomData};

/// A number of fixed width on the wire.
pub trait PackedNumber: Copy + fmt::Debug {
    /// Layout of one number.
    const WIRE: Wire;

    /// The number in these bytes; `None` when there are not as many as it takes.
    fn from_bytes(raw: &[u8]) -> Option<Self>;

    /// Appends the little-endian bytes.
    fn append(self, out: &mut Vec<u8>);
}

impl PackedNumber for f32 {
    const WIRE: Wire = Wire::Fixed32;

    fn from_bytes(raw: &[u8]) -> Option<f32> {
        raw.try_into().ok().map(f32::from_le_bytes)
    }

    fn append(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
}

impl PackedNumber for f64 {
    const WIRE: Wire = Wire::Fixed64;

    fn from_bytes(raw: &[u8]) -> Option<f64> {
        raw.try_into().ok().map(f64::from_le_bytes)
    }

    fn append(self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }
}

/// A list of `f32` or `f64` as little-endian bytes, shared with the input. Compared bit by bit.
#[derive(Clone)]
pub struct Packed<T> {
    bytes: Bytes,
    number: PhantomData<T>,
}

impl<T: PackedNumber> Packed<T> {
    /// The little-endian bytes of all numbers.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / size_of::<T>()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.bytes.chunks_exact(size_of::<T>()).filter_map(T::from_bytes)
    }

    fn append(&mut self, more: &[u8]) {
        let grown = std::mem::take(&mut self.bytes).try_into_mut();
        let mut grown = grown.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        grown.extend_from_slice(more);
        self.bytes = grown.freeze();
    }
}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Packed { bytes: Bytes::new(), number: PhantomData }
    }
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T: PackedNumber> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: PackedNumber> FromIterator<T> for Packed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        let mut out = Vec::new();
        numbers.into_iter().for_each(|v| v.append(&mut out));
        Packed { bytes: out.into(), number: PhantomData }
    }
}

impl<T: PackedNumber> Field for Packed<T> {
    fn merge(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error> {
        if tag.wire != Wire::Len {
            r.expect(tag, T::WIRE)?;
            let raw = if T::WIRE == Wire::Fixed32 { &r.array::<4>()?[..] } else { &r.array::<8>()?[..] };
            self.append(raw);
            return Ok(());
        }
        let raw = r.bytes()?;
        if !raw.len().is_multiple_of(size_of::<T>()) {
            let cause = format!("{} packed bytes are not a multiple of {}", raw.len(), size_of::<T>());
            return Err(Error::new(ErrorKind::Length, cause).at(tag.start));
        }
        if self.is_empty() {
            self.bytes = raw;
        } else {
            self.append(&raw);
        }
        Ok(())
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            write_tag(number, Wire::Len, out);
            write_sized(out, |out| out.extend_from_slice(&self.bytes));
        }
    }
}
