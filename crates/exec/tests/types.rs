//! Kernels over every element type against the reference evaluation of `anemone-mil`, on random shapes: what is moved,
//! compared, selected, cast, gathered and scattered must agree to the last bit but for sums.

use anemone_exec::{Options, Session};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, DType, Level, Literal, Name, Opset, Program, Tensor, TensorType, ValueId, eval, verify,
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
    fn int(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % u64::try_from(high - low + 1).expect("in order")) as i64
    }

    fn size(&mut self, low: usize, high: usize) -> usize {
        self.int(low as i64, high as i64) as usize
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// A function in the making, with the values of its inputs.
struct Case {
    b: Builder,
    r: Random,
    dtype: DType,
    inputs: BTreeMap<Name, Literal>,
}

type Made = Result<ValueId, Fault>;

impl Case {
    fn given(&mut self, t: Tensor) -> ValueId {
        let name = format!("x{}", self.inputs.len());
        let v = self.b.input(&name, TensorType::new(t.dtype(), t.shape().iter().copied()));
        self.inputs.insert(self.b.function().value(v).name.clone(), t.into());
        v
    }

    /// Small numbers with many equal ones; multiples of 1/4 where they are floats.
    fn values(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        let low = if matches!(dtype, DType::U8 | DType::U16 | DType::Bool) { 0 } else { -9 };
        let (high, unit) = if dtype == DType::Bool { (1, 1.0) } else { (9, 1.0) };
        let unit = if dtype.is_float() { unit / 4.0 } else { unit };
        let count = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|_| self.r.int(low, high) as f64 * unit).collect();
        Tensor::from_f64s(dtype, shape, &values).expect("fits")
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let t = self.values(self.dtype, shape);
        self.given(t)
    }

    fn of(&mut self, dtype: DType, shape: &[usize]) -> ValueId {
        let t = self.values(dtype, shape);
        self.given(t)
    }

    /// Indices into `n` elements, from both ends.
    fn indices(&mut self, shape: &[usize], n: usize) -> ValueId {
        let n = n as i64;
        let values: Vec<i64> = (0..shape.iter().product()).map(|_| self.r.int(-n, n - 1)).collect();
        self.given(Tensor::from_i64s(DType::I32, shape, &values).expect("fits"))
    }

    fn shape(&mut self, rank: usize, high: usize) -> Vec<usize> {
        (0..rank).map(|_| self.r.size(1, high)).collect()
    }

    /// The shape with some dims 1.
    fn narrow(&mut self, shape: &[usize]) -> Vec<usize> {
        shape.iter().map(|&d| if self.r.flip() { 1 } else { d }).collect()
    }
}

const FLOATS: [DType; 2] = [DType::F32, DType::F16];
const BASIC: [DType; 4] = [DType::F32, DType::F16, DType::I32, DType::Bool];
const WIDE: [DType; 8] =
    [DType::F32, DType::F16, DType::I32, DType::Bool, DType::I8, DType::U8, DType::I16, DType::U16];

fn check(name: &str, dtypes: &[DType], build: impl Fn(&mut Case) -> Made) {
    for &dtype in dtypes {
        for seed in 0..6 {
            let place = format!("{name}, {dtype}, seed {seed}");
            let b = Builder::new("main", Opset::Ios18);
            let mut case = Case { b, r: Random(seed), dtype, inputs: BTreeMap::new() };
            let y = build(&mut case).unwrap_or_else(|e| panic!("{place}: {e}"));
            case.b.output(y);
            compare(&place, case, 1 + seed as usize % 3);
        }
    }
}

fn compare(place: &str, case: Case, threads: usize) {
    let function = case.b.finish();
    let features: Features =
        case.inputs.iter().map(|(n, l)| (n.to_string(), l.as_tensor().expect("tensor").clone())).collect();
    let mut expected =
        eval::run(&function, &case.inputs, &mut BTreeMap::new(), &mut eval::Options::default())
            .unwrap_or_else(|e| panic!("{place}: {e}"));
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).unwrap_or_else(|e| panic!("{place}: {e}"));
    let options = Options { threads, ..Options::default() };
    let mut session = Session::new(verified.function(None).expect("one"), &options).expect("loads");
    let actual = session.predict(&features).unwrap_or_else(|e| panic!("{place}: {e}"));
    let (output, wanted) = expected.pop_first().expect("one output");
    let (actual, wanted) =
        (actual.tensor(&output).expect("same output"), wanted.as_tensor().expect("tensor"));
    assert_eq!((actual.dtype(), actual.shape()), (wanted.dtype(), wanted.shape()), "{place}");
    let plan = session.describe();
    let pairs = actual.to_f64s().into_iter().zip(wanted.to_f64s()).enumerate();
    for (i, (a, e)) in pairs {
        let near = a == e || (a.is_nan() && e.is_nan());
        assert!(near, "{place}: element {i} is {a}, the reference is {e}; plan: {plan}");
    }
    assert!(!plan.contains("reference"), "{place}: {plan}");
}

