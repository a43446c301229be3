//! The number of threads changes no bit of a result: kernels on sizes that several threads share, odd ones among them.

use anemone_exec::{Options, Session};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Level, Opset, Program, Tensor, TensorType, ValueId, verify};
use anemone_model::{Features, Predict};

/// A deterministic generator (SplitMix64: Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("small")
    }
}

/// A function in the making, with the values of its inputs.
struct Case {
    b: Builder,
    r: Random,
    inputs: Vec<(String, Tensor)>,
}

type Made = Result<Vec<ValueId>, Fault>;

impl Case {
    fn given(&mut self, t: Tensor) -> ValueId {
        let name = format!("x{}", self.inputs.len());
        let v = self.b.input(&name, TensorType::new(t.dtype(), t.shape().iter().copied()));
        self.inputs.push((name, t));
        v
    }

    /// Fractions around 0 for floats, whole numbers of both signs for integers.
    fn x(&mut self, dtype: DType, shape: &[usize]) -> ValueId {
        let unit = if dtype.is_float() { 1.0 / 64.0 } else { 1.0 };
        let low = if dtype == DType::Bool { 0.0 } else { -50.0 };
        let high = if dtype == DType::Bool { 2 } else { 100 };
        let mut draw = || (self.r.below(high) as f64 + low) * unit;
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| draw()).collect();
        self.given(Tensor::from_f64s(dtype, shape, &values).expect("fits"))
    }

    /// Indices into `n` elements, many of them more than once.
    fn indices(&mut self, shape: &[usize], n: usize) -> ValueId {
        let values: Vec<i64> = (0..shape.iter().product()).map(|_| self.r.below(n) as i64).collect();
        self.given(Tensor::from_i64s(DType::I32, shape, &values).expect("fits"))
    }
}

/// Runs the op on 1, 2 and 3 threads; results must be the same bytes, and no op may be left to the reference.
#[track_caller]
fn same(what: &str, op: impl FnOnce(&mut Case) -> Made) {
    let b = Builder::new("main", Opset::Ios18);
    let mut case = Case { b, r: Random(what.len() as u64), inputs: Vec::new() };
    let made = op(&mut case).unwrap_or_else(|e| panic!("{what}: {e}"));
    let names: Vec<String> = made.iter().map(|&y| case.b.function().value(y).name.to_string()).collect();
    made.into_iter().for_each(|y| case.b.output(y));
    let function = case.b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).unwrap_or_else(|e| panic!("{what}: {e}"));
    let features: Features = case.inputs.into_iter().collect();
    let run = |threads: usize| {
        let options = Options { threads, ..Options::default() };
        let mut session = Session::new(verified.function(None).expect("one"), &options).expect("loads");
        let out = session.predict(&features).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(!session.describe().contains("reference"), "{what}: {}", session.describe());
        names.iter().map(|n| out.tensor(n).expect("made").bytes().to_vec()).collect::<Vec<_>>()
    };
    let alone = run(1);
    for threads in [2, 3] {
        assert!(run(threads) == alone, "{what} on {threads} threads");
    }
}

#[test]
fn comparisons_selections_and_integer_arithmetic() {
    for (shape, other) in [([3, 17_123], [1, 17_123]), ([17_123, 3], [17_123, 1]), ([1, 70_001], [1, 70_001])]
    {
        for dtype in [DType::F32, DType::I32] {
            same(&format!("less, {dtype}, {shape:?}"), |c| {
                let (x, y) = (c.x(dtype, &shape), c.x(dtype, &other));
                c.b.op("less").arg("x", x).arg("y", y).all("y")
            });
            same(&format!("select, {dtype}, {shape:?}"), |c| {
                let (cond, a, b) = (c.x(DType::Bool, &shape), c.x(dtype, &shape), c.x(dtype, &other));
                c.b.op("select").arg("cond", cond).arg("a", a).arg("b", b).all("y")
            });
        }
        same(&format!("floor_div, {shape:?}"), |c| {
            let (x, y) = (c.x(DType::I32, &shape), c.x(DType::I32, &other));
            c.b.op("floor_div").arg("x", x).arg("y", y).all("y")
        });
        same(&format!("logical_xor, {shape:?}"), |c| {
            let (x, y) = (c.x(DType::Bool, &shape), c.x(DType::Bool, &other));
            c.b.op("logical_xor").arg("x", x).arg("y", y).all("y")
        });
    }
    same("logical_not", |c| {
        let x = c.x(DType::Bool, &[50_001]);
        c.b.op("logical_not").arg("x", x).all("y")
    });
    same("abs", |c| {
        let x = c.x(DType::I32, &[50_001]);
        c.b.op("abs").arg("x", x).all("y")
    });
}

