//! Weights that stay in memory as the package has them, and products that read them so.
//!
//! A [`PackedMatrix`] is `outputs x inputs`, row-major, each row of whole bytes: numbers of 16 or 32 bits, integers of
//! 4 or 8 bits with scales and offsets, or indices of 1, 2, 3, 4, 6 or 8 bits into look-up tables. Few rows of
//! activations are multiplied straight from those bytes ([`product`]); many rows unpack panel by panel into the
//! matrix product, so that no dense copy of the weight is ever kept.

mod decode;
mod fixed;
mod product;

pub use product::{MAX_ROWS, PackedProduct};

use super::{Misfit, fits};
use anemone_tensor::{Bytes, DType};

/// What the bits of a packed matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Single precision numbers.
    F32,
    /// Half precision numbers.
    F16,
    /// Integers of 4 or 8 bits.
    Int {
        /// 4 or 8.
        bits: u32,
        /// Two's complement.
        signed: bool,
    },
    /// Indices of 1, 2, 3, 4, 6 or 8 bits into a table of `2^bits` numbers.
    Index {
        /// Bits of an index.
        bits: u32,
    },
}

impl Code {
    /// Bits of an element.
    pub fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 => 16,
            Self::Int { bits, .. } | Self::Index { bits } => bits,
        }
    }

    /// The element type of the bits.
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Int { bits: 4, signed: true } => DType::I4,
            Self::Int { bits: 8, signed: true } => DType::I8,
            Self::Int { bits: 4, .. } => DType::U4,
            Self::Int { .. } => DType::U8,
            Self::Index { bits: 1 } => DType::U1,
            Self::Index { bits: 2 } => DType::U2,
            Self::Index { bits: 3 } => DType::U3,
            Self::Index { bits: 4 } => DType::U4,
            Self::Index { bits: 6 } => DType::U6,
            Self::Index { .. } => DType::U8,
        }
    }
}

/// Numbers that hold for blocks of a matrix: `down x across` blocks of even size, `width` numbers each.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Blocks from top to bottom; divides the rows.
    pub down: usize,
    /// Blocks from left to right; divides the columns.
    pub across: usize,
    /// Numbers per block.
    pub width: usize,
    /// `[down, across, width]`
    pub values: Vec<f32>,
}

impl Grid {
    /// One number per block.
    pub fn scalars(down: usize, across: usize, values: Vec<f32>) -> Self {
        Self { down, across, width: 1, values }
    }

    fn check(&self, what: &str, rows: usize, columns: usize) -> Result<(), Misfit> {
        let even = |blocks: usize, len: usize| blocks > 0 && len.is_multiple_of(blocks);
        fits!(
            even(self.down, rows) && even(self.across, columns),
            "{what} of {} x {} blocks does not divide a matrix of {rows} x {columns}",
            self.down,
            self.across
        );
        let need = self.down.saturating_mul(self.across).saturating_mul(self.width);
        fits!(self.values.len() == need, "{what} has {} numbers, not {need}", self.values.len());
        fits!(self.values.iter().all(|v| v.is_finite()), "{what} has numbers that are not finite");
        Ok(())
    }

    /// The blocks of row `j` of a matrix of `rows` rows, left to right.
    fn row(&self, j: usize, rows: usize) -> &[f32] {
        let per_row = self.across * self.width;
        &self.values[j / (rows / self.down) * per_row..][..per_row]
    }
}

/// A weight of `rows` outputs and `columns` inputs, packed.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    rows: usize,
    columns: usize,
    code: Code,
    bytes: Bytes,
    /// Bytes of a row.
    pitch: usize,
    tables: Option<Grid>,
    scales: Option<Grid>,
    offsets: Option<Grid>,
    /// Tables in whole numbers.
    fixed: Option<fixed::Tables>,
}

