//! Just enough protobuf to write ONNX models with faults in them; field numbers are those of `onnx-ml.proto`.

/// A field of bytes, text or a message.
pub fn field(number: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut out = varint(number << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

/// A field with a number in it.
pub fn int(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut v: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while v > 127 {
        out.push((v & 127) as u8 | 128);
        v >>= 7;
    }
    out.push(v as u8);
    out
}

/// `NodeProto` called `name`, with an integer attribute or none.
pub fn node(
    op: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attribute: Option<(&str, u64)>,
) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|i| field(1, i)).collect();
    outputs.iter().for_each(|o| out.extend(field(2, o)));
    out.extend(field(3, name));
    out.extend(field(4, op));
    if let Some((key, value)) = attribute {
        out.extend(field(5, [field(1, key), int(3, value), int(20, 2)].concat()));
    }
    out
}

/// `ValueInfoProto` of `float` elements; a dim of text is symbolic.
pub fn value(name: &str, dims: &[Result<u64, &str>]) -> Vec<u8> {
    let dim = |d: &Result<u64, &str>| match d {
        Ok(n) => field(1, int(1, *n)),
        Err(symbol) => field(1, field(2, symbol)),
    };
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    let tensor = [int(1, 1), field(2, shape)].concat();
    [field(1, name), field(2, field(1, tensor))].concat()
}

/// `TensorProto` of `float` elements whose bytes lie in another file.
pub fn external(name: &str, dims: &[u64], entries: &[(&str, &str)]) -> Vec<u8> {
    let mut out: Vec<u8> = dims.iter().flat_map(|&d| int(1, d)).collect();
    out.extend([int(2, 1), field(8, name)].concat());
    for (key, value) in entries {
        out.extend(field(13, [field(1, key), field(2, value)].concat()));
    }
    out.extend(int(14, 1));
    out
}

/// `ModelProto` of opset 17.
pub fn model(
    nodes: &[Vec<u8>],
    initializers: &[Vec<u8>],
    inputs: &[Vec<u8>],
    outputs: &[Vec<u8>],
) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|n| field(1, n)).collect();
    graph.extend(field(2, "g"));
    initializers.iter().for_each(|t| graph.extend(field(5, t)));
    inputs.iter().for_each(|i| graph.extend(field(11, i)));
    outputs.iter().for_each(|o| graph.extend(field(12, o)));
    [int(1, 8), field(7, graph), field(8, int(2, 17))].concat()
}
