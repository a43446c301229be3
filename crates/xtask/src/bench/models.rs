//! Models that are large enough to measure, made once.

use anemone::files::Staging;
use anemone_formats::onnx::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorType as OnnxType, TypeProto, TypeValue, ValueInfoProto,
};
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, Bytes, DType, Level, Opset, Program, Tensor, TensorType, Weight, verify};
use anemone_package::{Kept, write};
use anemone_tensor::f16;
use std::fs;
use std::path::Path;

/// Bytes without pattern, the same in every run (xorshift, Marsaglia 2003), none of them the high byte of a large float.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = 2 * seed + 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend((state & 0x1fff_1fff_1fff_1fff).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A package of five products with 100 MB of `fp16` each.
pub fn package(path: &Path) -> Result<(), String> {
    let (wide, narrow) = (10_240, 5_120);
    let shapes = (0..5).map(|layer| if layer % 2 == 0 { [narrow, wide] } else { [wide, narrow] });
    products(path, Opset::Ios17, shapes, |count, layer| noise(count * 2, layer + 1))
}

/// A package of products with `side * side` weights of `fp16` each, normally distributed.
pub fn normal(path: &Path, layers: usize, side: usize) -> Result<(), String> {
    products(path, Opset::Ios18, (0..layers).map(|_| [side, side]), |count, layer| {
        // The sum of twelve even numbers is as good as normal for this.
        let bytes = noise(count * 24, layer + 1);
        let normal = |b: &[u8]| {
            let even =
                b.as_chunks::<2>().0.iter().map(|b| f32::from(u16::from_le_bytes(*b) & 0x1fff) / 8192.0);
            f16::from_f32((even.sum::<f32>() - 6.0) * 0.02).to_le_bytes()
        };
        bytes.chunks_exact(24).flat_map(normal).collect()
    })
}

/// A package of products one after the other; `weight` gives the bytes of so many elements.
fn products(
    path: &Path,
    opset: Opset,
    shapes: impl Iterator<Item = [usize; 2]>,
    weight: impl Fn(usize, u64) -> Vec<u8>,
) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let mut shapes = shapes.peekable();
    let mut b = Builder::new("main", opset);
    let first = shapes.peek().map_or(1, |s| s[1]);
    let mut x = b.input("x", TensorType::new(DType::F16, [1, first]));
    for (layer, [rows, columns]) in (0u64..).zip(shapes) {
        let bytes = Bytes::from(weight(rows * columns, layer));
        let tensor = Tensor::new(DType::F16, [rows, columns], bytes).map_err(|e| e.to_string())?;
        let weight = b.constant(&format!("weight_{layer}"), Weight::of(&tensor));
        let product = b.op("linear").arg("x", x).arg("weight", weight).one(&format!("linear_{layer}"));
        x = product.map_err(|e| e.to_string())?;
    }
    b.output(x);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Canonical).map_err(|e| e.to_string())?;
    let mut staging = Staging::new(path).map_err(|e| e.to_string())?;
    write(verified, &Kept::default(), &mut staging).map_err(|e| e.to_string())?;
    staging.finish().map_err(|e| e.to_string())
}

/// An ONNX file of 90 MB: nine convolutions of 9.4 MB and a classifier of 5 MB, over a picture of 8 x 8 pixels.
pub fn onnx(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let mut graph = GraphProto { name: "large".into(), ..GraphProto::default() };
    graph.input.push(value("x", &[1, 512, 8, 8]));
    let mut last = "x".to_string();
    for layer in 0..9 {
        let weight = format!("conv_{layer}.weight");
        graph.initializer.push(floats(&weight, &[512, 512, 3, 3], layer));
        let conv =
            node("Conv", &[&last, &weight], &format!("conv_{layer}"), vec![ints("pads", &[1, 1, 1, 1])]);
        graph.node.push(conv);
        graph.node.push(node("Relu", &[&format!("conv_{layer}")], &format!("relu_{layer}"), Vec::new()));
        last = format!("relu_{layer}");
    }
    graph.node.push(node("GlobalAveragePool", &[&last], "pooled", Vec::new()));
    graph.node.push(node("Flatten", &["pooled"], "flat", Vec::new()));
    graph.initializer.push(floats("head.weight", &[512, 2500], 9));
    graph.node.push(node("MatMul", &["flat", "head.weight"], "y", Vec::new()));
    graph.output.push(value("y", &[1, 2500]));
    let opset = OperatorSetIdProto { version: 13, ..OperatorSetIdProto::default() };
    let graph = Some(Box::new(graph));
    let model = ModelProto { ir_version: 8, graph, opset_import: vec![opset], ..ModelProto::default() };
    fs::write(path, model.write()).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn node(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        name: output.into(),
        op_type: op_type.into(),
        attribute,
        ..NodeProto::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), attribute_type: 7, ..AttributeProto::default() }
}

/// Small numbers: noise whose exponents are cut off.
fn floats(name: &str, dims: &[i64], seed: u64) -> TensorProto {
    let count: i64 = dims.iter().product();
    let raw = noise(usize::try_from(count).unwrap_or_default() * 4, seed + 100);
    TensorProto {
        dims: dims.to_vec(),
        data_type: 1,
        name: name.into(),
        raw_data: Some(raw.into()),
        ..TensorProto::default()
    }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| Dimension { value: Some(DimensionValue::Value(d)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..TensorShapeProto::default() };
    let tensor = OnnxType { elem_type: 1, shape: Some(shape), ..OnnxType::default() };
    let value_type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.into(), value_type, ..ValueInfoProto::default() }
}

/// MIL text of a chain of `ops` ops, of which every tenth is refused by the ANE.
pub fn long_text(ops: usize) -> String {
    let mut text =
        String::from("program(1.3)\n{\n    func main<ios18>(tensor<fp16, [1, 64, 32, 32]> x0) {\n");
    for i in 0..ops {
        let kind = if i % 10 == 9 { "tan" } else { "sigmoid" };
        let line = format!(
            "tensor<fp16, [1, 64, 32, 32]> x{} = {kind}(x = x{i})[name = string(\"x{}\")];\n",
            i + 1,
            i + 1
        );
        text += "            ";
        text += &line;
    }
    text + &format!("        }} -> (x{ops});\n}}\n")
}

/// MIL text of `ops` ops that all take the input and are all outputs.
pub fn wide_text(ops: usize) -> String {
    let mut text = String::from("program(1.3)\n{\n    func main<ios18>(tensor<fp16, [1, 64, 32, 32]> x) {\n");
    for i in 0..ops {
        let kind = if i % 10 == 9 { "tan" } else { "sigmoid" };
        text += &format!(
            "            tensor<fp16, [1, 64, 32, 32]> y{i} = {kind}(x = x)[name = string(\"y{i}\")];\n"
        );
    }
    let outputs: Vec<String> = (0..ops).map(|i| format!("y{i}")).collect();
    text + &format!("        }} -> ({});\n}}\n", outputs.join(", "))
}
