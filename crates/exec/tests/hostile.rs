//! Bad input and odd shapes: each ends in an error that names the op, or in the right result; the session lives on.

use anemone_exec::{Options, Session};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, DType, Level, Literal, Name, Opset, Program, Tensor, TensorType, ValueId, eval, verify,
};
use anemone_model::{Features, Predict, PredictError};
use std::collections::BTreeMap;

type Made = Result<ValueId, Fault>;

fn session(opset: Opset, options: &Options, build: impl FnOnce(&mut Builder) -> Made) -> Session {
    let mut b = Builder::new("main", opset);
    let y = build(&mut b).expect("builds");
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("verifies");
    Session::new(verified.function(None).expect("one"), options).expect("loads")
}

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32s(shape, values).expect("fits")
}

fn ints(values: &[i32]) -> Tensor {
    Tensor::vector_i32(values)
}

fn float_input(b: &mut Builder, name: &str, shape: &[usize]) -> ValueId {
    b.input(name, TensorType::new(DType::F32, shape.iter().copied()))
}

fn int_input(b: &mut Builder, name: &str, shape: &[usize]) -> ValueId {
    b.input(name, TensorType::new(DType::I32, shape.iter().copied()))
}

/// Fails with `bad` in an op of that kind and name, and works with `good` before and after.
fn fails(session: &mut Session, good: &Features, bad: &Features, kind: &str, name: &str) -> String {
    session.predict(good).expect("good inputs");
    let error = session.predict(bad).expect_err("bad inputs");
    assert!(
        matches!(&error, PredictError::Op { kind: k, name: n, .. } if k == kind && n == name),
        "{error:?}"
    );
    session.predict(good).expect("good inputs again");
    error.to_string()
}

#[test]
fn an_index_out_of_range_is_named() {
    let x = || floats(&[3, 2], &[1., 2., 3., 4., 5., 6.]);
    let given = |i: i32| Features::from_iter([("x", x()), ("i", ints(&[0, i]))]);
    let mut gather = session(Opset::Ios15, &Options::default(), |b| {
        let (x, i) = (float_input(b, "x", &[3, 2]), int_input(b, "i", &[2]));
        b.op("gather").arg("x", x).arg("indices", i).int("axis", 0).one("picked")
    });
    let message = fails(&mut gather, &given(-3), &given(3), "gather", "picked");
    assert!(message.contains("argument `indices` is 3, but must be between -3 and 3"), "{message}");
    fails(&mut gather, &given(2), &given(-4), "gather", "picked");
    let mut scatter = session(Opset::Ios15, &Options::default(), |b| {
        let (x, i) = (float_input(b, "x", &[3, 2]), int_input(b, "i", &[2]));
        let updates = b.constant("updates", floats(&[2, 2], &[0.; 4]));
        let op = b.op("scatter").arg("data", x).arg("indices", i).arg("updates", updates);
        op.int("axis", 0).str("mode", "update").one("put")
    });
    fails(&mut scatter, &given(1), &given(i32::MAX), "scatter", "put");
}

#[test]
fn unchecked_indices_out_of_range_are_harmless() {
    let mut gather = session(Opset::Ios17, &Options::default(), |b| {
        let (x, i) = (float_input(b, "x", &[3]), int_input(b, "i", &[3]));
        let op = b.op("gather").arg("x", x).arg("indices", i).int("axis", 0).int("batch_dims", 0);
        op.bool("validate_indices", false).one("y")
    });
    let given = [("x", floats(&[3], &[1., 2., 3.])), ("i", ints(&[i32::MIN, 1, i32::MAX]))];
    let outputs = gather.predict(&Features::from_iter(given)).expect("undefined, but safe");
    assert_eq!(outputs.tensor("y").expect("there").to_f64s(), [1., 2., 3.]);
}

#[test]
fn not_a_number_becomes_index_0() {
    let mut session = session(Opset::Ios15, &Options::default(), |b| {
        let (x, i) = (float_input(b, "x", &[3]), float_input(b, "i", &[2]));
        let i = b.op("cast").arg("x", i).str("dtype", "int32").one("whole")?;
        b.op("gather").arg("x", x).arg("indices", i).int("axis", 0).one("y")
    });
    let given = [("x", floats(&[3], &[1., 2., 3.])), ("i", floats(&[2], &[f32::NAN, 2.7]))];
    let outputs = session.predict(&Features::from_iter(given)).expect("NaN is cast to 0");
    assert_eq!(outputs.tensor("y").expect("there").to_f64s(), [1., 3.]);
}

