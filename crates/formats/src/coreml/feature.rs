//! `FeatureTypes.proto`: the types of inputs, outputs and states.

use crate::wire::{message, oneof};
use anemone_tensor::DType;

message! {
    /// The type of a feature.
    pub struct FeatureType {
        /// Which type.
        0 => kind: Option<FeatureKind>,
        /// True when a prediction may leave the feature out.
        1000 => is_optional: bool,
    }

    /// A 64-bit integer.
    pub struct Int64FeatureType {}

    /// A double.
    pub struct DoubleFeatureType {}

    /// Text.
    pub struct StringFeatureType {}

    /// Allowed sizes of one dimension, both ends included.
    pub struct SizeRange {
        /// Smallest size.
        1 => lower_bound: u64,
        /// Largest size; negative when there is no limit.
        2 => upper_bound: i64,
    }

    /// A picture.
    pub struct ImageFeatureType {
        /// Width in pixels, by default.
        1 => width: i64,
        /// Height in pixels, by default.
        2 => height: i64,
        /// Code of a [`ColorSpace`].
        3 => color_space: i32,
        /// Other sizes that are allowed.
        0 => size_flexibility: Option<SizeFlexibility>,
    }

    /// Width and height in pixels.
    pub struct ImageSize {
        /// Width.
        1 => width: u64,
        /// Height.
        2 => height: u64,
    }

    /// A list of sizes of a picture.
    pub struct EnumeratedImageSizes {
        /// The sizes.
        1 => sizes: Vec<ImageSize>,
    }

    /// Ranges of the size of a picture.
    pub struct ImageSizeRange {
        /// Range of the width.
        1 => width_range: Option<SizeRange>,
        /// Range of the height.
        2 => height_range: Option<SizeRange>,
    }

    /// An array of numbers (`MLMultiArray`).
    pub struct ArrayFeatureType {
        /// Dims, outermost first, by default.
        1 => shape: Vec<i64>,
        /// Code of an [`ArrayDataType`].
        2 => data_type: i32,
        /// Other shapes that are allowed.
        0 => shape_flexibility: Option<ShapeFlexibility>,
        /// Value of every element when an optional input is left out.
        0 => default_optional_value: Option<DefaultOptionalValue>,
    }

    /// One shape.
    pub struct Shape {
        /// Dims, outermost first.
        1 => shape: Vec<i64>,
    }

    /// A list of shapes.
    pub struct EnumeratedShapes {
        /// The shapes; the first is the default.
        1 => shapes: Vec<Shape>,
    }

    /// A range for each dim.
    pub struct ShapeRange {
        /// One range for each dim, outermost first.
        1 => size_ranges: Vec<SizeRange>,
    }

    /// A dictionary from keys to doubles.
    pub struct DictionaryFeatureType {
        /// Type of the keys.
        0 => key_type: Option<DictionaryKey>,
    }

    /// A sequence.
    pub struct SequenceFeatureType {
        /// Type of the elements.
        0 => element: Option<SequenceElement>,
        /// Allowed lengths.
        101 => size_range: Option<SizeRange>,
    }

    /// A tensor that lives from one prediction to the next.
    pub struct StateFeatureType {
        /// Its type.
        0 => kind: Option<StateKind>,
    }
}