#[test]
fn comparisons_and_logic() {
    for kind in ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"] {
        check(kind, &[DType::F32, DType::F16, DType::I32], |c| {
            let shape = c.shape(4, 5);
            let (a, b) = (c.narrow(&shape), c.narrow(&shape));
            let (x, y) = (c.input(&a), c.input(&b));
            c.b.op(kind).arg("x", x).arg("y", y).one("z")
        });
    }
    for kind in ["logical_and", "logical_or", "logical_xor"] {
        check(kind, &[DType::Bool], |c| {
            let shape = c.shape(3, 5);
            let narrow = c.narrow(&shape);
            let (x, y) = (c.input(&shape), c.input(&narrow));
            let z = c.b.op(kind).arg("x", x).arg("y", y).one("z")?;
            c.b.op("logical_not").arg("x", z).one("not")
        });
    }
    check("select", &BASIC, |c| {
        let shape = c.shape(4, 5);
        let shapes: Vec<_> = (0..3).map(|_| c.narrow(&shape)).collect();
        let (cond, a, b) = (c.of(DType::Bool, &shapes[0]), c.input(&shapes[1]), c.input(&shapes[2]));
        c.b.op("select").arg("cond", cond).arg("a", a).arg("b", b).one("y")
    });
}

#[test]
fn integer_arithmetic() {
    for kind in ["add", "sub", "mul", "maximum", "minimum", "floor_div", "mod", "real_div"] {
        check(kind, &[DType::I32], |c| {
            let shape = c.shape(3, 6);
            let (a, b) = (c.narrow(&shape), c.narrow(&shape));
            // A division by 0 is 0 in both, but for `real_div`, whose result is then undefined.
            let (x, y) = (c.input(&a), c.input(&b));
            let y =
                if kind == "real_div" { c.b.op("maximum").arg("x", y).int("y", 1).one("one")? } else { y };
            c.b.op(kind).arg("x", x).arg("y", y).one("z")
        });
    }
    for kind in ["abs", "sign", "square"] {
        check(kind, &[DType::I32], |c| {
            let shape = c.shape(3, 6);
            let x = c.input(&shape);
            c.b.op(kind).arg("x", x).one("y")
        });
    }
}

#[test]
fn casts_between_all_types() {
    for to in WIDE {
        check("cast", &WIDE, |c| {
            let shape = c.shape(2, 9);
            let x = c.input(&shape);
            let kept = c.b.op("identity").arg("x", x).one("kept")?;
            c.b.op("cast").arg("x", kept).str("dtype", to.name()).one("y")
        });
    }
}

