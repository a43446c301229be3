//! The reader: one pass over shared bytes, with offsets for errors and limits on depth and memory.

use super::Message;
use crate::{Error, ErrorKind};
use bytes::Bytes;

/// Deepest nesting of messages, the limit that protobuf's own parsers have.
pub const MAX_DEPTH: usize = 100;

/// Most bytes of structs that one byte of input may become.
///
/// The largest ratio measured over two thousand Core ML packages is 33; a crafted file of empty messages would
/// reach 200.
pub const MAX_EXPANSION: usize = 64;

/// Bytes of structs that are always allowed, so that tiny files are never refused.
pub const MIN_BUDGET: usize = 1 << 16;

/// How a field is laid out on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Base-128 number of up to ten bytes.
    Varint,
    /// Eight bytes, little endian.
    Fixed64,
    /// A length and that many bytes.
    Len,
    /// Four bytes, little endian.
    Fixed32,
}

impl Wire {
    pub(super) const fn code(self) -> u32 {
        match self {
            Wire::Varint => 0,
            Wire::Fixed64 => 1,
            Wire::Len => 2,
            Wire::Fixed32 => 5,
        }
    }
}

/// What precedes every field.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Field number, at least 1.
    pub number: u32,
    /// Layout of the payload.
    pub wire: Wire,
    /// Offset of the tag itself.
    pub start: usize,
}