#[test]
fn casts_and_scales() {
    let casts = [
        (DType::F32, "int32"),
        (DType::F32, "fp16"),
        (DType::I32, "fp16"),
        (DType::I32, "bool"),
        (DType::I32, "int8"),
    ];
    for (from, to) in casts {
        same(&format!("cast {from} to {to}"), |c| {
            let x = c.x(from, &[3, 20_003]);
            c.b.op("cast").arg("x", x).str("dtype", to).all("y")
        });
    }
    same("quantize and back", |c| {
        let x = c.x(DType::F32, &[3, 20_003]);
        let scale = c.b.constant("scale", Tensor::from_f32s([3], &[0.01, 0.1, 0.02]).expect("fits"));
        let op = c.b.op("quantize").arg("input", x).arg("scale", scale).int("axis", 0);
        let q = op.str("output_dtype", "int8").one("q")?;
        c.b.op("dequantize").arg("input", q).arg("scale", scale).int("axis", 0).all("y")
    });
    same("prelu", |c| {
        let x = c.x(DType::F32, &[2, 3, 101, 111]);
        let alpha = c.b.constant("alpha", Tensor::from_f32s([3], &[0.1, 0.2, -3.0]).expect("fits"));
        c.b.op("prelu").arg("x", x).arg("alpha", alpha).all("y")
    });
}

#[test]
fn gathers() {
    for (shape, axis, count) in [([501, 3, 67], 0, 333), ([3, 7, 4001], 1, 5), ([1, 3, 50_001], 2, 70_003)] {
        for dtype in [DType::F32, DType::I32] {
            let axis_name = i32::try_from(axis).expect("small");
            same(&format!("gather of {shape:?} along {axis}, {dtype}"), |c| {
                let (x, indices) = (c.x(dtype, &shape), c.indices(&[count], shape[axis]));
                let op = c.b.op("gather").arg("x", x).arg("indices", indices).int("axis", axis_name);
                op.int("batch_dims", 0).all("y")
            });
            same(&format!("gather_along_axis {axis} of {shape:?}, {dtype}"), |c| {
                let mut wanted = shape;
                wanted[axis] = count;
                let (x, indices) = (c.x(dtype, &shape), c.indices(&wanted, shape[axis]));
                c.b.op("gather_along_axis")
                    .arg("x", x)
                    .arg("indices", indices)
                    .int("axis", axis_name)
                    .all("y")
            });
        }
    }
    same("gather_nd", |c| {
        let (x, indices) = (c.x(DType::F32, &[41, 41, 5]), c.indices(&[20_001, 2], 41));
        c.b.op("gather_nd").arg("x", x).arg("indices", indices).int("batch_dims", 0).all("y")
    });
}

/// Sums of fractions that differ by the order in which they are made.
#[test]
fn scatters_with_indices_that_meet() {
    for mode in ["add", "update", "div"] {
        for dtype in [DType::F32, DType::I32] {
            // Cut along the leading dim, along columns, and along the rows that are written to.
            for (shape, count) in [([7, 31, 101], 53), ([1, 31, 1501], 53), ([1, 501, 1], 60_001)] {
                let (data, updates) = (shape, [shape[0], count, shape[2]]);
                same(&format!("scatter {mode} into {shape:?}, {dtype}"), |c| {
                    let (data, indices) = (c.x(dtype, &data), c.indices(&[count], shape[1]));
                    let updates = c.x(dtype, &updates);
                    let op = c.b.op("scatter").arg("data", data).arg("indices", indices);
                    op.arg("updates", updates).int("axis", 1).str("mode", mode).all("y")
                });
                same(&format!("scatter_along_axis {mode} into {shape:?}, {dtype}"), |c| {
                    let (data, indices) = (c.x(dtype, &data), c.indices(&updates, shape[1]));
                    let updates = c.x(dtype, &updates);
                    let op = c.b.op("scatter_along_axis").arg("data", data).arg("indices", indices);
                    op.arg("updates", updates).int("axis", 1).str("mode", mode).all("y")
                });
            }
            for rest in [1, 703] {
                same(&format!("scatter_nd {mode} of {rest}, {dtype}"), |c| {
                    let count = 70_001 / rest;
                    let (data, indices) = (c.x(dtype, &[19, 23, rest]), c.indices(&[count, 2], 19));
                    let updates = c.x(dtype, &[count, rest]);
                    let op = c.b.op("scatter_nd").arg("data", data).arg("indices", indices);
                    op.arg("updates", updates).str("mode", mode).all("y")
                });
            }
        }
    }
}

#[test]
fn sorting_sums_and_extremes_along_an_axis() {
    for (shape, axis) in [([3, 20_011], 1), ([1, 70_001], 1), ([211, 307], 0), ([307, 211], 1)] {
        for dtype in [DType::F32, DType::I32] {
            same(&format!("topk of {shape:?} along {axis}, {dtype}"), |c| {
                let x = c.x(dtype, &shape);
                let op = c.b.op("topk").arg("x", x).int("k", 40).int("axis", axis).bool("ascending", false);
                op.bool("sort", true)
                    .bool("return_indices", true)
                    .str("output_indices_dtype", "int32")
                    .all("y")
            });
            same(&format!("argsort of {shape:?} along {axis}, {dtype}"), |c| {
                let x = c.x(dtype, &shape);
                c.b.op("argsort").arg("x", x).int("axis", axis).bool("ascending", true).all("y")
            });
        }
        for (exclusive, reverse) in [(false, false), (true, true)] {
            same(&format!("cumsum of {shape:?} along {axis}"), |c| {
                let x = c.x(DType::F32, &shape);
                let op = c.b.op("cumsum").arg("x", x).int("axis", axis);
                op.bool("exclusive", exclusive).bool("reverse", reverse).all("y")
            });
        }
        same(&format!("reduce_argmax of {shape:?} along {axis}"), |c| {
            let x = c.x(DType::F32, &shape);
            c.b.op("reduce_argmax").arg("x", x).int("axis", axis).bool("keep_dims", false).all("y")
        });
    }
}

