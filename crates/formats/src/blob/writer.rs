//! Writing a weight file: offsets first, then one blob after the other.

use super::{ALIGNMENT, FORMAT, SENTINEL, VERSION, align, code_of};
use crate::{Error, ErrorKind};
use anemone_tensor::DType;
use std::io::{self, Write};

/// The plan of a weight file: where each blob will be. No data are held.
///
/// ```
/// use anemone_formats::blob::{Layout, Storage};
/// use anemone_tensor::DType;
///
/// let mut layout = Layout::new();
/// let at = layout.push(DType::U8, 3)?;
/// let mut file = Vec::new();
/// layout.write(&mut file, |_, out| out.write_all(&[1, 2, 3])).expect("a vector takes all bytes");
/// assert_eq!(Storage::open(file.into())?.blob(at)?.bytes[..], [1, 2, 3]);
/// # Ok::<(), anemone_formats::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Layout {
    blobs: Vec<Planned>,
    end: u64,
}

#[derive(Clone, Debug)]
struct Planned {
    code: u32,
    size: u64,
    at: u64,
    padding: u64,
}

impl Layout {
    /// A file without blobs.
    pub fn new() -> Layout {
        Layout { blobs: Vec::new(), end: ALIGNMENT }
    }

    /// Plans a blob of `count` elements and returns the offset by which values refer to it.
    ///
    /// # Errors
    /// When a weight file cannot hold the type, or the size overflows.
    pub fn push(&mut self, dtype: DType, count: usize) -> Result<u64, Error> {
        let Some(code) = code_of(dtype) else {
            let cause = format!("{dtype} elements cannot be stored in a weight file");
            return Err(Error::new(ErrorKind::Unsupported, cause).format(FORMAT));
        };
        let planned = self.plan(code, dtype, count).filter(|_| u32::try_from(self.blobs.len() + 1).is_ok());
        let Some((blob, end)) = planned else {
            let cause = format!("a blob of {count} {dtype} elements is too large for a weight file");
            return Err(Error::new(ErrorKind::TooLarge, cause).format(FORMAT));
        };
        let at = blob.at;
        self.blobs.push(blob);
        self.end = end;
        Ok(at)
    }

    fn plan(&self, code: u32, dtype: DType, count: usize) -> Option<(Planned, u64)> {
        let size = dtype.packed_len(count)?;
        let padding = u64::try_from(size.checked_mul(8)? - count * dtype.bits()).ok()?;
        let (at, size) = (align(self.end)?, u64::try_from(size).ok()?);
        let end = at.checked_add(ALIGNMENT)?.checked_add(size)?;
        Some((Planned { code, size, at, padding }, end))
    }

    /// How many blobs are planned.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// True when no blob is planned.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Size of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.end.max(ALIGNMENT)
    }

    /// Writes the file. `fill` is called once for each blob, in order, and writes its packed elements.
    ///
    /// # Errors
    /// When `out` or `fill` fails, or `fill` writes another number of bytes than was planned.
    pub fn write<W: Write>(
        &self,
        out: W,
        mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out = Counted { out, at: 0 };
        let count = u32::try_from(self.blobs.len()).map_err(io::Error::other)?;
        out.write_all(&count.to_le_bytes())?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.pad_to(ALIGNMENT)?;
        for (i, blob) in self.blobs.iter().enumerate() {
            out.pad_to(blob.at)?;
            out.write_all(&blob.record())?;
            let start = out.at;
            fill(i, &mut out)?;
            if out.at - start != blob.size {
                let cause = format!("blob {i} has {} bytes, but {} were planned", out.at - start, blob.size);
                return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
            }
        }
        out.flush()
    }
}

impl Planned {
    fn record(&self) -> [u8; 64] {
        let mut raw = [0; 64];
        raw[..4].copy_from_slice(&SENTINEL.to_le_bytes());
        raw[4..8].copy_from_slice(&self.code.to_le_bytes());
        raw[8..16].copy_from_slice(&self.size.to_le_bytes());
        raw[16..24].copy_from_slice(&(self.at + ALIGNMENT).to_le_bytes());
        raw[24..32].copy_from_slice(&self.padding.to_le_bytes());
        raw
    }
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    at: u64,
}

impl<W: Write> Counted<W> {
    fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        let gap = usize::try_from(offset.saturating_sub(self.at)).unwrap_or(0);
        self.write_all(&[0; 64][..gap.min(64)])
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, raw: &[u8]) -> io::Result<usize> {
        let written = self.out.write(raw)?;
        self.at += u64::try_from(written).map_err(io::Error::other)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
