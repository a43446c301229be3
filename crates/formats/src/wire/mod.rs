//! The protobuf wire format: reading without copying, writing with unknown fields kept.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>. Messages are declared with `message!` and `oneof!`; the
//! Rust type of a field says how it is encoded:
//!
//! | Rust type | protobuf |
//! |---|---|
//! | `i32`, `i64`, `u64`, `bool` | `int32` and enums, `int64`, `uint64`, `bool`; left out when zero |
//! | `f32`, `f64` | `float`, `double`; left out when all bits are zero |
//! | `String`, [`Bytes`] | `string`, `bytes`; left out when empty; `Bytes` share the input |
//! | `Option<T>`, `Option<Box<T>>` | a message, or a scalar with presence |
//! | `Vec<T>` | `repeated`; numbers are read packed or not and written packed |
//! | [`Packed<f32>`], [`Packed<f64>`] | `repeated float`, `double`, kept as bytes |
//! | `BTreeMap<String, T>` | `map<string, T>`, written sorted by key |
//! | `Option<E>` of a `oneof!` | declared under number 0, because its members have the numbers; the chosen member is written even when it is a default |
//!
//! A field number that a message does not declare is kept as raw bytes and written after the declared fields.

mod fields;
mod packed;
mod reader;
#[cfg(test)]
mod tests;

pub use fields::{Element, Field, Message, Unknown};
pub use packed::{Packed, PackedNumber};
pub use reader::{MAX_DEPTH, MAX_EXPANSION, MIN_BUDGET, Reader, Tag, Wire};

use crate::Error;
use bytes::Bytes;

/// Reads one message that fills `src`; its bytes fields share `src`.
///
/// # Errors
/// With byte offset and path, when `src` is not a message of this type.
pub fn decode<M: Message>(src: &Bytes) -> Result<M, Error> {
    let mut message = M::default();
    Reader::new(src).message(&mut message)?;
    Ok(message)
}

/// The bytes of a message. The same message always gives the same bytes.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    message.write_fields(&mut out);
    out
}

/// Declares messages: struct, reader, writer. See the table of this module.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* $number:literal => $field:ident: $ty:ty, )* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
            /// Fields that the reader does not know; written back after the known ones.
            pub unknown: $crate::wire::Unknown,
        }

        impl $crate::wire::Message for $name {
            fn merge_field(
                &mut self,
                tag: $crate::wire::Tag,
                r: &mut $crate::wire::Reader<'_>,
            ) -> Result<(), $crate::Error> {
                $( if <$ty as $crate::wire::Field>::owns($number, tag.number) {
                    return $crate::wire::merge_field(&mut self.$field, stringify!($field), tag, r);
                } )*
                self.unknown.keep(tag, r)
            }

            fn write_fields(&self, out: &mut Vec<u8>) {
                $( $crate::wire::Field::write(&self.$field, $number, out); )*
                self.unknown.write(out);
            }
        }

        impl $crate::wire::Element for $name {
            const WIRE: $crate::wire::Wire = $crate::wire::Wire::Len;

            fn merge(&mut self, r: &mut $crate::wire::Reader<'_>) -> Result<(), $crate::Error> {
                r.nested(self)
            }

            fn write(&self, out: &mut Vec<u8>) {
                $crate::wire::write_nested(self, out);
            }
        }
    )*};
}

/// Declares the members of a `oneof`.
macro_rules! oneof {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$member_meta:meta])* $number:literal => $member:ident($ty:ty), )* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $( $(#[$member_meta])* $member($ty), )* }

        impl $crate::wire::Field for Option<$name> {
            fn owns(_declared: u32, number: u32) -> bool {
                [$( $number ),*].contains(&number)
            }

            fn merge(
                &mut self,
                tag: $crate::wire::Tag,
                r: &mut $crate::wire::Reader<'_>,
            ) -> Result<(), $crate::Error> {
                match tag.number {
                    $( $number => {
                        r.expect(tag, <$ty as $crate::wire::Element>::WIRE)?;
                        r.charge(size_of::<$ty>())?;
                        let mut member = match self.take() {
                            Some($name::$member(old)) => old,
                            _ => <$ty>::default(),
                        };
                        $crate::wire::Element::merge(&mut member, r)?;
                        *self = Some($name::$member(member));
                    } )*
                    _ => r.skip(tag)?,
                }
                Ok(())
            }

            fn write(&self, _declared: u32, out: &mut Vec<u8>) {
                match self {
                    $( Some($name::$member(member)) => {
                        $crate::wire::write_element($number, member, out);
                    } )*
                    None => {}
                }
            }
        }

        impl $name {
            /// The name of the chosen member, as the variant is spelled.
            pub fn variant_name(&self) -> &'static str {
                match self { $( $name::$member(_) => stringify!($member), )* }
            }
        }
    )*};
}

pub(crate) use fields::{merge_field, write_element, write_nested};
pub(crate) use {message, oneof};