oneof! {
    /// Which type a feature has.
    pub enum FeatureKind {
        /// A 64-bit integer.
        1 => Int64(Int64FeatureType),
        /// A double.
        2 => Double(DoubleFeatureType),
        /// Text.
        3 => String(StringFeatureType),
        /// A picture.
        4 => Image(ImageFeatureType),
        /// An array of numbers.
        5 => MultiArray(ArrayFeatureType),
        /// A dictionary.
        6 => Dictionary(DictionaryFeatureType),
        /// A sequence.
        7 => Sequence(SequenceFeatureType),
        /// A state.
        8 => State(StateFeatureType),
    }

    /// Sizes of a picture besides the default.
    pub enum SizeFlexibility {
        /// One of a list.
        21 => EnumeratedSizes(EnumeratedImageSizes),
        /// Any in a range.
        31 => ImageSizeRange(ImageSizeRange),
    }

    /// Shapes of an array besides the default.
    pub enum ShapeFlexibility {
        /// One of a list.
        21 => EnumeratedShapes(EnumeratedShapes),
        /// Any in a range.
        31 => ShapeRange(ShapeRange),
    }

    /// Value of every element of an input that is left out.
    pub enum DefaultOptionalValue {
        /// For integer arrays.
        41 => Int(i32),
        /// For `f32` arrays.
        51 => Float(f32),
        /// For `f64` arrays.
        61 => Double(f64),
    }

    /// Type of a dictionary's keys.
    pub enum DictionaryKey {
        /// 64-bit integers.
        1 => Int64(Int64FeatureType),
        /// Text.
        2 => String(StringFeatureType),
    }

    /// Type of a sequence's elements.
    pub enum SequenceElement {
        /// 64-bit integers.
        1 => Int64(Int64FeatureType),
        /// Text.
        3 => String(StringFeatureType),
    }

    /// Type of a state.
    pub enum StateKind {
        /// An array of numbers.
        1 => Array(ArrayFeatureType),
    }
}

/// Element type of an array feature: kind in the high half of the code, bits in the low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayDataType {
    /// 16-bit float, since iOS 16.
    Float16,
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Double,
    /// 8-bit signed integer, since iOS 26.
    Int8,
    /// 32-bit signed integer.
    Int32,
}

impl ArrayDataType {
    const TABLE: [(ArrayDataType, i32, DType); 5] = [
        (ArrayDataType::Float16, 0x1_0010, DType::F16),
        (ArrayDataType::Float32, 0x1_0020, DType::F32),
        (ArrayDataType::Double, 0x1_0040, DType::F64),
        (ArrayDataType::Int8, 0x2_0008, DType::I8),
        (ArrayDataType::Int32, 0x2_0020, DType::I32),
    ];

    /// The type of that code.
    pub fn from_code(code: i32) -> Option<ArrayDataType> {
        Self::TABLE.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    /// The type that holds elements of `dtype`.
    pub fn from_dtype(dtype: DType) -> Option<ArrayDataType> {
        Self::TABLE.iter().find(|row| row.2 == dtype).map(|row| row.0)
    }

    /// The code in the file.
    pub fn code(self) -> i32 {
        Self::TABLE.iter().find(|row| row.0 == self).map_or(0, |row| row.1)
    }

    /// The element type.
    pub fn dtype(self) -> DType {
        Self::TABLE.iter().find(|row| row.0 == self).map_or(DType::F32, |row| row.2)
    }
}

/// Channels of a picture and their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorSpace {
    /// One channel of 8 bits.
    Grayscale,
    /// Red, green, blue, 8 bits each.
    Rgb,
    /// Blue, green, red, 8 bits each.
    Bgr,
    /// One channel of 16-bit floats.
    GrayscaleFloat16,
}

impl ColorSpace {
    /// The colour space of that code.
    pub fn from_code(code: i32) -> Option<ColorSpace> {
        match code {
            10 => Some(ColorSpace::Grayscale),
            20 => Some(ColorSpace::Rgb),
            30 => Some(ColorSpace::Bgr),
            40 => Some(ColorSpace::GrayscaleFloat16),
            _ => None,
        }
    }

    /// The code in the file.
    pub fn code(self) -> i32 {
        match self {
            ColorSpace::Grayscale => 10,
            ColorSpace::Rgb => 20,
            ColorSpace::Bgr => 30,
            ColorSpace::GrayscaleFloat16 => 40,
        }
    }
}

impl FeatureType {
    /// A required feature of that kind.
    pub fn new(kind: FeatureKind) -> FeatureType {
        FeatureType { kind: Some(kind), ..FeatureType::default() }
    }
}

impl SizeRange {
    /// Sizes from `lower` to `upper`; no upper limit for `None`.
    pub fn new(lower: u64, upper: Option<u64>) -> SizeRange {
        let upper_bound = upper.map_or(-1, |v| i64::try_from(v).unwrap_or(i64::MAX));
        SizeRange { lower_bound: lower, upper_bound, ..SizeRange::default() }
    }

    /// The largest size, or `None` when there is no limit.
    pub fn upper(&self) -> Option<u64> {
        u64::try_from(self.upper_bound).ok()
    }
}
