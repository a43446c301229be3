//! ONNX tensors in every spelling; the expected numbers follow the comments of `onnx-ml.proto`.

use anemone_formats::onnx::{
    AttributeType, DimensionValue, ElementType, ModelProto, StringStringEntryProto, TensorProto, TypeValue,
};
use anemone_formats::{Bytes, Error, ErrorKind};
use anemone_tensor::DType;
use anemone_testkit::corpus;

fn small() -> ModelProto {
    ModelProto::read(&corpus::bytes("onnx/small.onnx")).expect("a model")
}

#[test]
fn tensors_of_every_type_read_as_onnx_says() {
    let expected = corpus::json("onnx/expected.json");
    let graph = small().graph.expect("a graph");
    assert_eq!(Some(graph.initializer.len()), expected.as_object().map(serde_json::Map::len));
    for proto in &graph.initializer {
        let found = proto.to_tensor(&no_files).unwrap_or_else(|e| panic!("{e}"));
        let facts = serde_json::json!([found.shape(), found.to_f64s()]);
        assert_eq!(facts, expected[&proto.name], "{}", proto.name);
    }
}

#[test]
fn nodes_subgraphs_functions_and_types_are_read() {
    let model = small();
    assert_eq!((model.ir_version, model.opset("ai.onnx"), model.opset("custom")), (10, Some(21), Some(1)));
    let graph = model.graph.as_ref().expect("a graph");
    let [choose, twice] = &graph.node[..] else { panic!("two nodes") };
    assert_eq!((choose.op_type.as_str(), choose.name.as_str()), ("If", "choose"));
    let branch = choose.attribute[0].g.as_ref().expect("a subgraph");
    assert_eq!(branch.node[0].attribute[0].kind(), Ok(AttributeType::Tensor));
    let kinds: Vec<_> =
        twice.attribute.iter().map(|a| (a.name.as_str(), a.kind().expect("a type"))).collect();
    use AttributeType as T;
    assert_eq!(kinds, [("alpha", T::Float), ("axes", T::Ints), ("mode", T::String), ("scales", T::Floats)]);
    assert_eq!((&twice.attribute[1].ints[..], &twice.attribute[2].s[..]), (&[1, -2][..], &b"linear"[..]));
    let Some(TypeValue::Tensor(x)) = graph.input[1].value_type.as_ref().and_then(|t| t.value.as_ref()) else {
        panic!("a tensor")
    };
    let dims: Vec<_> = x.shape.iter().flat_map(|s| &s.dim).map(|d| d.value.clone()).collect();
    let expected = [Some(DimensionValue::Param("batch".into())), Some(DimensionValue::Value(3)), None];
    assert_eq!(dims, expected);
    assert_eq!(
        (model.functions[0].name.as_str(), &model.functions[0].attribute[..]),
        ("Twice", &["mode".to_owned()][..])
    );
}

#[test]
fn writing_an_unedited_model_loses_nothing() {
    let model = small();
    assert_eq!(ModelProto::read(&model.write().into()), Ok(model));
}

fn no_files(location: &str, _: usize, _: usize) -> Result<Bytes, Error> {
    Err(Error::new(ErrorKind::Missing, format!("no file {location}")))
}

fn tensor(data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto { data_type, dims: dims.to_vec(), name: "w".into(), ..TensorProto::default() }
}

fn values(proto: &TensorProto) -> Vec<f64> {
    proto.to_tensor(&no_files).expect("a valid tensor").to_f64s()
}

fn kind(proto: &TensorProto) -> Option<ErrorKind> {
    proto.to_tensor(&no_files).err().map(|e| e.kind())
}

fn external(entries: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    };
    let external_data = entries.iter().map(entry).collect();
    TensorProto { data_location: 1, external_data, ..tensor(1, &[2]) }
}

