//! How the world sees a program: features, functions, metadata.
//!
//! Field meanings follow `Model.proto` and `FeatureTypes.proto` of apple/coremltools.

use anemone_tensor::DType;

/// Interface of a package.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Interface {
    /// `specificationVersion`.
    pub spec_version: i32,
    /// One entry per function; packages with a single function have one, named as the function.
    pub functions: Vec<FunctionInterface>,
    /// Function that runs when none is named.
    pub default_function: String,
    /// True when the description lists functions of their own (`ModelDescription.functions`).
    pub multi_function: bool,
    /// Author, licence and the like.
    pub metadata: Metadata,
    /// True when the model may be trained on the device.
    pub updatable: bool,
}

impl Interface {
    /// The entry of that function.
    pub fn function(&self, name: &str) -> Option<&FunctionInterface> {
        self.functions.iter().find(|f| f.name == name)
    }
}

/// Features of one function.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FunctionInterface {
    /// Function name.
    pub name: String,
    /// Inputs.
    pub inputs: Vec<Feature>,
    /// Outputs.
    pub outputs: Vec<Feature>,
    /// States.
    pub states: Vec<Feature>,
    /// Name of the output that holds a classifier's label; empty when there is none.
    pub predicted_feature: String,
    /// Name of the output that holds a classifier's probabilities; empty when there is none.
    pub predicted_probabilities: String,
    /// Inputs of an updatable model's training.
    pub training_inputs: Vec<Feature>,
}

/// One named input, output or state.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Name.
    pub name: String,
    /// What it is, in words.
    pub description: String,
    /// Kind and shape.
    pub kind: FeatureKind,
    /// True when an input may be left out.
    pub optional: bool,
}

/// Kind of a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureKind {
    /// A 64-bit integer.
    Int64,
    /// A 64-bit float.
    Double,
    /// Text.
    String,
    /// A picture.
    Image(ImageFeature),
    /// A tensor.
    MultiArray(ArrayFeature),
    /// A dictionary with integer (`true`) or text keys and double values.
    Dictionary {
        /// Keys are integers.
        int_keys: bool,
    },
    /// A list of integers (`true`) or texts, with the allowed lengths.
    Sequence {
        /// Elements are integers.
        ints: bool,
        /// Allowed lengths.
        lengths: SizeRange,
    },
    /// Memory that outlives a prediction.
    State(ArrayFeature),
    /// The description names no type.
    Unspecified,
}

/// Inclusive range of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizeRange {
    /// Smallest.
    pub lower: u64,
    /// Largest; `None` is unbounded.
    pub upper: Option<u64>,
}

/// A tensor feature.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayFeature {
    /// Element type: `fp16`, `fp32`, `fp64`, `int32` or `int8`; `None` when the description says none.
    pub dtype: Option<DType>,
    /// Default (or only) shape.
    pub shape: Vec<i64>,
    /// Further shapes.
    pub flexibility: Flexibility,
    /// Value of an optional input that is left out.
    pub default: Option<DefaultValue>,
}

/// Value of an optional input that is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DefaultValue {
    /// 32-bit integer.
    Int(i32),
    /// 32-bit float.
    Float(f32),
    /// 64-bit float.
    Double(f64),
}

/// Shapes that a tensor feature may take beside its default.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Flexibility {
    /// Only the default shape.
    #[default]
    Fixed,
    /// One of these shapes.
    Enumerated(Vec<Vec<i64>>),
    /// Any extent within a range, dim by dim.
    Ranges(Vec<SizeRange>),
}

/// A picture feature.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFeature {
    /// Default width in pixels.
    pub width: i64,
    /// Default height in pixels.
    pub height: i64,
    /// Pixel layout.
    pub color: ColorSpace,
    /// Further sizes.
    pub flexibility: ImageFlexibility,
}

/// Pixel layout of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the format")]
pub enum ColorSpace {
    Unspecified,
    Grayscale,
    Rgb,
    Bgr,
    GrayscaleF16,
}

/// Sizes that a picture may take beside its default, `[width, height]`.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum ImageFlexibility {
    /// Only the default size.
    #[default]
    Fixed,
    /// One of these sizes.
    Enumerated(Vec<[u64; 2]>),
    /// Any size within the two ranges.
    Ranges {
        /// Allowed widths.
        width: SizeRange,
        /// Allowed heights.
        height: SizeRange,
    },
}

/// Author, licence and the like.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Metadata {
    /// What the model does.
    pub description: String,
    /// Version text.
    pub version: String,
    /// Author.
    pub author: String,
    /// Licence.
    pub license: String,
    /// Further entries, sorted by key.
    pub user: Vec<(String, String)>,
}
