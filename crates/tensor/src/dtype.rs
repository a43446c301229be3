//! Element types.

use std::fmt;

/// Element type of a tensor: every data type that Core ML's `MIL.proto` names.
///
/// The names are those of MIL text (`fp16`, `int4`, ...); see `FeatureTypes.proto` and `MIL.proto` in
/// apple/coremltools, `mlmodel/format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is the MIL type of the same name")]
pub enum DType {
    Bool,
    F16,
    F32,
    F64,
    Bf16,
    I4,
    I8,
    I16,
    I32,
    I64,
    U1,
    U2,
    U3,
    U4,
    U6,
    U8,
    U16,
    U32,
    U64,
    F8E4M3,
    F8E5M2,
    /// Text; has no packed form, so a [`crate::Tensor`] never holds it.
    String,
}

impl DType {
    /// Every element type, in declaration order.
    pub const ALL: [DType; 22] = [
        DType::Bool,
        DType::F16,
        DType::F32,
        DType::F64,
        DType::Bf16,
        DType::I4,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U1,
        DType::U2,
        DType::U3,
        DType::U4,
        DType::U6,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F8E4M3,
        DType::F8E5M2,
        DType::String,
    ];

    /// Bits of one packed element; 8 for `bool`, 0 for `string`.
    pub const fn bits(self) -> usize {
        match self {
            DType::String => 0,
            DType::U1 => 1,
            DType::U2 => 2,
            DType::U3 => 3,
            DType::I4 | DType::U4 => 4,
            DType::U6 => 6,
            DType::Bool | DType::I8 | DType::U8 | DType::F8E4M3 | DType::F8E5M2 => 8,
            DType::F16 | DType::Bf16 | DType::I16 | DType::U16 => 16,
            DType::F32 | DType::I32 | DType::U32 => 32,
            DType::F64 | DType::I64 | DType::U64 => 64,
        }
    }

    /// Bytes that `count` packed elements take, or `None` when the number overflows.
    ///
    /// Elements narrower than a byte are packed least significant bit first (blob storage v2).
    pub const fn packed_len(self, count: usize) -> Option<usize> {
        match count.checked_mul(self.bits()) {
            Some(bits) => Some(bits.div_ceil(8)),
            None => None,
        }
    }

    /// True for `fp16`, `fp32`, `fp64`, `bf16` and the two 8-bit floats.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::F32 | DType::F64 | DType::Bf16 | DType::F8E4M3 | DType::F8E5M2)
    }

    /// True for every signed or unsigned integer type; `bool` is none.
    pub const fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, DType::Bool | DType::String)
    }

    /// True for signed integer types.
    pub const fn is_signed_int(self) -> bool {
        matches!(self, DType::I4 | DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// Name in MIL text, such as `fp16`, `uint3` or `string`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::F16 => "fp16",
            DType::F32 => "fp32",
            DType::F64 => "fp64",
            DType::Bf16 => "bf16",
            DType::I4 => "int4",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::U1 => "uint1",
            DType::U2 => "uint2",
            DType::U3 => "uint3",
            DType::U4 => "uint4",
            DType::U6 => "uint6",
            DType::U8 => "uint8",
            DType::U16 => "uint16",
            DType::U32 => "uint32",
            DType::U64 => "uint64",
            DType::F8E4M3 => "fp8e4m3fn",
            DType::F8E5M2 => "fp8e5m2",
            DType::String => "string",
        }
    }

    /// The type of that MIL text name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Smallest and largest value of an integer type (`u64` is clamped to `i64::MAX`).
    pub const fn int_range(self) -> Option<(i64, i64)> {
        match self {
            DType::I64 => Some((i64::MIN, i64::MAX)),
            DType::U64 => Some((0, i64::MAX)),
            _ if self.is_signed_int() => {
                let half = 1i64 << (self.bits() - 1);
                Some((-half, half - 1))
            }
            _ if self.is_int() => Some((0, (1i64 << self.bits()) - 1)),
            _ => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
