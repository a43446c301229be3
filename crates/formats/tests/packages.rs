//! Real packages: everything that coremltools' schema sees in them is read, and nothing is lost by writing them.

use anemone_formats::blob::{Layout, Storage};
use anemone_formats::coreml::{FeatureDescription, FeatureKind, Model, mil};
use anemone_formats::manifest::Manifest;
use anemone_formats::{Bytes, ErrorKind};
use anemone_tensor::DType;
use anemone_testkit::corpus;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DATA: &str = "Data/com.apple.CoreML";

fn packages() -> Vec<(String, Value)> {
    let expected = corpus::json("packages/expected.json");
    expected.as_object().expect("one entry per package").clone().into_iter().collect()
}

fn model_bytes(package: &str) -> Bytes {
    corpus::bytes(&format!("packages/{package}.mlpackage/{DATA}/model.mlmodel"))
}

fn model(package: &str) -> Model {
    Model::read(&model_bytes(package)).unwrap_or_else(|e| panic!("{package}: {e}"))
}

fn weights(package: &str) -> Option<Bytes> {
    let name = format!("packages/{package}.mlpackage/{DATA}/weights/weight.bin");
    corpus::path(&name).exists().then(|| corpus::bytes(&name))
}

/// Feature as `[name, type, optional]`, in the words of the schema.
fn feature(f: &FeatureDescription) -> Value {
    let feature_type = f.feature_type.as_ref().expect("every feature has a type");
    let kind = match feature_type.kind.as_ref().expect("every type has a kind") {
        FeatureKind::Int64(_) => "int64Type",
        FeatureKind::Double(_) => "doubleType",
        FeatureKind::String(_) => "stringType",
        FeatureKind::Image(_) => "imageType",
        FeatureKind::MultiArray(_) => "multiArrayType",
        FeatureKind::Dictionary(_) => "dictionaryType",
        FeatureKind::Sequence(_) => "sequenceType",
        FeatureKind::State(_) => "stateType",
    };
    json!([f.name, kind, feature_type.is_optional])
}

fn interface(
    input: &[FeatureDescription],
    output: &[FeatureDescription],
    state: &[FeatureDescription],
) -> Value {
    let all = |features: &[FeatureDescription]| features.iter().map(feature).collect::<Value>();
    json!({ "input": all(input), "output": all(output), "state": all(state) })
}

fn count_ops(block: &mil::Block, ops: &mut BTreeMap<String, u64>) {
    for op in &block.operations {
        *ops.entry(op.op_type.clone()).or_default() += 1;
        op.blocks.iter().for_each(|inner| count_ops(inner, ops));
    }
}

fn type_name(value_type: &mil::ValueType) -> Value {
    let inner = match &value_type.kind {
        Some(mil::TypeKind::State(_)) => return json!(["UNUSED_TYPE", "stateType"]),
        _ => value_type.as_tensor().and_then(mil::TensorType::dtype),
    };
    let name = match inner {
        Some(DType::F16) => "FLOAT16",
        Some(DType::F32) => "FLOAT32",
        Some(DType::I32) => "INT32",
        other => panic!("add the name of {other:?}"),
    };
    json!([name, "tensorType"])
}

#[test]
fn every_package_reads_as_the_schema_says() {
    for (name, expected) in packages() {
        let model = model(&name);
        let description = model.description.as_ref().expect("an interface");
        let kind = model.kind.as_ref().expect("a type");
        assert_eq!(json!(kind.type_name()), expected["type"], "{name}");
        assert_eq!(json!(model.specification_version), expected["specificationVersion"], "{name}");
        let top = interface(&description.input, &description.output, &description.state);
        assert_eq!(top, expected["interface"], "{name}");
        for f in &description.functions {
            let found = interface(&f.input, &f.output, &f.state);
            assert_eq!(found, expected["functionInterfaces"][&f.name], "{name}.{}", f.name);
        }
        assert_functions(&name, &model, &expected["functions"]);
    }
}

fn assert_functions(package: &str, model: &Model, expected: &Value) {
    let program = model.program().expect("an ML program");
    assert_eq!(Some(program.functions.len()), expected.as_object().map(serde_json::Map::len), "{package}");
    for (name, function) in &program.functions {
        let expected = &expected[name];
        assert_eq!(json!(function.opset), expected["opset"], "{package}.{name}");
        let input = |i: &mil::NamedValueType| {
            let found = type_name(i.value_type.as_ref().expect("a type"));
            json!([i.name, found[0], found[1]])
        };
        assert_eq!(
            function.inputs.iter().map(input).collect::<Value>(),
            expected["inputs"],
            "{package}.{name}"
        );
        let mut ops = BTreeMap::new();
        count_ops(function.body().expect("the active block"), &mut ops);
        assert_eq!(json!(ops), expected["ops"], "{package}.{name}");
    }
}

