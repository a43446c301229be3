//! Compiled models (`.mlmodelc`): `metadata.json` and `coremldata.bin`.
//!
//! Neither file is documented; both readers follow what files of coremlc 3404 and 3500 hold. Absent keys read as empty.

use crate::coreml::ModelDescription;
use crate::{Error, ErrorKind};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What `metadata.json` says about a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Version of the metadata, such as `3.0`.
    pub metadata_version: String,
    /// What the model does.
    pub short_description: String,
    /// Version that the author gave it.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// Its licence.
    pub license: String,
    /// Version of the Core ML specification that the model needs.
    pub specification_version: i64,
    /// Element types of the weights, such as `Mixed (Float16, Float32, Int8)`.
    pub storage_precision: String,
    /// Element types of the computation.
    pub compute_precision: String,
    /// Such as `MLModelType_mlProgram`.
    pub model_type: String,
    /// Name of the class that Xcode generates.
    pub generated_class_name: String,
    /// Such as `predict`.
    pub method: String,
    /// True when the model can be trained on the device.
    pub is_updatable: bool,
    /// How often each operator is used, such as `Ios16.conv`.
    pub op_histogram: BTreeMap<String, u64>,
    /// Oldest system for each platform.
    pub availability: BTreeMap<String, String>,
    /// Keys and values of the author's choice.
    pub user_defined: BTreeMap<String, String>,
    /// Inputs.
    pub inputs: Vec<Feature>,
    /// Outputs.
    pub outputs: Vec<Feature>,
    /// States.
    pub states: Vec<Feature>,
}

/// One input, output or state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feature {
    /// Name.
    pub name: String,
    /// Such as `MultiArray` or `Image`.
    pub feature_type: String,
    /// Element type, such as `Float32`; empty for types without elements.
    pub data_type: String,
    /// Dims, outermost first.
    pub shape: Vec<i64>,
    /// Type in words, such as `MultiArray (Float32 1 × 128)`.
    pub formatted_type: String,
    /// What it means, in words.
    pub short_description: String,
    /// True when a prediction may leave the feature out.
    pub is_optional: bool,
    /// True when other shapes are allowed.
    pub has_shape_flexibility: bool,
    /// Allowed ranges, as the file spells them.
    pub shape_range: String,
    /// Allowed shapes, as the file spells them.
    pub enumerated_shapes: String,
}

/// What `coremldata.bin` holds.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreMlData {
    /// Field number of the model's type in `Model.proto`; 502 is `mlProgram`.
    pub model_type: u32,
    /// Version of the Core ML specification that the model needs.
    pub specification_version: u32,
    /// The interface.
    pub description: ModelDescription,
}

const METADATA: &str = "compiled model metadata";
const DATA: &str = "compiled model data";

impl Metadata {
    /// Reads a `metadata.json`: an array with one object for each model, which is one for all files seen so far.
    ///
    /// # Errors
    /// When it is not a JSON array of objects, or a value has another type than expected.
    pub fn read(bytes: &[u8]) -> Result<Vec<Metadata>, Error> {
        let entries: Vec<Map<String, Value>> = serde_json::from_slice(bytes).map_err(|e| {
            let cause = format!("not a JSON array of objects: {e}");
            Error::new(ErrorKind::Malformed, cause).format(METADATA)
        })?;
        let read = |(i, entry): (usize, &Map<String, Value>)| {
            Metadata::parse(entry).map_err(|e| e.within(&format!("[{i}]")).format(METADATA))
        };
        entries.iter().enumerate().map(read).collect()
    }