#[test]
fn elements_that_are_moved_only() {
    check("transpose", &WIDE, |c| {
        let shape = c.shape(4, 5);
        let x = c.input(&shape);
        c.b.op("transpose").arg("x", x).ints("perm", &[2, 0, 3, 1]).one("y")
    });
    check("reshape", &BASIC, |c| {
        let x = c.input(&[2, 3, 4]);
        let y = c.b.op("reshape").arg("x", x).ints("shape", &[4, -1]).one("y")?;
        c.b.op("expand_dims").arg("x", y).ints("axes", &[1]).one("z")
    });
    check("concat", &BASIC, |c| {
        let interleave = c.r.flip();
        let (x, y) = (c.input(&[2, 3, 2]), c.input(&[2, 3, 2]));
        let op = c.b.op("concat").args("values", vec![x, y]).int("axis", 1);
        op.bool("interleave", interleave).one("z")
    });
    check("stack", &BASIC, |c| {
        let (shape, axis) = (c.shape(3, 4), c.r.size(0, 3) as i32);
        let (x, y) = (c.input(&shape), c.input(&shape));
        c.b.op("stack").args("values", vec![x, y, x]).int("axis", axis).one("z")
    });
    check("split", &BASIC, |c| {
        let x = c.input(&[3, 7, 2]);
        let parts = c.b.op("split").arg("x", x).ints("split_sizes", &[2, 4, 1]).int("axis", 1).all("y")?;
        c.b.op("stack").args("values", vec![parts[0], parts[0]]).int("axis", 0).one("z")
    });
    check("tile", &BASIC, |c| {
        let shape = c.shape(3, 4);
        let x = c.input(&shape);
        c.b.op("tile").arg("x", x).ints("reps", &[2, 1, 3]).one("y")
    });
    check("reverse", &BASIC, |c| {
        let shape = c.shape(3, 5);
        let x = c.input(&shape);
        c.b.op("reverse").arg("x", x).ints("axes", &[0, 2]).one("y")
    });
    check("slice_by_index", &BASIC, |c| {
        let x = c.input(&[5, 6, 7]);
        let op = c.b.op("slice_by_index").arg("x", x).ints("begin", &[1, -1, 0]).ints("end", &[4, 0, 0]);
        op.ints("stride", &[2, -2, 1]).bools("end_mask", &[false, false, true]).one("y")
    });
    check("slice_by_size", &BASIC, |c| {
        let x = c.input(&[5, 6, 7]);
        c.b.op("slice_by_size").arg("x", x).ints("begin", &[1, 0, 2]).ints("size", &[3, -1, 2]).one("y")
    });
    check("pad", &FLOATS, |c| {
        let pad: Vec<i32> = (0..4).map(|_| c.r.size(0, 2) as i32).collect();
        let mode = ["constant", "reflect", "replicate"][c.r.size(0, 2)];
        let x = c.input(&[2, 4, 3]);
        let fill = Tensor::scalar_f64(c.dtype, 3.0);
        c.b.op("pad").arg("x", x).ints("pad", &pad).str("mode", mode).literal("constant_val", fill).one("y")
    });
    check("band_part", &[DType::F32, DType::F16, DType::I32], |c| {
        let shape = c.shape(3, 6);
        let (lower, upper) = (c.r.int(-1, 3) as i32, c.r.int(-1, 3) as i32);
        let x = c.input(&shape);
        c.b.op("band_part").arg("x", x).int("lower", lower).int("upper", upper).one("y")
    });
}

#[test]
fn blocks_of_pictures_that_become_channels() {
    for (kind, param, shape) in [
        ("depth_to_space", "block_size", [2, 12, 3, 2]),
        ("space_to_depth", "block_size", [2, 3, 4, 6]),
        ("pixel_shuffle", "upscale_factor", [1, 8, 3, 5]),
        ("pixel_unshuffle", "downscale_factor", [1, 2, 6, 4]),
    ] {
        check(kind, &FLOATS, |c| {
            let x = c.input(&shape);
            let op = c.b.op(kind).arg("x", x);
            if kind.starts_with("pixel_un") {
                return op.literal(param, Tensor::from_i64s(DType::U32, [], &[2]).expect("fits")).one("y");
            }
            op.int(param, 2).one("y")
        });
    }
    check("sliding_windows", &FLOATS, |c| {
        let x = c.input(&[2, 7, 3]);
        c.b.op("sliding_windows").arg("x", x).int("axis", 1).int("size", 3).int("stride", 2).one("y")
    });
    check("space_to_batch", &FLOATS, |c| {
        let x = c.input(&[2, 3, 4, 6]);
        let pads = Tensor::from_i64s(DType::I32, [2, 2], &[1, 1, 0, 2]).expect("fits");
        let y = c.b.op("space_to_batch").arg("x", x).ints("block_shape", &[2, 2]);
        let y = y.literal("paddings", pads.clone()).one("y")?;
        let op = c.b.op("batch_to_space").arg("x", y).ints("block_shape", &[2, 2]);
        op.literal("crops", pads).one("z")
    });
}

