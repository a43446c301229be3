//! Every kernel against the reference evaluation of `anemone-mil`, on random shapes, in `fp32` and `fp16`.

use anemone_exec::{Options, Session};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, DType, Level, Literal, Name, Opset, Program, Tensor, TensorType, ValueId, Weight, eval, verify,
};
use anemone_model::{Features, Predict};
use std::collections::BTreeMap;

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

    /// From `low` to `high`, both included.
    fn size(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect()
    }

    fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        let values = self.values(shape.iter().product());
        Tensor::from_f64s(dtype, shape, &values).expect("shape fits")
    }
}

/// A function in the making: builder, generator and element type.
struct Case {
    b: Builder,
    r: Random,
    dtype: DType,
}

type Made = Result<ValueId, Fault>;

impl Case {
    fn input(&mut self, shape: &[usize]) -> ValueId {
        let n = self.b.function().inputs.len();
        self.b.input(&format!("x{n}"), TensorType::new(self.dtype, shape.iter().copied()))
    }

    fn weight(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let t = self.r.tensor(self.dtype, shape);
        self.b.constant(name, Weight::of(&t))
    }

    /// Positive numbers: variances and the like.
    fn positive(&mut self, name: &str, count: usize) -> ValueId {
        let values: Vec<f64> = self.r.values(count).into_iter().map(|v| v.abs() + 0.5).collect();
        let t = Tensor::from_f64s(self.dtype, [count], &values).expect("shape fits");
        self.b.constant(name, t)
    }

    fn shape(&mut self, rank: usize, high: usize) -> Vec<usize> {
        (0..rank).map(|_| self.r.size(1, high)).collect()
    }
}

/// Builds a function in both types at several seeds, runs it through both engines, and compares.
///
/// The engines sum in different orders: `fp32` sums of `n` terms of size 1 differ by at most about `n * 2^-24`, with
/// `n` below 2^10 here. In `fp16` every stored result may round the other way, by 2^-11 of its size.
fn check(name: &str, build: impl Fn(&mut Case) -> Made) {
    for dtype in [DType::F32, DType::F16] {
        for seed in 0..8 {
            let mut case = Case { b: Builder::new("main", Opset::Ios18), r: Random(seed), dtype };
            let y = build(&mut case).unwrap_or_else(|e| panic!("{name}, seed {seed}: {e}"));
            case.b.output(y);
            let place = format!("{name}, {dtype}, seed {seed}");
            let tolerance = if dtype == DType::F32 { 1e-4 } else { 4e-3 };
            compare(&place, case, tolerance, seed);
        }
    }
}

fn compare(place: &str, mut case: Case, tolerance: f64, seed: u64) {
    let function = case.b.finish();
    let mut inputs: BTreeMap<Name, Literal> = BTreeMap::new();
    for &v in &function.inputs {
        let value = function.value(v);
        let shape = value.ty.tensor().and_then(TensorType::known_shape).expect("fixed shape");
        inputs.insert(value.name.clone(), case.r.tensor(case.dtype, &shape).into());
    }
    let features: Features =
        inputs.iter().map(|(n, l)| (n.to_string(), l.as_tensor().expect("tensor").clone())).collect();
    let mut expected = eval::run(&function, &inputs, &mut BTreeMap::new(), &mut eval::Options::default())
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).unwrap_or_else(|e| panic!("{place}: {e}"));
    let threads = 1 + (seed as usize % 3);
    let mut session =
        Session::new(verified.function(None).expect("one"), &Options { threads, ..Options::default() })
            .expect("loads");
    let actual = session.predict(&features).unwrap_or_else(|e| panic!("{place}: {e}"));
    let (output, wanted) = expected.pop_first().expect("one output");
    let (actual, wanted) =
        (actual.tensor(&output).expect("same output"), wanted.as_tensor().expect("tensor").clone());
    assert_eq!((actual.dtype(), actual.shape()), (wanted.dtype(), wanted.shape()), "{place}");
    let (a, e) = (actual.to_f64s(), wanted.to_f64s());
    let largest = e.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (a, e)) in a.iter().zip(&e).enumerate() {
        let near = (a - e).abs() <= tolerance * largest || a == e || (a.is_nan() && e.is_nan());
        assert!(near, "{place}: element {i} is {a}, the reference is {e}; plan: {}", session.describe());
    }
    let plan = session.describe();
    assert!(plan.contains("kernel"), "{place}: no kernel was used: {plan}");
}