#[test]
fn a_slice_beyond_the_end_is_named() {
    let mut session = session(Opset::Ios15, &Options::default(), |b| {
        let (x, at) = (float_input(b, "x", &[5]), int_input(b, "at", &[1]));
        b.op("slice_by_size").arg("x", x).arg("begin", at).ints("size", &[2]).one("part")
    });
    let given =
        |at: i32| Features::from_iter([("x", floats(&[5], &[1., 2., 3., 4., 5.])), ("at", ints(&[at]))]);
    fails(&mut session, &given(-2), &given(4), "slice_by_size", "part");
    fails(&mut session, &given(3), &given(i32::MIN), "slice_by_size", "part");
}

#[test]
fn shapes_computed_at_run_time_that_need_too_much_memory_are_refused() {
    let mut session = session(Opset::Ios15, &Options::default(), |b| {
        let shape = int_input(b, "shape", &[2]);
        let x = b.op("fill").arg("shape", shape).float("value", "none", 1.0).one("filled")?;
        b.op("reduce_sum").arg("x", x).ints("axes", &[0, 1]).bool("keep_dims", false).one("y")
    });
    let given = |n: i32| Features::from_iter([("shape", ints(&[n, n]))]);
    assert_eq!(session.predict(&given(3)).expect("small").tensor("y").expect("there").to_f64s(), [9.]);
    let error = session.predict(&given(1 << 30)).expect_err("2^62 bytes");
    assert!(error.to_string().contains("filled"), "{error}");
    assert!(session.predict(&given(-1)).is_err());
    assert_eq!(session.predict(&given(2)).expect("small").tensor("y").expect("there").to_f64s(), [4.]);
}

#[test]
fn all_tensors_together_are_limited() {
    let options = Options { memory_limit: 100 << 10, ..Options::default() };
    let mut session = session(Opset::Ios15, &options, |b| {
        let x = float_input(b, "x", &[128, 128]);
        let y = b.op("exp").arg("x", x).one("y")?;
        b.op("sin").arg("x", y).one("z")
    });
    let error = session.predict(&Features::from_iter([("x", floats(&[128, 128], &[0.; 1 << 14]))]));
    let error = error.expect_err("64 kB each, two at a time");
    assert!(matches!(error, PredictError::Memory { needed: 131_072, .. }), "{error}");
}

/// Every op with some extent 0 does what the reference evaluation does.
fn empty(name: &str, shapes: &[&[usize]], build: impl Fn(&mut Builder, &[ValueId]) -> Made) {
    let mut b = Builder::new("main", Opset::Ios17);
    let xs: Vec<ValueId> =
        shapes.iter().enumerate().map(|(i, s)| float_input(&mut b, &format!("x{i}"), s)).collect();
    let Ok(y) = build(&mut b, &xs) else { return };
    b.output(y);
    let function = b.finish();
    let mut inputs: BTreeMap<Name, Literal> = BTreeMap::new();
    for (i, s) in shapes.iter().enumerate() {
        let t = Tensor::zeros(DType::F32, *s).expect("small");
        inputs.insert(format!("x{i}").as_str().into(), t.into());
    }
    let features: Features =
        inputs.iter().map(|(n, l)| (n.to_string(), l.as_tensor().expect("a tensor").clone())).collect();
    let wanted = eval::run(&function, &inputs, &mut BTreeMap::new(), &mut eval::Options::default());
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("verifies");
    let options = Options { threads: 2, ..Options::default() };
    let mut session = Session::new(verified.function(None).expect("one"), &options).expect("loads");
    match (session.predict(&features), wanted) {
        (Ok(actual), Ok(mut wanted)) => {
            let (output, wanted) = wanted.pop_first().expect("one");
            assert_eq!(actual.tensor(&output), wanted.as_tensor(), "{name} {shapes:?}");
        }
        (Err(_), Err(_)) => {}
        (actual, wanted) => panic!("{name} {shapes:?}: {actual:?}, but the reference: {wanted:?}"),
    }
}