#[test]
fn gathering_at_computed_places() {
    check("gather", &[DType::F32, DType::F16, DType::I32, DType::I8, DType::U16], |c| {
        let (x_shape, i_shape) = (c.shape(3, 6), c.shape(2, 4));
        let axis = c.r.size(0, 2);
        let (x, indices) = (c.input(&x_shape), c.indices(&i_shape, x_shape[axis]));
        let op = c.b.op("gather").arg("x", x).arg("indices", indices).int("axis", axis as i32);
        op.int("batch_dims", 0).bool("validate_indices", false).one("y")
    });
    check("gather in batches", &FLOATS, |c| {
        let (x, indices) = (c.input(&[2, 3, 5, 2]), c.indices(&[2, 4], 5));
        let op = c.b.op("gather").arg("x", x).arg("indices", indices).int("axis", 2).int("batch_dims", 1);
        op.bool("validate_indices", false).one("y")
    });
    check("gather from a table", &FLOATS, |c| {
        let table = c.values(c.dtype, &[9, 4]);
        let (x, indices) = (c.b.constant("table", table), c.indices(&[3, 2], 9));
        let op = c.b.op("gather").arg("x", x).arg("indices", indices).int("axis", 0).int("batch_dims", 0);
        op.bool("validate_indices", false).one("y")
    });
    check("gather_along_axis", &[DType::F32, DType::F16, DType::I32], |c| {
        let shape = c.shape(3, 5);
        let axis = c.r.size(0, 2);
        let mut places = shape.clone();
        places[axis] = c.r.size(1, 7);
        let (x, indices) = (c.input(&shape), c.indices(&places, shape[axis]));
        let op = c.b.op("gather_along_axis").arg("x", x).arg("indices", indices).int("axis", axis as i32);
        op.bool("validate_indices", false).one("y")
    });
    check("gather_nd", &[DType::F32, DType::F16, DType::I32], |c| {
        let (x, indices) = (c.input(&[3, 3, 4, 2]), c.indices(&[3, 2, 2], 3));
        let batch = c.r.size(0, 1) as i32;
        let op = c.b.op("gather_nd").arg("x", x).arg("indices", indices).int("batch_dims", batch);
        op.bool("validate_indices", false).one("y")
    });
}

#[test]
fn scattering_at_computed_places() {
    for mode in ["add", "sub", "mul", "max", "min", "update"] {
        let types = [DType::F32, DType::I32];
        check(&format!("scatter {mode}"), &types, |c| {
            let (data, indices) = (c.input(&[2, 5, 3]), c.indices(&[4], 5));
            let updates = c.input(&[2, 4, 3]);
            let op = c.b.op("scatter").arg("data", data).arg("indices", indices).arg("updates", updates);
            op.int("axis", 1).str("mode", mode).bool("validate_indices", false).one("y")
        });
        check(&format!("scatter_along_axis {mode}"), &types, |c| {
            let (data, indices) = (c.input(&[2, 5, 3]), c.indices(&[2, 4, 3], 5));
            let updates = c.input(&[2, 4, 3]);
            let op = c.b.op("scatter_along_axis").arg("data", data).arg("indices", indices);
            let op = op.arg("updates", updates).int("axis", 1).str("mode", mode);
            op.bool("validate_indices", false).one("y")
        });
        check(&format!("scatter_nd {mode}"), &types, |c| {
            let (data, indices) = (c.input(&[4, 4, 3]), c.indices(&[5, 2], 4));
            let updates = c.input(&[5, 3]);
            let op = c.b.op("scatter_nd").arg("data", data).arg("indices", indices).arg("updates", updates);
            op.str("mode", mode).bool("validate_indices", false).one("y")
        });
    }
}