#[test]
fn convolutions() {
    check("conv", |c| {
        let spatial = c.r.size(1, 3);
        let groups = c.r.size(1, 3);
        let (per_in, per_out) = (c.r.size(1, 4), c.r.size(1, 5));
        let depthwise = c.r.flip();
        let per_in = if depthwise { 1 } else { per_in };
        let mut x = vec![c.r.size(1, 2), groups * per_in];
        x.extend((0..spatial).map(|_| c.r.size(6, 17)));
        let mut w = vec![groups * per_out, per_in];
        w.extend((0..spatial).map(|_| c.r.size(1, 3)));
        let list = |c: &mut Case, low, high| -> Vec<i32> {
            (0..spatial).map(|_| c.r.size(low, high) as i32).collect()
        };
        let (strides, dilations) = (list(c, 1, 2), list(c, 1, 2));
        let pad: Vec<i32> = (0..2 * spatial).map(|_| c.r.size(0, 2) as i32).collect();
        let kind = ["valid", "custom", "same", "same_lower"][c.r.size(0, 3)];
        let out = w[0];
        let (x, w) = (c.input(&x), c.weight("w", &w));
        let bias = if c.r.flip() { Some(c.weight("b", &[out])) } else { None };
        let y =
            c.b.op("conv")
                .arg("x", x)
                .arg("weight", w)
                .maybe("bias", bias)
                .ints("strides", &strides)
                .ints("dilations", &dilations)
                .str("pad_type", kind)
                .ints("pad", &pad)
                .int("groups", groups as i32)
                .one("y")?;
        if c.r.flip() { c.b.op("relu6").arg("x", y).one("z") } else { Ok(y) }
    });
}

#[test]
fn transposed_convolutions() {
    check("conv_transpose", |c| {
        let (channels, out, k) = (c.r.size(1, 4), c.r.size(1, 4), c.r.size(1, 3));
        let (h, w) = (c.r.size(2, 7), c.r.size(2, 7));
        let stride = c.r.size(1, 2) as i32;
        let (x, weight) = (c.input(&[1, channels, h, w]), c.weight("w", &[channels, out, k, k]));
        let op =
            c.b.op("conv_transpose").arg("x", x).arg("weight", weight).ints("strides", &[stride, stride]);
        op.str("pad_type", "valid").one("y")
    });
}

#[test]
fn pools() {
    for kind in ["max_pool", "avg_pool", "l2_pool"] {
        check(kind, |c| {
            let shape = [c.r.size(1, 2), c.r.size(1, 5), c.r.size(5, 12), c.r.size(5, 12)];
            let k = [c.r.size(1, 3) as i32, c.r.size(1, 3) as i32];
            let s = [c.r.size(1, 2) as i32, c.r.size(1, 2) as i32];
            let kinds = ["valid", "same", "custom"];
            let pad = [0, k[0] - 1, 0, 0].map(|p| p.min(1));
            let exclude = c.r.flip();
            let kind_of_pad = kinds[c.r.size(0, 2)];
            let x = c.input(&shape);
            let op = c.b.op(kind).arg("x", x).ints("kernel_sizes", &k).ints("strides", &s);
            let op = op.str("pad_type", kind_of_pad).ints("pad", &pad);
            if kind == "avg_pool" {
                op.bool("exclude_padding_from_average", exclude).one("y")
            } else {
                op.one("y")
            }
        });
    }
}

#[test]
fn products() {
    check("linear", |c| {
        let (m, k, n) = (c.r.size(1, 9), c.r.size(1, 40), c.r.size(1, 40));
        let (x, w, b) = (c.input(&[2, m, k]), c.weight("w", &[n, k]), c.weight("b", &[n]));
        c.b.op("linear").arg("x", x).arg("weight", w).arg("bias", b).one("y")
    });
    check("matmul", |c| {
        let (m, k, n, batch) = (c.r.size(1, 9), c.r.size(1, 20), c.r.size(1, 20), c.r.size(1, 4));
        let (tx, ty) = (c.r.flip(), c.r.flip());
        let x = if tx { vec![batch, 1, k, m] } else { vec![batch, 1, m, k] };
        let y = if ty { vec![3, n, k] } else { vec![3, k, n] };
        let (x, y) = (c.input(&x), c.input(&y));
        c.b.op("matmul").arg("x", x).arg("y", y).bool("transpose_x", tx).bool("transpose_y", ty).one("z")
    });
}