#[test]
fn writing_an_unedited_model_loses_nothing() {
    for (name, _) in packages() {
        let bytes = model_bytes(&name);
        let model = model(&name);
        let written = Bytes::from(model.write());
        assert_eq!(written.len(), bytes.len(), "{name}: same fields, so the same size");
        assert_eq!(Model::read(&written).as_ref(), Ok(&model), "{name}");
        assert_eq!(model.write(), written, "{name}: writing is deterministic");
    }
}

#[test]
fn weight_files_are_read_and_written_byte_for_byte() {
    for (name, expected) in packages() {
        let Some(bytes) = weights(&name) else { continue };
        let storage = Storage::open(bytes.clone()).expect("a weight file");
        let blobs: Vec<_> = storage.blobs().map(|b| b.unwrap_or_else(|e| panic!("{name}: {e}"))).collect();
        let mut layout = Layout::new();
        for (blob, facts) in blobs.iter().zip(expected["blobs"].as_array().expect("a list")) {
            assert_eq!(json!([blob.offset, blob.bytes.len()]), json!([facts[0], facts[2]]), "{name}");
            let bits =
                blob.count * blob.dtype.bits() + usize::try_from(facts[3].as_u64().unwrap_or(0)).unwrap_or(0);
            assert_eq!(bits, blob.bytes.len() * 8, "{name}: elements and padding fill the bytes");
            assert_eq!(layout.push(blob.dtype, blob.count), Ok(blob.offset), "{name}");
        }
        assert_eq!(Some(blobs.len()), expected["blobs"].as_array().map(Vec::len), "{name}");
        let mut written = Vec::new();
        layout.write(&mut written, |i, out| out.write_all(&blobs[i].bytes)).expect("memory takes all bytes");
        assert_eq!(layout.file_len(), u64::try_from(written.len()).unwrap_or(0), "{name}");
        assert_eq!(Bytes::from(written), bytes, "{name}");
    }
}

fn values_in<'a>(block: &'a mil::Block, found: &mut Vec<&'a mil::Value>) {
    for op in &block.operations {
        found.extend(op.attributes.values());
        for binding in op.inputs.values().flat_map(|argument| &argument.arguments) {
            if let Some(mil::BindingKind::Value(value)) = &binding.binding {
                found.push(value);
            }
        }
        op.blocks.iter().for_each(|inner| values_in(inner, found));
    }
}

#[test]
fn every_blob_reference_finds_elements_of_its_type_and_shape() {
    for (name, _) in packages() {
        let Some(storage) = weights(&name).map(|b| Storage::open(b).expect("a weight file")) else {
            continue;
        };
        let model = model(&name);
        let mut values = Vec::new();
        for function in model.program().expect("an ML program").functions.values() {
            values_in(function.body().expect("a body"), &mut values);
        }
        for value in values {
            let Some(mil::ValueKind::BlobFile(at)) = &value.value else { continue };
            let blob = storage.blob(at.offset).unwrap_or_else(|e| panic!("{name}: {e}"));
            let tensor = value.value_type.as_ref().and_then(|t| t.as_tensor()).expect("a tensor");
            let count: u64 = tensor.dimensions.iter().map(|d| d.size().expect("a known dim")).product();
            assert_eq!((tensor.dtype(), count), (Some(blob.dtype), blob.count as u64), "{name}");
            assert_eq!(at.relative_path().as_deref(), Ok("weights/weight.bin"));
        }
    }
}