    fn parse(entry: &Map<String, Value>) -> Result<Metadata, Error> {
        let model_type = match entry.get("modelType").and_then(Value::as_object) {
            Some(model_type) => text(model_type, "name")?,
            None => String::new(),
        };
        Ok(Metadata {
            metadata_version: text(entry, "metadataOutputVersion")?,
            short_description: text(entry, "shortDescription")?,
            version: text(entry, "version")?,
            author: text(entry, "author")?,
            license: text(entry, "license")?,
            specification_version: entry.get("specificationVersion").and_then(Value::as_i64).unwrap_or(0),
            storage_precision: text(entry, "storagePrecision")?,
            compute_precision: text(entry, "computePrecision")?,
            model_type,
            generated_class_name: text(entry, "generatedClassName")?,
            method: text(entry, "method")?,
            is_updatable: text(entry, "isUpdatable")? == "1",
            op_histogram: map(entry, "mlProgramOperationTypeHistogram", Value::as_u64)?,
            availability: map(entry, "availability", string)?,
            user_defined: map(entry, "userDefinedMetadata", string)?,
            inputs: features(entry, "inputSchema")?,
            outputs: features(entry, "outputSchema")?,
            states: features(entry, "stateSchema")?,
        })
    }
}

impl Feature {
    fn parse(entry: &Value) -> Result<Feature, Error> {
        let Some(entry) = entry.as_object() else {
            return Err(wrong("a feature", "an object"));
        };
        let shape = text(entry, "shape")?;
        let shape = match shape.as_str() {
            "" => Vec::new(),
            shape => serde_json::from_str(shape).map_err(|_| wrong("shape", "a list of integers"))?,
        };
        Ok(Feature {
            name: text(entry, "name")?,
            feature_type: text(entry, "type")?,
            data_type: text(entry, "dataType")?,
            shape,
            formatted_type: text(entry, "formattedType")?,
            short_description: text(entry, "shortDescription")?,
            is_optional: text(entry, "isOptional")? == "1",
            has_shape_flexibility: text(entry, "hasShapeFlexibility")? == "1",
            shape_range: text(entry, "shapeRange")?,
            enumerated_shapes: text(entry, "enumeratedShapes")?,
        })
    }
}

fn wrong(key: &str, expected: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("{key} is not {expected}"))
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn text(entry: &Map<String, Value>, key: &str) -> Result<String, Error> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(value) => string(value).ok_or_else(|| wrong(key, "a string")),
    }
}

fn map<T>(
    entry: &Map<String, Value>,
    key: &str,
    convert: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>, Error> {
    let Some(object) = entry.get(key).and_then(Value::as_object) else {
        return Ok(BTreeMap::new());
    };
    let convert = |(name, value): (&String, &Value)| convert(value).map(|value| (name.clone(), value));
    object.iter().map(convert).collect::<Option<_>>().ok_or_else(|| wrong(key, "a map of values of one type"))
}

fn features(entry: &Map<String, Value>, key: &str) -> Result<Vec<Feature>, Error> {
    let Some(entries) = entry.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    let parse =
        |(i, entry): (usize, &Value)| Feature::parse(entry).map_err(|e| e.within(&format!("{key}[{i}]")));
    entries.iter().enumerate().map(parse).collect()
}

impl CoreMlData {
    /// Reads a `coremldata.bin`.
    ///
    /// Layout: `u32` model type, `u64` 5, 16 zero bytes, `u64` length and a word (`generic`), `u32` specification version,
    /// 28 zero bytes, `u64` length and a `ModelDescription`, then a trailer that is not read.
    ///
    /// # Errors
    /// When the bytes end early or the description is malformed.
    pub fn read(bytes: &Bytes) -> Result<CoreMlData, Error> {
        let mut cursor = Cursor { bytes, at: 0 };
        let model_type = cursor.word()?;
        cursor.take(24)?;
        cursor.sized()?;
        let specification_version = cursor.word()?;
        cursor.take(28)?;
        let description = cursor.sized()?;
        let description = ModelDescription::read(&description)?;
        Ok(CoreMlData { model_type, specification_version, description })
    }
}

struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            let left = self.bytes.len() - self.at;
            let cause = format!("a part takes {len} bytes, but only {left} are left");
            return Err(Error::new(ErrorKind::Truncated, cause).at(self.at).format(DATA));
        };
        let found = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(found)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N)?);
        Ok(out)
    }

    fn word(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn sized(&mut self) -> Result<Bytes, Error> {
        let len = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }
}