#[test]
fn extents_of_0_are_no_trouble() {
    for shape in [&[0usize, 3, 4, 4][..], &[2, 0, 4, 4], &[2, 3, 0, 4], &[2, 3, 4, 0]] {
        for kind in ["relu", "exp", "softmax", "identity", "square", "l2_norm", "instance_norm", "cumsum"] {
            empty(kind, &[shape], |b, x| b.op(kind).arg("x", x[0]).one("y"));
        }
        for kind in ["add", "less", "maximum"] {
            empty(kind, &[shape, &[1, 1, 1, 1]], |b, x| b.op(kind).arg("x", x[0]).arg("y", x[1]).one("y"));
        }
        for kind in ["reduce_sum", "reduce_max", "reduce_mean"] {
            empty(kind, &[shape], |b, x| b.op(kind).arg("x", x[0]).ints("axes", &[2]).one("y"));
        }
        empty("argmax", &[shape], |b, x| b.op("reduce_argmax").arg("x", x[0]).int("axis", 3).one("y"));
        empty("transpose", &[shape], |b, x| {
            b.op("transpose").arg("x", x[0]).ints("perm", &[3, 1, 0, 2]).one("y")
        });
        empty("concat", &[shape, shape], |b, x| {
            let op = b.op("concat").args("values", x.to_vec()).int("axis", 1);
            op.bool("interleave", false).one("y")
        });
        empty("matmul", &[shape, shape], |b, x| {
            b.op("matmul").arg("x", x[0]).arg("y", x[1]).bool("transpose_y", true).one("y")
        });
        empty("tile", &[shape], |b, x| b.op("tile").arg("x", x[0]).ints("reps", &[1, 2, 1, 2]).one("y"));
        empty("topk", &[shape], |b, x| {
            Ok(b.op("topk").arg("x", x[0]).int("k", 0).int("axis", 1).all("y")?[0])
        });
        empty("max_pool", &[shape], |b, x| {
            let op = b.op("max_pool").arg("x", x[0]).ints("kernel_sizes", &[2, 2]);
            op.ints("strides", &[1, 1]).str("pad_type", "valid").one("y")
        });
        empty("conv", &[shape], |b, x| {
            let w = b.constant("w", floats(&[2, 3, 1, 1], &[1.; 6]));
            b.op("conv").arg("x", x[0]).arg("weight", w).str("pad_type", "valid").one("y")
        });
        empty("upsample", &[shape], |b, x| {
            let op = b.op("upsample_bilinear").arg("x", x[0]);
            op.int("scale_factor_height", 2).int("scale_factor_width", 2).one("y")
        });
        empty("gather", &[shape], |b, x| {
            b.op("gather").arg("x", x[0]).ints("indices", &[0, 1]).int("axis", 2).one("y")
        });
        empty("split", &[shape], |b, x| {
            Ok(b.op("split").arg("x", x[0]).int("num_splits", 1).int("axis", 1).all("y")?[0])
        });
    }
}

/// Scores of attention, and the keys that sorting compares, are no tensors of the program.
#[test]
fn memory_that_kernels_work_in_counts() {
    let heads = |b: &mut Builder| {
        let [q, k, v] = ["q", "k", "v"].map(|name| float_input(b, name, &[1, 4, 512, 16]));
        let op = b.op("scaled_dot_product_attention").arg("query", q).arg("key", k);
        op.arg("value", v).one("y")
    };
    let sorted = |b: &mut Builder| {
        let x = float_input(b, "x", &[1, 1 << 20]);
        b.op("argsort").arg("x", x).int("axis", 1).bool("ascending", true).one("y")
    };
    // Scores and their softmax as `fp32`; keys of 8 bytes.
    let (scores, keys) = (2 * 4 * 512 * 512 * 4, 8 << 20);
    let check = |build: &dyn Fn(&mut Builder) -> Made, least: u64| {
        let limited = |memory_limit: u64| {
            let options = Options { memory_limit, ..Options::default() };
            session(Opset::Ios18, &options, build)
        };
        let mut short = limited(least);
        let error = short.prepare().expect_err("needs more");
        assert!(
            matches!(error, PredictError::Memory { needed, limit, .. } if needed > least && limit == least)
        );
        assert!(error.to_string().contains("intermediate tensors"), "{error}");
        assert_eq!((short.plan_count(), short.arena_bytes()), (0, 0));
        limited(3 * least).prepare().expect("fits");
    };
    check(&heads, scores);
    check(&sorted, keys);
}