#[test]
fn manifests_lead_to_the_model_and_survive_writing() {
    for (name, _) in packages() {
        let bytes = corpus::bytes(&format!("packages/{name}.mlpackage/Manifest.json"));
        let manifest = Manifest::read(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(manifest.model().map(|item| item.path.as_str()), Some("com.apple.CoreML/model.mlmodel"));
        let mut back = Manifest::read(&manifest.write()).expect("what is written reads");
        back.items.sort_by_key(|item| manifest.items.iter().position(|other| other == item));
        assert_eq!(back, manifest, "{name}");
    }
}

#[test]
fn equal_packages_have_equal_manifests() {
    let first = Manifest::for_model(b"model", true);
    assert_eq!(first.write(), Manifest::for_model(b"model", true).write());
    assert_ne!(first.root, Manifest::for_model(b"other", true).root);
    assert_eq!(Manifest::read(&first.write()).map(|m| m.items.len()), Ok(2));
    assert_eq!(Manifest::for_model(b"model", false).items.len(), 1);
    let groups: Vec<usize> = first.root.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12]);
}

#[test]
fn the_folder_of_any_author_is_accepted() {
    let text = String::from_utf8(Manifest::for_model(b"", false).write()).expect("JSON is text");
    let other = text.replace("com.apple.CoreML/", "com.ishank.Test/");
    let manifest = Manifest::read(other.as_bytes()).expect("a manifest");
    assert_eq!(manifest.model().map(|item| item.path.as_str()), Some("com.ishank.Test/model.mlmodel"));
}

#[test]
fn models_of_other_types_keep_their_bytes_and_are_named() {
    // Field 500 (neuralNetwork) with three bytes, after specificationVersion 4.
    let bytes = Bytes::from_static(b"\x08\x04\xa2\x1f\x03\x0a\x01x");
    let model = Model::read(&bytes).expect("any type reads");
    assert_eq!(Bytes::from(model.write()), bytes);
    let error = model.program().map(|_| ()).expect_err("no ML program");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("neuralNetwork"), "{error}");
}

#[test]
fn pipelines_are_read_with_their_models() {
    // Field 202 (pipeline) with models of types 610 (nonMaximumSuppression) and 502 (mlProgram), and two names.
    let bytes = Bytes::from_static(b"\xd2\x0c\x10\x0a\x03\x92\x26\x00\x0a\x03\xb2\x1f\x00\x12\x01a\x12\x01b");
    let model = Model::read(&bytes).expect("a pipeline");
    let pipeline = model.kind.as_ref().and_then(|kind| kind.pipeline()).expect("a pipeline");
    let types: Vec<_> =
        pipeline.models.iter().filter_map(|m| m.kind.as_ref()).map(|k| k.type_name()).collect();
    assert_eq!(types, ["nonMaximumSuppression", "mlProgram"]);
    assert_eq!(pipeline.names, ["a", "b"]);
    assert_eq!(Bytes::from(model.write()), bytes);
}

#[test]
fn unknown_fields_of_nested_messages_survive_writing() {
    let mut model = model("state");
    let before = model.write();
    let description = model.description.as_mut().expect("an interface");
    assert!(description.unknown.is_empty());
    // Field 4000 of the description, a string from a future version.
    let mut nested = Vec::from(&b"\x12\x07\x82\xfa\x01\x03new"[..]);
    nested.extend(&before);
    let future = Model::read(&nested.into()).expect("unknown fields are no error");
    let kept = future.description.as_ref().map(|d| d.unknown.fields().len());
    assert_eq!(kept, Some(1));
    let again = Model::read(&future.write().into()).expect("what is written reads");
    assert_eq!(again, future);
}

#[test]
fn blob_paths_stay_inside_the_model() {
    let path = |file_name: &str| {
        let value = mil::BlobFileValue { file_name: file_name.into(), ..Default::default() };
        value.relative_path().map_err(|e| e.kind())
    };
    assert_eq!(path("@model_path/weights/a.bin").as_deref(), Ok("weights/a.bin"));
    for bad in ["weights/a.bin", "/etc/passwd", "@model_path/../x", "@model_path/..\\x", "@model_path//", ""]
    {
        assert_eq!(path(bad), Err(ErrorKind::Path), "{bad}");
    }
}

#[test]
fn a_blob_that_fills_less_than_planned_is_an_error() {
    let mut layout = Layout::new();
    layout.push(DType::U3, 3).expect("two bytes");
    let short = layout.write(&mut Vec::new(), |_, out| out.write_all(&[0]));
    assert_eq!(short.map_err(|e| e.to_string()), Err("blob 0 has 1 bytes, but 2 were planned".into()));
    assert_eq!(layout.push(DType::F64, 1).map_err(|e| e.kind()), Err(ErrorKind::Unsupported));
    assert_eq!(layout.push(DType::F32, usize::MAX).map_err(|e| e.kind()), Err(ErrorKind::TooLarge));
}