#[test]
fn slices_at_computed_places() {
    check("slice_update", &BASIC, |c| {
        let from = c.r.int(0, 3);
        let (x, update) = (c.input(&[2, 6, 3]), c.input(&[2, 2, 3]));
        let begin = c.given(Tensor::from_i64s(DType::I32, [3], &[0, from, 0]).expect("fits"));
        let end = c.given(Tensor::from_i64s(DType::I32, [3], &[2, from + 2, 3]).expect("fits"));
        c.b.op("slice_update").arg("x", x).arg("update", update).arg("begin", begin).arg("end", end).one("y")
    });
    check("slice_update with steps", &BASIC, |c| {
        let (x, update) = (c.input(&[4, 7]), c.input(&[2, 3]));
        let op = c.b.op("slice_update").arg("x", x).arg("update", update).ints("begin", &[0, 6]);
        op.ints("end", &[4, 0]).ints("stride", &[2, -2]).one("y")
    });
    check("slice_by_size", &BASIC, |c| {
        let x = c.input(&[4, 5, 6]);
        let begin = [c.r.int(-4, 2), c.r.int(-5, 0), c.r.int(0, 3)];
        let begin = [begin[0].max(-4), if begin[1] > -5 { -5 } else { begin[1] }, begin[2]];
        let begin = [if begin[0] > -2 && begin[0] < 0 { 0 } else { begin[0] }, begin[1], begin[2]];
        let begin = c.given(Tensor::from_i64s(DType::I32, [3], &begin).expect("fits"));
        c.b.op("slice_by_size").arg("x", x).arg("begin", begin).ints("size", &[2, 5, 3]).one("y")
    });
    check("slice_by_index of unknown extent", &BASIC, |c| {
        let end = c.r.int(1, 6);
        let x = c.input(&[2, 6, 3]);
        let end = c.given(Tensor::from_i64s(DType::I32, [3], &[2, end, 3]).expect("fits"));
        let y = c.b.op("slice_by_index").arg("x", x).ints("begin", &[0, 0, 1]).arg("end", end).one("y")?;
        c.b.op("transpose").arg("x", y).ints("perm", &[1, 0, 2]).one("z")
    });
}

#[test]
fn sorting_and_positions_of_extremes() {
    for kind in ["reduce_argmax", "reduce_argmin"] {
        check(kind, &FLOATS, |c| {
            let (shape, axis, keep) = (c.shape(3, 6), c.r.size(0, 2) as i32, c.r.flip());
            let x = c.input(&shape);
            c.b.op(kind).arg("x", x).int("axis", axis).bool("keep_dims", keep).one("y")
        });
    }
    check("argsort", &[DType::F32, DType::F16, DType::I32], |c| {
        let (shape, axis, ascending) = (c.shape(3, 9), c.r.size(0, 2) as i32, c.r.flip());
        let x = c.input(&shape);
        c.b.op("argsort").arg("x", x).int("axis", axis).bool("ascending", ascending).one("y")
    });
    for result in 0..2 {
        check("topk", &[DType::F32, DType::F16, DType::I32], |c| {
            let (n, axis, ascending) = (c.r.size(2, 9), c.r.size(0, 1) as i32, c.r.flip());
            let (k, x) = (c.r.size(1, n) as i32, c.input(&[n, n, 2]));
            let op = c.b.op("topk").arg("x", x).int("k", k).int("axis", axis).bool("ascending", ascending);
            Ok(op.all("y")?[result])
        });
    }
}

#[test]
fn quantized_activations() {
    for axis in [None, Some(1)] {
        check("quantize", &FLOATS, |c| {
            let count = if axis.is_some() { vec![3] } else { vec![] };
            let len = count.iter().product::<usize>();
            let scales: Vec<f64> = (0..len).map(|i| 0.125 * (i + 1) as f64).collect();
            let scale = Tensor::from_f64s(c.dtype, count.clone(), &scales).expect("fits");
            let zero = Tensor::from_i64s(DType::I8, count, &vec![-3; len]).expect("fits");
            let x = c.input(&[2, 3, 5]);
            let with_axis = |op: anemone_mil::OpBuilder<'_>| match axis {
                Some(a) => op.int("axis", a).one("y"),
                None => op.one("y"),
            };
            let op = c.b.op("quantize").arg("input", x).literal("scale", scale.clone());
            let op = op.literal("zero_point", zero.clone()).str("output_dtype", "int8");
            let packed = with_axis(op)?;
            let op = c.b.op("dequantize").arg("input", packed).literal("scale", scale);
            with_axis(op.literal("zero_point", zero))
        });
    }
}

#[test]
fn ones_and_zeros_in_place_of_indices() {
    check("one_hot", &BASIC, |c| {
        let (n, axis) = (c.r.size(2, 9), c.r.size(0, 2) as i32);
        // Negative indices, and those beyond the end, mark nothing.
        let indices = c.indices(&[3, 4], n + 1);
        let [on, off] = [2, 3].map(|v| Tensor::scalar_f64(c.dtype, f64::from(v % 3)));
        let op = c.b.op("one_hot").arg("indices", indices).int("one_hot_vector_size", n as i32);
        op.int("axis", axis).literal("on_value", on).literal("off_value", off).one("y")
    });
}
