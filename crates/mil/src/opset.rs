//! Op set versions.

use std::fmt;

/// A version of the op set, named after the first iOS that runs it.
///
/// Names and numbers: apple/coremltools, `mlmodel/format/Model.proto` and `MIL.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is the iOS release of the same number")]
pub enum Opset {
    Ios13,
    Ios14,
    Ios15,
    Ios16,
    Ios17,
    Ios18,
    Ios26,
}

impl Opset {
    /// All op sets, oldest first.
    pub const ALL: [Opset; 7] =
        [Opset::Ios13, Opset::Ios14, Opset::Ios15, Opset::Ios16, Opset::Ios17, Opset::Ios18, Opset::Ios26];

    /// Name in MIL text, such as `ios17`.
    pub const fn name(self) -> &'static str {
        match self {
            Opset::Ios13 => "ios13",
            Opset::Ios14 => "ios14",
            Opset::Ios15 => "ios15",
            Opset::Ios16 => "ios16",
            Opset::Ios17 => "ios17",
            Opset::Ios18 => "ios18",
            Opset::Ios26 => "ios26",
        }
    }

    /// Name in `MIL.proto`, such as `CoreML7`.
    pub const fn coreml_name(self) -> &'static str {
        match self {
            Opset::Ios13 => "CoreML3",
            Opset::Ios14 => "CoreML4",
            Opset::Ios15 => "CoreML5",
            Opset::Ios16 => "CoreML6",
            Opset::Ios17 => "CoreML7",
            Opset::Ios18 => "CoreML8",
            Opset::Ios26 => "CoreML9",
        }
    }

    /// `specificationVersion` of a model that needs this op set.
    pub const fn spec_version(self) -> i32 {
        match self {
            Opset::Ios13 => 4,
            Opset::Ios14 => 5,
            Opset::Ios15 => 6,
            Opset::Ios16 => 7,
            Opset::Ios17 => 8,
            Opset::Ios18 => 9,
            Opset::Ios26 => 10,
        }
    }

    /// The op set of a MIL text or `MIL.proto` name.
    pub fn from_name(name: &str) -> Option<Opset> {
        Opset::ALL.into_iter().find(|o| o.name() == name || o.coreml_name() == name)
    }
}

impl fmt::Display for Opset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