#[test]
fn elementwise_functions() {
    let unary = [
        "abs", "ceil", "cos", "erf", "exp", "exp2", "floor", "relu", "relu6", "round", "sigmoid", "sign",
        "silu", "sin", "softplus", "softsign", "square", "tanh", "asin", "acos", "atan", "sinh", "cosh",
        "gelu",
    ];
    for kind in unary {
        check(kind, |c| {
            let shape = c.shape(3, 9);
            let x = c.input(&shape);
            c.b.op(kind).arg("x", x).one("y")
        });
    }
    let with_alpha =
        ["elu", "leaky_relu", "thresholded_relu", "sigmoid_hard", "scaled_tanh", "linear_activation", "clip"];
    for kind in with_alpha {
        check(kind, |c| {
            let shape = c.shape(3, 9);
            let x = c.input(&shape);
            let op = c.b.op(kind).arg("x", x).float("alpha", "x", 0.25);
            let two = matches!(kind, "sigmoid_hard" | "scaled_tanh" | "linear_activation" | "clip");
            if two { op.float("beta", "x", 0.5).one("y") } else { op.one("y") }
        });
    }
    for kind in ["add", "sub", "mul", "real_div", "maximum", "minimum", "floor_div", "mod"] {
        check(kind, |c| {
            let shape = c.shape(4, 6);
            let narrow: Vec<usize> = shape.iter().map(|&d| if c.r.flip() { 1 } else { d }).collect();
            let x = c.input(&shape);
            // Far from 0, so that no quotient is near a whole number by rounding alone.
            let y = c.positive("y", narrow.iter().product());
            let y =
                c.b.op("reshape")
                    .arg("x", y)
                    .ints("shape", &narrow.iter().map(|&d| d as i32).collect::<Vec<_>>());
            let y = y.one("wide")?;
            let x = if matches!(kind, "floor_div" | "mod") {
                c.b.op("round").arg("x", x).one("whole")?
            } else {
                x
            };
            c.b.op(kind).arg("x", x).arg("y", y).one("z")
        });
    }
}

#[test]
fn reductions_and_norms() {
    for kind in [
        "reduce_sum",
        "reduce_mean",
        "reduce_max",
        "reduce_min",
        "reduce_sum_square",
        "reduce_l1_norm",
        "reduce_l2_norm",
        "reduce_log_sum_exp",
        "reduce_prod",
    ] {
        check(kind, |c| {
            let shape = c.shape(4, 7);
            let axes: Vec<i32> = (0..4).filter(|_| c.r.flip()).collect();
            let axes = if axes.is_empty() { vec![1] } else { axes };
            let keep = c.r.flip();
            let x = c.input(&shape);
            c.b.op(kind).arg("x", x).ints("axes", &axes).bool("keep_dims", keep).one("y")
        });
    }
    check("softmax", |c| {
        let shape = c.shape(3, 9);
        let axis = c.r.size(0, 2) as i32;
        let x = c.input(&shape);
        c.b.op("softmax").arg("x", x).int("axis", axis).one("y")
    });
    check("layer_norm", |c| {
        let shape = [c.r.size(1, 4), c.r.size(2, 6), c.r.size(2, 9)];
        let (x, g, b) = (c.input(&shape), c.weight("g", &shape[1..]), c.weight("b", &shape[1..]));
        let op = c.b.op("layer_norm").arg("x", x).ints("axes", &[1, 2]).arg("gamma", g).arg("beta", b);
        op.float("epsilon", "x", 1e-3).one("y")
    });
    check("batch_norm", |c| {
        let channels = c.r.size(1, 6);
        let x = c.input(&[2, channels, 5, 3]);
        let (m, v) = (c.weight("m", &[channels]), c.positive("v", channels));
        let (g, b) = (c.weight("g", &[channels]), c.weight("b", &[channels]));
        let op =
            c.b.op("batch_norm").arg("x", x).arg("mean", m).arg("variance", v).arg("gamma", g).arg("beta", b);
        op.float("epsilon", "x", 1e-3).one("y")
    });
    check("instance_norm", |c| {
        let channels = c.r.size(1, 6);
        let x = c.input(&[2, channels, 5, 3]);
        let (g, b) = (c.weight("g", &[channels]), c.weight("b", &[channels]));
        c.b.op("instance_norm")
            .arg("x", x)
            .arg("gamma", g)
            .arg("beta", b)
            .float("epsilon", "x", 1e-3)
            .one("y")
    });
}

