//! Real models import, and what goes wrong is said with its place.

mod common;

use anemone_formats::onnx::{AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use anemone_formats::{Bytes, Error, ErrorKind};
use anemone_import::onnx;
use anemone_mil::{DType, Opset, Tensor};
use common::{bytes, import, no_files};

fn model(name: &str) -> ModelProto {
    ModelProto::read(&bytes(&format!("models/{name}.onnx"))).expect("a model")
}

fn problems(result: Result<anemone_import::Imported, anemone_import::Diagnostics>) -> String {
    match result {
        Ok(_) => panic!("imported"),
        Err(e) => e.to_string(),
    }
}

/// Shapes of inputs by name.
type Shapes = &'static [(&'static str, &'static [usize])];

#[test]
fn every_model_of_the_corpus_imports() {
    let fixed: &[(&str, Shapes)] = &[
        ("mnist", &[]),
        ("fastestdet", &[]),
        ("ultraface-rfb-320", &[]),
        ("ultraface-rfb-320-simplified", &[]),
        ("ultraface-slim-320", &[]),
        ("magika", &[("bytes", &[1, 2048])]),
        ("basic-pitch", &[("serving_default_input_2:0", &[1, 43844, 1])]),
        ("ppocr-cls", &[("x", &[1, 3, 48, 192])]),
        ("silero-vad-16k", &[]),
    ];
    for (name, shapes) in fixed {
        for opset in [Opset::Ios15, Opset::Ios18] {
            let imported = import(&model(name), opset, shapes).unwrap_or_else(|e| panic!("{name}: {e}"));
            let function = &imported.program.functions[0];
            assert!(!function.walk().is_empty(), "{name}");
            for v in function.outputs() {
                let ty = function.value(*v).ty.tensor().expect("a tensor");
                assert!(ty.known_shape().is_some(), "{name}: {ty}");
            }
        }
    }
}

#[test]
fn free_dims_stay_free_where_no_shape_is_given() {
    let imported = import(&model("magika"), Opset::Ios17, &[]).unwrap_or_else(|e| panic!("{e}"));
    let function = &imported.program.functions[0];
    assert_eq!(function.value(function.inputs[0]).ty.to_string(), "tensor<int32, [unk__214, 2048]>");
}

#[test]
fn weights_share_the_bytes_of_the_file() {
    let file = bytes("models/fastestdet.onnx");
    let model = ModelProto::read(&file).expect("a model");
    let imported = import(&model, Opset::Ios17, &[]).unwrap_or_else(|e| panic!("{e}"));
    let range = file.as_ptr_range();
    let function = &imported.program.functions[0];
    let (mut shared, mut copied) = (0, 0);
    for (_, value) in function.values() {
        if let Some(anemone_mil::Const::Weight(w)) = value.as_const()
            && let anemone_mil::WeightData::Bytes(b) = &w.data
        {
            *(if range.contains(&b.as_ptr()) { &mut shared } else { &mut copied }) += b.len();
        }
    }
    assert!(shared > 900_000 && copied < 20_000, "{shared} bytes shared, {copied} copied");
}

#[test]
fn wrong_shapes_are_refused_all_at_once() {
    let ppocr = import(&model("ppocr-cls"), Opset::Ios17, &[("x", &[1, 4, 48]), ("y", &[1])]);
    assert_eq!(
        problems(ppocr),
        "input `y`: is not an input of the model; its inputs are [\"x\"]\n\
         input `x`: was given shape [1, 4, 48], but the model declares [x_0, 3, x_2, x_3]"
    );
    let silero = import(&model("silero-vad-16k"), Opset::Ios17, &[("input", &[1, 512])]);
    assert_eq!(problems(silero), "input `input`: was given shape [1, 512], but the model declares [1, 576]");
}

fn node(op_type: &str, name: &str, domain: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        name: name.into(),
        domain: domain.into(),
        input: vec!["Input3".into()],
        output: vec![format!("{name}_out")],
        attribute: attributes,
        ..NodeProto::default()
    }
}