#[test]
fn typed_fields_hold_the_types_that_the_schema_names() {
    let floats = TensorProto { float_data: [1.5, -2.0].into_iter().collect(), ..tensor(1, &[2]) };
    assert_eq!(values(&floats), [1.5, -2.0]);
    let doubles = TensorProto { double_data: [0.1].into_iter().collect(), ..tensor(11, &[1]) };
    assert_eq!(values(&doubles), [0.1]);
    let halves = TensorProto { int32_data: vec![0x3c00, 0xc000], ..tensor(10, &[2]) };
    assert_eq!(values(&halves), [1.0, -2.0]);
    let brain = TensorProto { int32_data: vec![0x3f80], ..tensor(16, &[1]) };
    assert_eq!(values(&brain), [1.0]);
    let bytes = TensorProto { int32_data: vec![-128, 127], ..tensor(3, &[2]) };
    assert_eq!(values(&bytes), [-128.0, 127.0]);
    let nibbles = TensorProto { int32_data: vec![0x1f, 0x07], ..tensor(22, &[3]) };
    assert_eq!(values(&nibbles), [-1.0, 1.0, 7.0]);
    let wide = TensorProto { uint64_data: vec![u64::from(u32::MAX)], ..tensor(12, &[1]) };
    assert_eq!(values(&wide), [4_294_967_295.0]);
    let long = TensorProto { int64_data: vec![-5], ..tensor(7, &[]) };
    assert_eq!(values(&long), [-5.0]);
    let flags = TensorProto { int32_data: vec![1, 0], ..tensor(9, &[2]) };
    assert_eq!(values(&flags), [1.0, 0.0]);
}

#[test]
fn raw_data_shares_the_file() {
    let raw = Bytes::from_static(&[0x08, 1, 0x10, 2, 0x4a, 1, 0xff]);
    let proto = TensorProto::read(&raw).expect("a tensor");
    let found = proto.to_tensor(&no_files).expect("one byte");
    assert_eq!((found.dtype(), found.i64_at(0)), (DType::U8, 255));
    assert_eq!(found.bytes().as_ptr(), raw[6..].as_ptr());
}

#[test]
fn external_data_is_asked_for_by_place() {
    let ask = |location: &str, offset: usize, length: usize| {
        assert_eq!((location, offset, length), ("d/w.bin", 4096, 8));
        Ok(Bytes::from_static(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]))
    };
    for entries in [
        &[("location", "d/w.bin"), ("offset", "4096"), ("length", "8")][..],
        &[("location", "./d/w.bin"), ("offset", "4096")],
    ] {
        let found = external(entries).to_tensor(&ask).expect("two floats");
        assert_eq!(found.to_f64s(), [1.0, 2.0]);
    }
}

#[test]
fn external_data_stays_in_the_folder_of_the_model() {
    for path in ["/etc/passwd", "../w.bin", "a/../../w.bin", "..\\w.bin", ""] {
        assert_eq!(kind(&external(&[("location", path)])), Some(ErrorKind::Path), "{path}");
    }
    assert_eq!(kind(&external(&[])), Some(ErrorKind::Missing));
    assert_eq!(kind(&external(&[("location", "w"), ("offset", "-1")])), Some(ErrorKind::Malformed));
}

#[test]
fn data_that_does_not_fit_is_named() {
    let short = TensorProto { raw_data: Some(Bytes::from_static(&[0; 7])), ..tensor(1, &[2]) };
    let error = short.to_tensor(&no_files).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(error, "ONNX model: fp32 [2] takes 8 bytes, but 7 are given (in tensor \"w\")");
    assert_eq!(kind(&tensor(1, &[-1])), Some(ErrorKind::Malformed));
    assert_eq!(kind(&tensor(1, &[i64::MAX, i64::MAX])), Some(ErrorKind::TooLarge));
    let narrow = TensorProto { int32_data: vec![256], ..tensor(2, &[1]) };
    assert_eq!(kind(&narrow), Some(ErrorKind::Malformed));
}

#[test]
fn element_types_without_a_home_are_named() {
    let error = ElementType(18).dtype().err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(error, "element type FLOAT8E4M3FNUZ (code 18) is not supported");
    assert_eq!(kind(&tensor(99, &[1])), Some(ErrorKind::Unsupported));
}

#[test]
fn strings_are_read_as_text() {
    let texts = TensorProto { string_data: vec!["a".into(), "b".into()], ..tensor(8, &[2]) };
    assert_eq!(texts.strings(), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(tensor(8, &[2]).strings().err().map(|e| e.kind()), Some(ErrorKind::Length));
}

#[test]
fn a_file_without_a_graph_is_no_model() {
    assert_eq!(ModelProto::read(&Bytes::new()).err().map(|e| e.kind()), Some(ErrorKind::Missing));
}