#[test]
fn moved_elements() {
    check("transpose", |c| {
        let shape = c.shape(4, 9);
        let mut perm = vec![0, 1, 2, 3];
        (0..4).for_each(|i| perm.swap(i, c.r.size(0, 3)));
        let x = c.input(&shape);
        c.b.op("transpose").arg("x", x).ints("perm", &perm).one("y")
    });
    check("concat", |c| {
        let mut shape = c.shape(3, 6);
        let axis = c.r.size(0, 2);
        let parts: Vec<ValueId> = (0..3)
            .map(|_| {
                shape[axis] = c.r.size(1, 5);
                c.input(&shape)
            })
            .collect();
        c.b.op("concat").args("values", parts).int("axis", axis as i32).bool("interleave", false).one("y")
    });
    check("split", |c| {
        let x = c.input(&[3, 7, 2]);
        let parts = c.b.op("split").arg("x", x).ints("split_sizes", &[2, 4, 1]).int("axis", 1).all("y")?;
        c.b.op("concat")
            .args("values", vec![parts[2], parts[0]])
            .int("axis", 1)
            .bool("interleave", false)
            .one("z")
    });
    check("slice_by_index", |c| {
        let x = c.input(&[5, 6, 7]);
        let op = c.b.op("slice_by_index").arg("x", x).ints("begin", &[1, -1, 0]).ints("end", &[4, 0, 0]);
        op.ints("stride", &[2, -2, 1]).bools("end_mask", &[false, false, true]).one("y")
    });
    for mode in ["constant", "reflect", "replicate"] {
        check(mode, |c| {
            let shape = [1, 2, c.r.size(3, 6), c.r.size(3, 6)];
            let pad: Vec<i32> = (0..4).map(|_| c.r.size(0, 2) as i32).collect();
            let x = c.input(&shape);
            c.b.op("pad")
                .arg("x", x)
                .ints("pad", &pad)
                .str("mode", mode)
                .float("constant_val", "x", 0.5)
                .one("y")
        });
    }
    check("tile", |c| {
        let shape = c.shape(3, 4);
        let x = c.input(&shape);
        c.b.op("tile").arg("x", x).ints("reps", &[2, 1, 3]).one("y")
    });
    check("gather", |c| {
        let x = c.input(&[4, 6, 3]);
        let y = c.b.op("gather").arg("x", x).ints("indices", &[5, 0, 0, 2]).int("axis", 1).one("y")?;
        c.b.op("reshape").arg("x", y).ints("shape", &[-1]).one("z")
    });
    check("upsample_nearest_neighbor", |c| {
        let shape = [1, 2, c.r.size(1, 5), c.r.size(1, 5)];
        let x = c.input(&shape);
        let op = c.b.op("upsample_nearest_neighbor").arg("x", x).int("scale_factor_height", 2);
        op.int("scale_factor_width", 3).one("y")
    });
}

#[test]
fn buffers_that_are_shared_over_time_keep_their_values() {
    check("residual net", |c| {
        let channels = c.r.size(2, 5);
        let mut x = c.input(&[1, channels, 9, 9]);
        for i in 0..6 {
            let w = c.weight(&format!("w{i}"), &[channels, channels, 3, 3]);
            let y =
                c.b.op("conv").arg("x", x).arg("weight", w).str("pad_type", "same").one(&format!("c{i}"))?;
            let y = c.b.op("tanh").arg("x", y).one(&format!("t{i}"))?;
            let flat =
                c.b.op("reshape")
                    .arg("x", y)
                    .ints("shape", &[1, channels as i32, 81])
                    .one(&format!("f{i}"))?;
            let back =
                c.b.op("reshape")
                    .arg("x", flat)
                    .ints("shape", &[1, channels as i32, 9, 9])
                    .one(&format!("r{i}"))?;
            x = c.b.op("add").arg("x", back).arg("y", x).one(&format!("a{i}"))?;
        }
        Ok(x)
    });
}