#[test]
fn unsupported_nodes_are_named_all_at_once_before_any_work() {
    let mut model = model("mnist");
    model.opset_import.push(OperatorSetIdProto { domain: "my.ops".into(), version: 2, ..Default::default() });
    let int =
        |name: &str, i| AttributeProto { name: name.into(), i, attribute_type: 2, ..Default::default() };
    let ints =
        AttributeProto { name: "axes".into(), ints: vec![0, 1], attribute_type: 7, ..Default::default() };
    let text = AttributeProto {
        name: "mode".into(),
        s: Bytes::from_static(b"fast"),
        attribute_type: 3,
        ..Default::default()
    };
    let graph = model.graph.as_mut().expect("a graph");
    let inner = anemone_formats::onnx::GraphProto {
        node: vec![node("Unique", "deep", "", vec![int("sorted", 1)])],
        ..Default::default()
    };
    let branch =
        AttributeProto { name: "then_branch".into(), g: Some(Box::new(inner)), ..Default::default() };
    graph.node.push(node("Det", "determinant", "", vec![]));
    graph.node.push(node("Blur", "blur", "my.ops", vec![int("radius", 3), ints, text]));
    graph.node.push(node("If", "choice", "", vec![branch]));
    assert_eq!(
        problems(import(&model, Opset::Ios17, &[])),
        "node 8 \"determinant\" (Det, opset 8): operator Det is not supported\n\
         node 9 \"blur\" (Blur, opset 8): operator Blur of domain my.ops with radius=3, axes=[0, 1], mode=fast is not \
         supported\n\
         node 10 \"choice\" (If, opset 8), then_branch: node 0 \"deep\" (Unique, opset 8): operator Unique with sorted=1 \
         is not supported"
    );
}

/// MNIST's input through an `If` on whether anything in it is not 0; branch 0 is the one taken then.
fn branching(branches: [NodeProto; 2]) -> ModelProto {
    let mut model = model("mnist");
    let graph = model.graph.as_mut().expect("a graph");
    let int = |name: &str, i| AttributeProto { name: name.into(), i, ..Default::default() };
    let mut cast = node("Cast", "cond", "", vec![int("to", 9)]);
    cast.input = vec!["most_out".into()];
    let attributes = ["then_branch", "else_branch"].into_iter().zip(branches).map(|(name, inner)| {
        let info = ValueInfoProto { name: inner.output[0].clone(), ..Default::default() };
        let g =
            anemone_formats::onnx::GraphProto { node: vec![inner], output: vec![info], ..Default::default() };
        AttributeProto { name: name.into(), g: Some(Box::new(g)), ..Default::default() }
    });
    let mut choice = node("If", "choice", "", attributes.collect());
    choice.input = vec!["cond_out".into()];
    graph.node = vec![node("ReduceMax", "most", "", vec![int("keepdims", 0)]), cast, choice];
    graph.output.truncate(1);
    graph.output[0].name = "choice_out".into();
    model
}

#[test]
fn a_branch_that_no_runtime_could_run_is_left_out_with_a_note() {
    let lstm = |name| node("LSTM", name, "", vec![]);
    let one = branching([node("Relu", "kept", "", vec![]), lstm("rnn")]);
    let imported = import(&one, Opset::Ios17, &[]).unwrap_or_else(|e| panic!("{e}"));
    let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    let wanted = "node 2 \"choice\" (If, opset 8): else_branch fails for the given input shapes, so the other one is \
                  always taken: node 2 \"choice\" (If, opset 8), else_branch: node 0 \"rnn\" (LSTM, opset 8): X has 4 \
                  dims, but must have 3";
    assert_eq!(notes, [wanted]);
    let x = Tensor::from_f64s(DType::F32, [1, 1, 28, 28], &vec![-1.0; 784]).expect("fits");
    let found = common::run(&imported, std::slice::from_ref(&x)).expect("runs");
    assert_eq!(found[0].to_f32s(), [0.0; 784]);

    let none = problems(import(&branching([lstm("a"), lstm("b")]), Opset::Ios17, &[]));
    assert_eq!(none.lines().count(), 2, "{none}");
    let unknown = branching([node("Relu", "kept", "", vec![]), node("Transpose", "bent", "", vec![])]);
    assert!(import(&unknown, Opset::Ios17, &[]).is_ok_and(|i| i.notes.is_empty()));
}

