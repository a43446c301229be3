//! Ops that move, compare, sort or gather elements, on one thread and on two: `cargo bench -p anemone-exec --bench threads`.
//!
//! Each runs in a session of one op, so that a figure holds what a step costs around its kernel too.
#![allow(missing_docs)] // the macros of divan make public items

use anemone_exec::{Options, Session};
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Level, Opset, Program, Tensor, TensorType, ValueId, verify};
use anemone_model::{Features, Predict};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const OPS: [&str; 15] = [
    "less",
    "select",
    "cast to int32",
    "cast to fp32",
    "add of int32",
    "gather of rows",
    "gather along an axis",
    "scatter of rows",
    "scatter along an axis",
    "topk of a long line",
    "argsort of lines",
    "cumsum",
    "argmax of columns",
    "transpose of 3 columns",
    "bidirectional lstm",
];

fn given(
    b: &mut Builder,
    inputs: &mut Vec<(String, Tensor)>,
    dtype: DType,
    shape: &[usize],
    below: i64,
) -> ValueId {
    let name = format!("x{}", inputs.len());
    let values: Vec<i64> =
        (0..shape.iter().product::<usize>() as i64).map(|i| i * 7919 % 100_003 % below).collect();
    let tensor = Tensor::from_i64s(dtype, shape, &values).unwrap();
    inputs.push((name.clone(), tensor));
    b.input(&name, TensorType::new(dtype, shape.iter().copied()))
}

fn build(op: &str, b: &mut Builder, inputs: &mut Vec<(String, Tensor)>) -> Vec<ValueId> {
    let (f, i, shape) = (DType::F32, DType::I32, [1024, 2048]);
    let mut x = |b: &mut Builder, dtype, shape: &[usize], below| given(b, inputs, dtype, shape, below);
    let made = match op {
        "less" => {
            let (x, y) = (x(b, f, &shape, 100), x(b, f, &shape, 99));
            b.op("less").arg("x", x).arg("y", y).all("y")
        }
        "select" => {
            let (c, x, y) = (x(b, DType::Bool, &shape, 2), x(b, f, &shape, 100), x(b, f, &shape, 99));
            b.op("select").arg("cond", c).arg("a", x).arg("b", y).all("y")
        }
        "cast to int32" | "cast to fp32" => {
            let (from, to) = if op == "cast to fp32" { (i, "fp32") } else { (f, "int32") };
            let x = x(b, from, &shape, 100);
            b.op("cast").arg("x", x).str("dtype", to).all("y")
        }
        "add of int32" => {
            let (x, y) = (x(b, i, &shape, 100), x(b, i, &shape, 99));
            b.op("add").arg("x", x).arg("y", y).all("y")
        }
        "gather of rows" => {
            let (x, at) = (x(b, f, &[8192, 256], 100), x(b, i, &[8192], 8192));
            b.op("gather").arg("x", x).arg("indices", at).int("axis", 0).int("batch_dims", 0).all("y")
        }
        "gather along an axis" => {
            let (x, at) = (x(b, f, &shape, 100), x(b, i, &shape, 1024));
            b.op("gather_along_axis").arg("x", x).arg("indices", at).int("axis", 0).all("y")
        }
        "scatter of rows" => {
            let (data, at, updates) =
                (x(b, f, &[4096, 256], 99), x(b, i, &[8192], 4096), x(b, f, &[8192, 256], 98));
            let op = b.op("scatter").arg("data", data).arg("indices", at).arg("updates", updates);
            op.int("axis", 0).str("mode", "add").all("y")
        }
        "scatter along an axis" => {
            let (data, at, updates) = (x(b, f, &shape, 99), x(b, i, &shape, 1024), x(b, f, &shape, 98));
            let op = b.op("scatter_along_axis").arg("data", data).arg("indices", at).arg("updates", updates);
            op.int("axis", 0).str("mode", "add").all("y")
        }
        "topk of a long line" => {
            let x = x(b, f, &[1, 1 << 20], 100_003);
            b.op("topk").arg("x", x).int("k", 50).int("axis", 1).all("y")
        }
        "argsort of lines" => {
            let x = x(b, f, &[64, 8192], 100_003);
            b.op("argsort").arg("x", x).int("axis", 1).all("y")
        }
        "cumsum" => {
            let x = x(b, f, &shape, 100);
            b.op("cumsum").arg("x", x).int("axis", 1).all("y")
        }
        "argmax of columns" => {
            let x = x(b, f, &[1, 21, 512, 256], 100);
            b.op("reduce_argmax").arg("x", x).int("axis", 1).all("y")
        }
        "transpose of 3 columns" => {
            let x = x(b, f, &[1 << 20, 3], 100);
            b.op("transpose").arg("x", x).ints("perm", &[1, 0]).all("y")
        }
        _ => {
            let x = x(b, f, &[64, 8, 64], 3);
            lstm(b, x, 64)
        }
    };
    made.unwrap()
}

/// Both directions over `x [steps, 8, hidden]`.
fn lstm(b: &mut Builder, x: ValueId, hidden: usize) -> Result<Vec<ValueId>, anemone_mil::ops::Fault> {
    let constant = |b: &mut Builder, name: &str, shape: &[usize]| {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|i: usize| (i % 13) as f32 / 64.0 - 0.1).collect();
        b.constant(name, Tensor::from_f32s(shape, &values).unwrap())
    };
    let names = ["weight_ih", "weight_hh", "bias", "weight_ih_back", "weight_hh_back", "bias_back"];
    let shapes = [[4 * hidden, hidden], [4 * hidden, hidden], [4 * hidden, 0]];
    let weights: Vec<ValueId> = names
        .iter()
        .zip(shapes.iter().cycle())
        .map(|(name, s)| constant(b, name, if s[1] == 0 { &s[..1] } else { &s[..] }))
        .collect();
    let (h, c) = (constant(b, "h", &[8, 2 * hidden]), constant(b, "c", &[8, 2 * hidden]));
    let mut op = b.op("lstm").arg("x", x).arg("initial_h", h).arg("initial_c", c);
    for (name, weight) in names.into_iter().zip(weights) {
        op = op.arg(name, weight);
    }
    op.str("direction", "bidirectional").bool("output_sequence", true).all("y")
}

#[divan::bench(args = OPS, consts = [1, 2], sample_count = 20)]
fn op<const THREADS: usize>(bencher: Bencher, op: &str) {
    let (mut b, mut inputs) = (Builder::new("main", Opset::Ios17), Vec::new());
    for y in build(op, &mut b, &mut inputs) {
        b.output(y);
    }
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).unwrap();
    let options = Options { threads: THREADS, ..Options::default() };
    let mut session = Session::new(verified.function(None).unwrap(), &options).unwrap();
    let features: Features = inputs.into_iter().collect();
    bencher.bench_local(|| black_box(session.predict(&features).unwrap()));
}