/// A position in the input, and how much nesting and memory may still be used.
#[derive(Debug)]
pub struct Reader<'a> {
    src: &'a Bytes,
    at: usize,
    end: usize,
    depth: usize,
    budget: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `src`.
    pub fn new(src: &'a Bytes) -> Reader<'a> {
        let budget = src.len().saturating_mul(MAX_EXPANSION).saturating_add(MIN_BUDGET);
        Reader { src, at: 0, end: src.len(), depth: 0, budget }
    }

    /// True when the current message has no more fields.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    fn fail<T>(&self, at: usize, kind: ErrorKind, cause: impl Into<String>) -> Result<T, Error> {
        Err(Error::new(kind, cause).at(at))
    }

    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], Error> {
        let left = self.end - self.at;
        let Some(found) = self.src.get(self.at..self.at.saturating_add(len)).filter(|_| len <= left) else {
            let cause = format!("{what} takes {len} bytes, but only {left} are left in its message");
            return self.fail(self.at, ErrorKind::Truncated, cause);
        };
        self.at += len;
        Ok(found)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0u8; N];
        out.copy_from_slice(self.take(N, "a fixed-width number")?);
        Ok(out)
    }

    /// Reads a base-128 number.
    ///
    /// # Errors
    /// When it is cut off or does not fit 64 bits.
    pub fn varint(&mut self) -> Result<u64, Error> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1, "a varint")? else {
                return self.fail(start, ErrorKind::Truncated, "a varint is cut off");
            };
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.fail(start, ErrorKind::Malformed, "a varint does not fit 64 bits")
    }

    /// Reads a field number and wire type.
    ///
    /// # Errors
    /// For number 0, numbers beyond 29 bits, groups and undefined wire types.
    pub fn tag(&mut self) -> Result<Tag, Error> {
        let start = self.at;
        let raw = self.varint()?;
        let Ok(number @ 1..0x2000_0000) = u32::try_from(raw >> 3) else {
            let cause = format!("field number {} is outside 1 to 536870911", raw >> 3);
            return self.fail(start, ErrorKind::Malformed, cause);
        };
        let wire = match raw & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Len,
            5 => Wire::Fixed32,
            code @ (3 | 4) => {
                let cause = format!("field {number} is a group (wire type {code}), which is not supported");
                return self.fail(start, ErrorKind::Unsupported, cause);
            }
            code => {
                let cause = format!("field {number} has wire type {code}; only 0, 1, 2 and 5 exist");
                return self.fail(start, ErrorKind::Malformed, cause);
            }
        };
        Ok(Tag { number, wire, start })
    }

    /// Checks the layout of a field.
    ///
    /// # Errors
    /// When the tag says another one.
    pub fn expect(&self, tag: Tag, wire: Wire) -> Result<(), Error> {
        if tag.wire == wire {
            return Ok(());
        }
        let cause = format!("field {} is encoded as {:?}, but must be {wire:?}", tag.number, tag.wire);
        self.fail(tag.start, ErrorKind::Malformed, cause)
    }

    fn length(&mut self) -> Result<usize, Error> {
        let start = self.at;
        let raw = self.varint()?;
        match usize::try_from(raw) {
            Ok(len) if len <= self.end - self.at => Ok(len),
            _ => {
                let left = self.end - self.at;
                let cause = format!("a field announces {raw} bytes, but only {left} are left in its message");
                self.fail(start, ErrorKind::Truncated, cause)
            }
        }
    }

    /// Reads a length and returns that part of the input, shared.
    ///
    /// # Errors
    /// When the part ends beyond the message.
    pub fn bytes(&mut self) -> Result<Bytes, Error> {
        let len = self.length()?;
        let found = self.src.slice(self.at..self.at + len);
        self.at += len;
        Ok(found)
    }

    /// Reads a length and that much text.
    ///
    /// # Errors
    /// When the part ends beyond the message or is not UTF-8.
    pub fn text(&mut self) -> Result<String, Error> {
        let len = self.length()?;
        let start = self.at;
        match std::str::from_utf8(self.take(len, "a string")?) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => {
                let cause = "a string is not UTF-8";
                self.fail(start + e.valid_up_to(), ErrorKind::NotUtf8, cause)
            }
        }
    }

    /// Reads a length and hands that region to `read`, one element after the other.
    pub(super) fn region(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let len = self.length()?;
        let outer = std::mem::replace(&mut self.end, self.at + len);
        while !self.is_at_end() {
            read(self)?;
        }
        self.end = outer;
        Ok(())
    }

    /// Reads the fields of a message up to the end of the current region.
    pub(super) fn message<M: Message>(&mut self, message: &mut M) -> Result<(), Error> {
        while !self.is_at_end() {
            let tag = self.tag()?;
            message.merge_field(tag, self)?;
        }
        Ok(())
    }

    /// Reads a length and the fields of a nested message.
    ///
    /// # Errors
    /// When nested deeper than [`MAX_DEPTH`], or malformed.
    pub fn nested<M: Message>(&mut self, message: &mut M) -> Result<(), Error> {
        self.deeper()?;
        self.region(|r| {
            let tag = r.tag()?;
            message.merge_field(tag, r)
        })?;
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn deeper(&mut self) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            let cause = format!("messages are nested more than {MAX_DEPTH} deep");
            return self.fail(self.at, ErrorKind::TooDeep, cause);
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn shallower(&mut self) {
        self.depth -= 1;
    }

    /// Steps over the payload of a field.
    ///
    /// # Errors
    /// When it is cut off.
    pub fn skip(&mut self, tag: Tag) -> Result<(), Error> {
        match tag.wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.take(8, "a fixed-width number").map(drop),
            Wire::Fixed32 => self.take(4, "a fixed-width number").map(drop),
            Wire::Len => self.bytes().map(drop),
        }
    }

    /// Steps over the payload of a field and returns it with its tag, shared.
    pub(super) fn raw(&mut self, tag: Tag) -> Result<Bytes, Error> {
        self.skip(tag)?;
        Ok(self.src.slice(tag.start..self.at))
    }

    /// Accounts for `bytes` of structs about to be made.
    ///
    /// # Errors
    /// When the input would take more than [`MAX_EXPANSION`] times its size.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        match self.budget.checked_sub(bytes) {
            Some(left) => self.budget = left,
            None => {
                let cause =
                    format!("reading would take more than {MAX_EXPANSION} times the size of the input");
                return self.fail(self.at, ErrorKind::TooLarge, cause);
            }
        }
        Ok(())
    }
}