impl PackedMatrix {
    /// A matrix over packed `bytes`, elements narrower than a byte from the lowest bit up, without gaps.
    ///
    /// `tables` belong to [`Code::Index`] and have `2^bits` numbers a block; an element is
    /// `scale * (number - offset)`. Rows that do not end on a byte are moved apart, which copies the bytes.
    ///
    /// # Errors
    /// [`Misfit`] when the extents are 0 or do not fit the bytes or the grids, or when a number in a grid is not finite.
    pub fn new(rows: usize, columns: usize, code: Code, bytes: Bytes) -> Result<Self, Misfit> {
        let need = rows.checked_mul(columns).and_then(|n| code.dtype().packed_len(n));
        fits!(rows > 0 && columns > 0, "packed matrix of {rows} x {columns}");
        fits!(
            need == Some(bytes.len()),
            "{} bytes for {rows} x {columns} elements of {} bits",
            bytes.len(),
            code.bits()
        );
        let row_bits = columns * code.bits() as usize;
        let pitch = row_bits.div_ceil(8);
        let bytes =
            if row_bits.is_multiple_of(8) { bytes } else { decode::part_rows(&bytes, rows, row_bits) };
        let fixed = match code {
            Code::Int { bits: 4, signed } => Some(fixed::Tables::of_integers(signed)),
            _ => None,
        };
        Ok(Self { rows, columns, code, bytes, pitch, tables: None, scales: None, offsets: None, fixed })
    }

    /// With look-up tables.
    ///
    /// # Errors
    /// [`Misfit`] when they do not belong to such elements, or do not fit.
    pub fn with_tables(mut self, tables: Grid) -> Result<Self, Misfit> {
        let entries = match self.code {
            Code::Index { bits } => 1usize << bits,
            _ => 0,
        };
        fits!(tables.width == entries, "tables of {} numbers, not {entries}", tables.width);
        tables.check("a look-up table", self.rows, self.columns)?;
        self.fixed = Some(fixed::Tables::of_palettes(&tables.values, entries));
        self.tables = Some(tables);
        Ok(self)
    }

    /// With factors.
    ///
    /// # Errors
    /// [`Misfit`] when they do not fit.
    pub fn with_scales(mut self, scales: Grid) -> Result<Self, Misfit> {
        scales.check("a scale", self.rows, self.columns)?;
        self.scales = Some(scales);
        Ok(self)
    }

    /// With numbers subtracted before the factor.
    ///
    /// # Errors
    /// [`Misfit`] when they do not fit.
    pub fn with_offsets(mut self, offsets: Grid) -> Result<Self, Misfit> {
        offsets.check("an offset", self.rows, self.columns)?;
        self.offsets = Some(offsets);
        Ok(self)
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What the bits are.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Bytes that it keeps in memory or in a mapped file.
    pub fn byte_len(&self) -> usize {
        let grids = [&self.tables, &self.scales, &self.offsets];
        let numbers: usize = grids.into_iter().flatten().map(|g| g.values.len()).sum();
        let tables = self.fixed.as_ref().map_or(0, |t| t.planes.len() + size_of_val(&*t.units));
        self.bytes.len() + numbers * size_of::<f32>() + tables
    }

    fn row(&self, j: usize) -> &[u8] {
        &self.bytes[j * self.pitch..(j + 1) * self.pitch]
    }

    /// The look-up table of an element.
    #[inline(always)]
    fn table(&self, j: usize, column: usize) -> &[f32] {
        let Some(grid) = &self.tables else { return &[0.0] };
        let block = column * grid.across / self.columns;
        &grid.row(j, self.rows)[block * grid.width..][..grid.width]
    }

    /// Columns over which tables, scales and offsets stay the same.
    fn segment(&self) -> usize {
        let grids = [&self.tables, &self.scales, &self.offsets];
        let across = grids.into_iter().flatten().map(|g| g.across);
        across.fold(self.columns, |segment, across| gcd(segment, self.columns / across))
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