#[test]
fn moves() {
    for dtype in [DType::F32, DType::I32] {
        same(&format!("band_part, {dtype}"), |c| {
            let x = c.x(dtype, &[3, 131, 137]);
            c.b.op("band_part").arg("x", x).int("lower", 5).int("upper", -1).all("y")
        });
        same(&format!("tile, {dtype}"), |c| {
            let x = c.x(dtype, &[3, 1, 1201]);
            c.b.op("tile").arg("x", x).ints("reps", &[5, 7, 1]).all("y")
        });
        same(&format!("transpose, {dtype}"), |c| {
            let x = c.x(dtype, &[3, 20_011]);
            c.b.op("transpose").arg("x", x).ints("perm", &[1, 0]).all("y")
        });
        same(&format!("concat, {dtype}"), |c| {
            let values = vec![c.x(dtype, &[2, 10_007]), c.x(dtype, &[5, 10_007])];
            c.b.op("concat").args("values", values).int("axis", 0).bool("interleave", false).all("y")
        });
        same(&format!("slice_update, {dtype}"), |c| {
            let (x, update) = (c.x(dtype, &[301, 203]), c.x(dtype, &[301, 101]));
            let op = c.b.op("slice_update").arg("x", x).arg("update", update);
            op.ints("begin", &[0, 0]).ints("end", &[301, 202]).ints("stride", &[1, 2]).all("y")
        });
        same(&format!("one_hot, {dtype}"), |c| {
            let indices = c.indices(&[3, 1001], 31);
            let value = |v: f64| Tensor::scalar_f64(dtype, v);
            let op = c.b.op("one_hot").arg("indices", indices).int("one_hot_vector_size", 30).int("axis", 1);
            op.literal("on_value", value(3.0)).literal("off_value", value(-1.0)).all("y")
        });
    }
}

#[test]
fn attention_with_masks() {
    for kind in [None, Some(DType::F32), Some(DType::Bool)] {
        for mask in [[1, 1, 61, 67], [2, 3, 61, 67], [1, 1, 1, 67]] {
            same(&format!("attention with a mask of {kind:?} {mask:?}"), |c| {
                let (q, k) = (c.x(DType::F32, &[2, 3, 61, 24]), c.x(DType::F32, &[2, 3, 67, 24]));
                let v = c.x(DType::F32, &[2, 3, 67, 40]);
                let mask = kind.map(|dtype| c.x(dtype, &mask));
                let op = c.b.op("scaled_dot_product_attention").arg("query", q).arg("key", k);
                op.arg("value", v).maybe("attn_mask", mask).all("y")
            });
        }
    }
}

#[test]
fn recurrent_layers() {
    for (kind, gates) in [("lstm", 4), ("gru", 3), ("gru that resets before", 3), ("rnn", 1)] {
        for (direction, batch) in [("reverse", 131), ("bidirectional", 131), ("bidirectional", 3)] {
            let (lstm, both) = (kind == "lstm", direction == "bidirectional");
            if both && !lstm {
                continue;
            }
            same(&format!("{kind} {direction} of {batch}"), |c| {
                let (n, k, width) = (37, 11, if both { 2 * 37 } else { 37 });
                let (x, h) = (c.x(DType::F32, &[5, batch, k]), c.x(DType::F32, &[batch, width]));
                let cell = lstm.then(|| c.x(DType::F32, &[batch, width]));
                let mut given = Vec::new();
                let back = [("weight_ih_back", k), ("weight_hh_back", n)];
                let weights = [("weight_ih", k), ("weight_hh", n)].into_iter().chain(back);
                for (param, columns) in weights.take(if both { 4 } else { 2 }) {
                    let values: Vec<f32> =
                        (0..gates * n * columns).map(|_| c.r.below(100) as f32 / 200.0 - 0.25).collect();
                    let weight = Tensor::from_f32s([gates * n, columns], &values).expect("fits");
                    given.push((param, c.b.constant(param, weight)));
                }
                let name = kind.split(' ').next().expect("a word");
                let mut op = c.b.op(name).arg("x", x).arg("initial_h", h).maybe("initial_c", cell);
                for (param, v) in given {
                    op = op.arg(param, v);
                }
                let op = if kind == "gru" { op.bool("reset_after", true) } else { op };
                op.str("direction", direction).bool("output_sequence", true).all("y")
            });
        }
    }
}
