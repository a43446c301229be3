//! How each Rust type is read from and written to the wire.

use super::reader::{Reader, Tag, Wire};
use crate::Error;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// A struct made by `message!`.
pub trait Message: Default {
    /// Reads the field that `tag` announces.
    ///
    /// # Errors
    /// When the payload is malformed.
    fn merge_field(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error>;

    /// Writes all fields.
    fn write_fields(&self, out: &mut Vec<u8>);
}

/// The payload of one field: a number, text, bytes or a message.
pub trait Element: Default {
    /// Layout of the payload.
    const WIRE: Wire;

    /// Reads a payload; messages are merged, everything else is replaced.
    ///
    /// # Errors
    /// When the payload is malformed.
    fn merge(&mut self, r: &mut Reader<'_>) -> Result<(), Error>;

    /// Writes the payload, with its length where the layout has one.
    fn write(&self, out: &mut Vec<u8>);
}

/// A field of a message.
pub trait Field {
    /// Reads one occurrence.
    ///
    /// # Errors
    /// When the layout or the payload is wrong.
    fn merge(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error>;

    /// Writes tag and payload; nothing for a default or empty field.
    fn write(&self, number: u32, out: &mut Vec<u8>);

    /// True when `number` belongs to this field, which is declared under `declared`.
    fn owns(declared: u32, number: u32) -> bool
    where
        Self: Sized,
    {
        declared == number
    }

    /// The element being read, for the path of an error; `None` for fields that are not repeated.
    fn index(&self) -> Option<usize> {
        None
    }
}

pub(super) fn write_varint(mut v: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = v.to_le_bytes();
        v >>= 7;
        if v == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

pub(super) fn write_tag(number: u32, wire: Wire, out: &mut Vec<u8>) {
    write_varint(u64::from(number) << 3 | u64::from(wire.code()), out);
}

/// Writes what `body` writes, preceded by its length.
pub(super) fn write_sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    body(out);
    let end = out.len();
    write_varint(length_u64(end - start), out);
    let prefix = out.len() - end;
    out[start..].rotate_right(prefix);
}

fn length_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

pub(crate) fn write_nested<M: Message>(message: &M, out: &mut Vec<u8>) {
    write_sized(out, |out| message.write_fields(out));
}

pub(crate) fn write_element<T: Element>(number: u32, value: &T, out: &mut Vec<u8>) {
    write_tag(number, T::WIRE, out);
    value.write(out);
}

/// Reads one occurrence of a field and puts its name into an error.
pub(crate) fn merge_field<F: Field>(
    field: &mut F,
    name: &str,
    tag: Tag,
    r: &mut Reader<'_>,
) -> Result<(), Error> {
    field.merge(tag, r).map_err(|e| match field.index() {
        Some(i) => e.within(&format!("[{i}]")).within(name),
        None => e.within(name),
    })
}

macro_rules! scalar {
    ($ty:ty, $wire:expr, |$r:ident| $read:expr, |$v:ident, $out:ident| $write:expr, |$d:ident| $is_default:expr) => {
        impl Element for $ty {
            const WIRE: Wire = $wire;

            fn merge(&mut self, $r: &mut Reader<'_>) -> Result<(), Error> {
                *self = $read;
                Ok(())
            }

            fn write(&self, $out: &mut Vec<u8>) {
                let $v = self;
                $write
            }
        }

        impl Field for $ty {
            fn merge(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error> {
                r.expect(tag, Self::WIRE)?;
                Element::merge(self, r)
            }

            fn write(&self, number: u32, out: &mut Vec<u8>) {
                let $d = self;
                if !$is_default {
                    write_element(number, self, out);
                }
            }
        }
    };
}

scalar!(u64, Wire::Varint, |r| r.varint()?, |v, out| write_varint(*v, out), |v| *v == 0);
scalar!(
    i64,
    Wire::Varint,
    |r| r.varint()?.cast_signed(),
    |v, out| write_varint(v.cast_unsigned(), out),
    |v| *v == 0
);
scalar!(
    i32,
    Wire::Varint,
    |r| low_i32(r.varint()?),
    |v, out| write_varint(i64::from(*v).cast_unsigned(), out),
    |v| *v == 0
);
scalar!(bool, Wire::Varint, |r| r.varint()? != 0, |v, out| out.push(u8::from(*v)), |v| !*v);
scalar!(f32, Wire::Fixed32, |r| f32::from_le_bytes(r.array()?), |v, out| out.extend(v.to_le_bytes()), |v| v
    .to_bits()
    == 0);
scalar!(f64, Wire::Fixed64, |r| f64::from_le_bytes(r.array()?), |v, out| out.extend(v.to_le_bytes()), |v| v
    .to_bits()
    == 0);
scalar!(
    String,
    Wire::Len,
    |r| r.text()?,
    |v, out| write_sized(out, |out| out.extend_from_slice(v.as_bytes())),
    |v| v.is_empty()
);
scalar!(
    Bytes,
    Wire::Len,
    |r| r.bytes()?,
    |v, out| {
        write_varint(length_u64(v.len()), out);
        out.extend_from_slice(v);
    },
    |v| v.is_empty()
);

/// The low 32 bits, as protobuf asks for `int32` fields.
fn low_i32(v: u64) -> i32 {
    let [a, b, c, d, ..] = v.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

impl<T: Element> Element for Box<T> {
    const WIRE: Wire = T::WIRE;

    fn merge(&mut self, r: &mut Reader<'_>) -> Result<(), Error> {
        r.charge(size_of::<T>())?;
        T::merge(self, r)
    }

    fn write(&self, out: &mut Vec<u8>) {
        T::write(self, out);
    }
}

impl<T: Element> Field for Option<T> {
    fn merge(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error> {
        r.expect(tag, T::WIRE)?;
        Element::merge(self.get_or_insert_with(T::default), r)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            write_element(number, value, out);
        }
    }
}

impl<T: Element> Field for Vec<T> {
    fn merge(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error> {
        let mut one = |r: &mut Reader<'_>| {
            let mut value = T::default();
            value.merge(r)?;
            self.push(value);
            Ok(())
        };
        if tag.wire == Wire::Len && T::WIRE != Wire::Len {
            return r.region(one);
        }
        r.expect(tag, T::WIRE)?;
        r.charge(size_of::<T>())?;
        one(r)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        if T::WIRE == Wire::Len {
            self.iter().for_each(|value| write_element(number, value, out));
        } else if !self.is_empty() {
            write_tag(number, Wire::Len, out);
            write_sized(out, |out| self.iter().for_each(|value| value.write(out)));
        }
    }

    fn index(&self) -> Option<usize> {
        Some(self.len())
    }
}

/// Entries of a tree node of the standard library; a map of one entry takes the memory of a whole node.
const MAP_NODE: usize = 11;

impl<T: Element> Field for BTreeMap<String, T> {
    fn merge(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error> {
        r.expect(tag, Wire::Len)?;
        let entries = if self.is_empty() { MAP_NODE } else { 2 };
        r.charge(entries * size_of::<(String, T)>())?;
        let (mut key, mut value) = (String::new(), T::default());
        r.deeper()?;
        r.region(|r| {
            let tag = r.tag()?;
            match tag.number {
                1 => Field::merge(&mut key, tag, r),
                2 => {
                    r.expect(tag, T::WIRE)?;
                    Element::merge(&mut value, r)
                }
                _ => r.skip(tag),
            }
            .map_err(|e| e.within(&format!("[{key:?}]")))
        })?;
        r.shallower();
        self.insert(key, value);
        Ok(())
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) {
        for (key, value) in self {
            write_tag(number, Wire::Len, out);
            write_sized(out, |out| {
                write_element(1, key, out);
                write_element(2, value, out);
            });
        }
    }
}

/// The fields of a message that its reader does not know, as raw bytes that share the input.
#[derive(Clone, Default, PartialEq)]
pub struct Unknown(Option<Box<Pieces>>);

#[derive(Clone, Default, PartialEq)]
struct Pieces(Vec<Bytes>);

impl Unknown {
    /// True when every field was known.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The raw fields, each with its tag, in the order of the input.
    pub fn fields(&self) -> &[Bytes] {
        self.0.as_ref().map_or(&[], |pieces| &pieces.0)
    }

    pub(crate) fn keep(&mut self, tag: Tag, r: &mut Reader<'_>) -> Result<(), Error> {
        r.charge(size_of::<Bytes>())?;
        let raw = r.raw(tag)?;
        self.0.get_or_insert_default().0.push(raw);
        Ok(())
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.fields().iter().for_each(|raw| out.extend_from_slice(raw));
    }
}

/// Whole fields as [`Unknown::fields`] gives them, one or several behind each other; written back as they are.
impl From<Bytes> for Unknown {
    fn from(raw: Bytes) -> Unknown {
        Unknown((!raw.is_empty()).then(|| Box::new(Pieces(vec![raw]))))
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields()).finish()
    }
}