#[test]
fn faults_of_several_nodes_are_reported_together_and_once() {
    let mut model = model("mnist");
    let graph = model.graph.as_mut().expect("a graph");
    let strides = AttributeProto { name: "strides".into(), ints: vec![0, 0], ..Default::default() };
    for node in graph.node.iter_mut().filter(|n| n.op_type == "Conv") {
        node.attribute.retain(|a| a.name != "strides");
        node.attribute.push(strides.clone());
    }
    graph.output.push(ValueInfoProto { name: "nothing".into(), ..Default::default() });
    assert_eq!(
        problems(import(&model, Opset::Ios17, &[])),
        "node 0 \"Convolution28\" (Conv, opset 8): strides is [0, 0], but must be 2 numbers of at least 1\n\
         output `nothing`: is made by no node"
    );
}

#[test]
fn constants_far_larger_than_the_model_are_not_made() {
    let mut model = model("mnist");
    let graph = model.graph.as_mut().expect("a graph");
    let sizes = anemone_formats::onnx::TensorProto {
        name: "sizes".into(),
        dims: vec![4],
        data_type: 7,
        int64_data: vec![1, 1, 1 << 28, 28],
        ..Default::default()
    };
    graph.initializer.push(sizes);
    let mut resize = node("Resize", "resize", "", vec![]);
    resize.input.extend(["", "", "sizes"].map(String::from));
    graph.node = vec![resize];
    graph.output.truncate(1);
    graph.output[0].name = "resize_out".into();
    model.opset_import[0].version = 13;
    let problems = problems(import(&model, Opset::Ios17, &[]));
    assert!(
        problems.contains("needs a constant of shape [268435456], which has 268435456 elements"),
        "{problems}"
    );
}

#[test]
fn an_old_operator_set_or_none_is_refused() {
    let mut old = model("mnist");
    old.opset_import[0].version = 6;
    assert_eq!(
        problems(import(&old, Opset::Ios17, &[])),
        "model: uses opset 6, but 7 or newer is needed; convert it with onnx.version_converter"
    );
    old.opset_import.clear();
    assert_eq!(
        problems(import(&old, Opset::Ios17, &[])),
        "model: imports no standard operator set; export it again with one"
    );
}

#[test]
fn functions_that_call_themselves_end() {
    let mut model = model("mnist");
    let body = node("Again", "again", "local", vec![]);
    let function = anemone_formats::onnx::FunctionProto {
        name: "Again".into(),
        domain: "local".into(),
        input: vec!["Input3".into()],
        output: vec!["again_out".into()],
        node: vec![body.clone(), body.clone()],
        ..Default::default()
    };
    model.functions.push(function);
    model.graph.as_mut().expect("a graph").node.push(body);
    let found = problems(import(&model, Opset::Ios17, &[]));
    assert!(found.contains("function Again is called more than 64 calls deep, or calls itself"), "{found}");
}

#[test]
fn weights_in_another_file_import_as_those_in_the_model() {
    let inline = ModelProto::read(&bytes("import/external/inline.onnx")).expect("a model");
    let apart = ModelProto::read(&bytes("import/external/model.onnx")).expect("a model");
    let data = bytes("import/external/weights.bin");
    let options = onnx::Options { opset: Opset::Ios17, shapes: Vec::new() };
    let reader = |location: &str, offset: usize, length: usize| {
        assert_eq!(location, "weights.bin");
        let end = offset.checked_add(length).filter(|&end| end <= data.len());
        end.map(|end| data.slice(offset..end)).ok_or_else(|| Error::new(ErrorKind::Truncated, "past the end"))
    };
    let one = onnx::import(&inline, &options, &no_files).unwrap_or_else(|e| panic!("{e}"));
    let two = onnx::import(&apart, &options, &reader).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(anemone_mil::difference(&one.program, &two.program), None);
    let x = Tensor::from_f64s(DType::F32, [2, 300], &vec![0.5; 600]).expect("fits");
    let found = [&one, &two].map(|i| common::run(i, std::slice::from_ref(&x)).expect("runs"));
    assert_eq!(found[0], found[1]);
    let missing = problems(onnx::import(&apart, &options, &no_files));
    assert!(missing.contains("initializer `w`") && missing.contains("no file weights.bin"), "{missing}");
}