#[test]
fn recurrent_layers() {
    for direction in ["forward", "reverse", "bidirectional"] {
        check(&format!("lstm {direction}"), |c| {
            let (steps, batch, k, n) = (c.r.size(1, 5), c.r.size(1, 3), c.r.size(1, 9), c.r.size(1, 9));
            let both = direction == "bidirectional";
            let width = if both { 2 * n } else { n };
            let x = c.input(&[steps, batch, k]);
            let (h, cell) = (c.input(&[batch, width]), c.input(&[batch, width]));
            let mut given: Vec<(&'static str, ValueId)> = vec![
                ("weight_ih", c.weight("wi", &[4 * n, k])),
                ("weight_hh", c.weight("wh", &[4 * n, n])),
                ("bias", c.weight("b", &[4 * n])),
                ("peephole", c.weight("p", &[3 * n])),
            ];
            if both {
                given.push(("weight_ih_back", c.weight("wib", &[4 * n, k])));
                given.push(("weight_hh_back", c.weight("whb", &[4 * n, n])));
            }
            let (all, clip, result) = (c.r.flip(), c.r.flip(), c.r.size(0, 2));
            let mut op = c.b.op("lstm").arg("x", x).arg("initial_h", h).arg("initial_c", cell);
            for (param, v) in given {
                op = op.arg(param, v);
            }
            let op = op.str("direction", direction).bool("output_sequence", all).str("activation", "relu");
            let op = op.str("recurrent_activation", "hard_sigmoid").str("cell_activation", "tanh");
            let op = if clip { op.float("clip", "x", 0.5) } else { op };
            Ok(op.all("y")?[result])
        });
    }
    for (kind, gates) in [("gru", 3), ("rnn", 1)] {
        for direction in ["forward", "reverse"] {
            check(&format!("{kind} {direction}"), |c| {
                let (steps, batch, k, n) = (c.r.size(1, 5), c.r.size(1, 3), c.r.size(1, 9), c.r.size(1, 9));
                let (x, h) = (c.input(&[steps, batch, k]), c.input(&[batch, n]));
                let (wi, wh) = (c.weight("wi", &[gates * n, k]), c.weight("wh", &[gates * n, n]));
                let b = c.weight("b", &[gates * n]);
                let (all, after, result) = (c.r.flip(), c.r.flip(), c.r.size(0, 1));
                let op = c.b.op(kind).arg("x", x).arg("initial_h", h).arg("weight_ih", wi);
                let op = op.arg("weight_hh", wh).arg("bias", b).str("direction", direction);
                let op = op.bool("output_sequence", all).str("activation", "tanh");
                let op = if kind == "gru" { op.bool("reset_after", after) } else { op };
                Ok(op.all("y")?[result])
            });
        }
    }
}

#[test]
fn resizing() {
    for mode in ["DEFAULT", "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS", "OFFSET_CORNERS"] {
        check(mode, |c| {
            let shape = [c.r.size(1, 2), c.r.size(1, 3), c.r.size(1, 7), c.r.size(1, 7)];
            let (h, w) = (c.r.size(1, 9) as i32, c.r.size(1, 9) as i32);
            let x = c.input(&shape);
            let op = c.b.op("resize_bilinear").arg("x", x).int("target_size_height", h);
            op.int("target_size_width", w).str("sampling_mode", mode).one("y")
        });
        check(&format!("resize {mode}"), |c| {
            let shape = [c.r.size(1, 3), c.r.size(1, 7), c.r.size(1, 7)];
            let to = [c.r.size(1, 9) as i32, c.r.size(0, 9) as i32];
            let interpolation = if c.r.flip() { "LINEAR" } else { "NEAREST_NEIGHBOR" };
            let x = c.input(&shape);
            let op = c.b.op("resize").arg("x", x).ints("shape", &to);
            let op = op.literal("resized_dims", Tensor::from_i64s(DType::U32, [], &[2]).expect("fits"));
            op.str("interpolation_mode", interpolation).str("sampling_mode", mode).one("y")
        });
    }
    check("upsample_bilinear", |c| {
        let (shape, align) = ([2, 3, c.r.size(1, 5), c.r.size(1, 5)], c.r.flip());
        let x = c.input(&shape);
        let op =
            c.b.op("upsample_bilinear").arg("x", x).literal("scale_factor_height", Tensor::scalar_i32(2));
        op.literal("scale_factor_width", Tensor::scalar_i32(3)).bool("align_corners", align).one("y")
    });
}

