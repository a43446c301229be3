//! Long and wide graphs: the work grows with the graph, not with its square.

use anemone_mil::ops::Fault;
use anemone_mil::{Builder, DType, Function, Opset, Tensor, TensorType, ValueId};
use anemone_passes::{canonicalize, legalize};

const OPS: usize = 5_000;

fn weight(shape: &[usize]) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product::<usize>()).map(|i| (i % 7) as f64 / 8.0).collect();
    Tensor::from_f64s(DType::F32, shape, &values).unwrap()
}

fn build(step: impl Fn(&mut Builder, ValueId, usize) -> Result<ValueId, Fault>, wide: bool) -> Function {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [1, 4, 4, 4]));
    let mut ends = Vec::new();
    let mut last = x;
    for i in 0..OPS {
        last = step(&mut b, if wide { x } else { last }, i).unwrap();
        ends.push(last);
    }
    let joined = if wide { ends } else { vec![last, last] };
    let y = b.op("concat").args("values", joined).int("axis", 0).bool("interleave", false).one("y").unwrap();
    b.output(y);
    b.finish()
}

/// One of many kinds of ops that passes look at, each of one result of the type of `x`.
fn mixed(b: &mut Builder, x: ValueId, i: usize) -> Result<ValueId, Fault> {
    let name = format!("v{i}");
    match i % 8 {
        0 => {
            let conv = b.op("conv").arg("x", x).literal("weight", weight(&[4, 4, 1, 1]));
            conv.str("pad_type", "valid").one(&name)
        }
        1 => {
            let norm = b.op("batch_norm").arg("x", x).literal("mean", weight(&[4]));
            norm.literal("variance", weight(&[4])).one(&name)
        }
        2 => b.op("add").arg("x", x).float("y", "x", 0.5).one(&name),
        3 => b.op("transpose").arg("x", x).ints("perm", &[0, 2, 3, 1]).one(&name),
        4 => b.op("transpose").arg("x", x).ints("perm", &[0, 3, 1, 2]).one(&name),
        5 => b.op("clip").arg("x", x).float("alpha", "x", 0.0).float("beta", "x", 6.0).one(&name),
        6 => b.op("mul").arg("x", x).float("y", "x", 1.0).one(&name),
        _ => b.op("reshape").arg("x", x).ints("shape", &[1, 4, 4, 4]).one(&name),
    }
}

#[test]
fn a_long_chain_of_one_op_collapses() {
    let mut f = build(|b, x, i| b.op("identity").arg("x", x).one(&format!("v{i}")), false);
    canonicalize(&mut f);
    assert_eq!(f.walk().len(), 1);
    let mut f = build(
        |b, x, i| b.op("transpose").arg("x", x).ints("perm", &[0, 1, 3, 2]).one(&format!("v{i}")),
        false,
    );
    canonicalize(&mut f);
    assert_eq!(f.walk().len(), 1);
}

#[test]
fn a_long_chain_of_many_ops_shrinks_to_a_convolution_and_relu6_each() {
    let mut f = build(mixed, false);
    canonicalize(&mut f);
    assert_eq!(f.walk().len(), OPS / 8 * 2 + 1);
    legalize(&mut f, DType::F16);
    assert_eq!(f.walk().len(), OPS / 8 * 2 + 3);
}

#[test]
fn thousands_of_users_of_one_value_are_no_burden() {
    let mut f = build(mixed, true);
    canonicalize(&mut f);
    legalize(&mut f, DType::F16);
    assert!(f.walk().len() < OPS);
}