#[test]
fn attention() {
    for mask in ["none", "bool", "added", "by key"] {
        check(&format!("attention, mask {mask}"), |c| {
            let (h, l, s) = (c.r.size(1, 4), c.r.size(1, 6), c.r.size(1, 7));
            let (e, ev) = (c.r.size(1, 9), c.r.size(1, 9));
            let (q, k, v) = (c.input(&[2, h, l, e]), c.input(&[2, h, s, e]), c.input(&[2, h, s, ev]));
            let mask = match mask {
                "bool" => {
                    // Every query sees its first key.
                    let seen: Vec<bool> = (0..l * s).map(|i| i % s == 0 || c.r.flip()).collect();
                    let seen = Tensor::vector_bool(&seen).reshaped([l, s]).expect("fits");
                    Some(c.b.constant("mask", seen))
                }
                "added" => Some(c.input(&[2, 1, l, s])),
                "by key" => Some(c.input(&[1, s])),
                _ => None,
            };
            let op = c.b.op("scaled_dot_product_attention").arg("query", q).arg("key", k).arg("value", v);
            op.maybe("attn_mask", mask).one("y")
        });
    }
    check("einsum of rank 4", |c| {
        let [n, ch, h, w, u] = [0; 5].map(|_| c.r.size(1, 5));
        let (x, y) = (c.input(&[n, ch, h, w]), c.input(&[n, w, h, u]));
        c.b.op("einsum").args("values", vec![x, y]).str("equation", "nchw,nwhu->nchu").one("z")
    });
    check("einsum of rank 3", |c| {
        let [ch, h, w, r] = [0; 4].map(|_| c.r.size(1, 5));
        let (x, y) = (c.input(&[ch, h, w]), c.input(&[w, h, r]));
        c.b.op("einsum").args("values", vec![x, y]).str("equation", "chw,whr->chr").one("z")
    });
}

#[test]
fn windows_and_lines() {
    check("cumsum", |c| {
        let (shape, axis) = (c.shape(3, 6), c.r.size(0, 2) as i32);
        let (exclusive, reverse) = (c.r.flip(), c.r.flip());
        let x = c.input(&shape);
        let op = c.b.op("cumsum").arg("x", x).int("axis", axis).bool("exclusive", exclusive);
        op.bool("reverse", reverse).one("y")
    });
    check("l2_norm", |c| {
        let shape = c.shape(4, 5);
        let x = c.input(&shape);
        c.b.op("l2_norm").arg("x", x).float("epsilon", "x", 1e-3).one("y")
    });
    check("local_response_norm", |c| {
        let (shape, size) = ([2, c.r.size(1, 7), 3, 4], c.r.size(1, 6) as i32);
        let x = c.input(&shape);
        let op = c.b.op("local_response_norm").arg("x", x).int("size", size).float("alpha", "x", 0.5);
        op.float("beta", "x", 0.75).float("k", "x", 1.5).one("y")
    });
    check("prelu", |c| {
        let channels = c.r.size(1, 5);
        let (x, alpha) = (c.input(&[2, channels, 3, 4]), c.weight("alpha", &[channels]));
        c.b.op("prelu").arg("x", x).arg("alpha", alpha).one("y")
    });
    check("softplus_parametric", |c| {
        let channels = c.r.size(1, 5);
        let (x, alpha) = (c.input(&[2, channels, 3]), c.weight("alpha", &[channels]));
        let beta = c.positive("beta", channels);
        c.b.op("softplus_parametric").arg("x", x).arg("alpha", alpha).arg("beta", beta).one("y")
    });
}
