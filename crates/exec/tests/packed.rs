//! Products with compressed weights against the reference evaluation of `anemone-mil`, which unpacks them.

use anemone_exec::{Options, Session};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, DType, Level, Literal, Name, Opset, Program, Tensor, TensorType, ValueId, Weight, eval, verify,
};
use anemone_model::{Features, Predict};
use std::collections::BTreeMap;

/// Whole numbers that look random (SplitMix64: Steele, Lea, Flood, 2014).
fn noise(i: u64) -> u64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn floats(dtype: DType, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>() as u64;
    let values: Vec<f64> = (0..count).map(|i| (noise(i) >> 40) as f64 / (1 << 23) as f64 - 1.0).collect();
    Tensor::from_f64s(dtype, shape, &values).expect("shape fits")
}

/// Any bits of an integer type.
fn codes(dtype: DType, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>() as u64;
    let (low, high) = dtype.int_range().expect("an integer type");
    let values: Vec<i64> = (0..count).map(|i| low + (noise(i) >> 20) as i64 % (high - low + 1)).collect();
    Tensor::from_i64s(dtype, shape, &values).expect("shape fits")
}

type Weigh = fn(&mut Builder, DType, &[usize]) -> Result<ValueId, Fault>;

fn constant(b: &mut Builder, name: &str, t: &Tensor) -> ValueId {
    b.constant(name, Weight::of(t))
}

fn index_type(bits: u32) -> DType {
    [DType::U1, DType::U2, DType::U3, DType::U4, DType::U6, DType::U8]
        .into_iter()
        .find(|d| d.bits() == bits as usize)
        .expect("a width of indices")
}

/// The flat form of op set `ios16`.
fn flat_palette<const BITS: u32>(b: &mut Builder, dtype: DType, shape: &[usize]) -> Result<ValueId, Fault> {
    let bytes = (shape.iter().product::<usize>() * BITS as usize).div_ceil(8);
    let (indices, lut) = (codes(DType::U8, &[bytes]), floats(dtype, &[1 << BITS]));
    let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let (indices, lut) = (constant(b, "indices", &indices), constant(b, "lut", &lut));
    let dims = Tensor::from_i64s(DType::U32, [dims.len()], &dims).expect("fits");
    b.op("constexpr_lut_to_dense").arg("indices", indices).arg("lut", lut).literal("shape", dims).one("w")
}

/// Tables for groups of rows and of columns, as from op set `ios18` on.
fn grouped_palette<const BITS: u32, const DOWN: usize, const ACROSS: usize>(
    b: &mut Builder,
    dtype: DType,
    shape: &[usize],
) -> Result<ValueId, Fault> {
    let mut lut = vec![1; shape.len() + 2];
    (lut[0], lut[1], lut[shape.len()]) = (DOWN, ACROSS, 1 << BITS);
    let indices = constant(b, "indices", &codes(index_type(BITS), shape));
    let lut = constant(b, "lut", &floats(dtype, &lut));
    b.op("constexpr_lut_to_dense").arg("indices", indices).arg("lut", lut).one("w")
}

/// Pairs of rows share an index: unpacked at load.
fn vector_palette(b: &mut Builder, dtype: DType, shape: &[usize]) -> Result<ValueId, Fault> {
    let mut half = shape.to_vec();
    half[0] /= 2;
    let mut lut = vec![1; shape.len() + 2];
    (lut[shape.len()], lut[shape.len() + 1]) = (16, 2);
    let indices = constant(b, "indices", &codes(DType::U4, &half));
    let lut = constant(b, "lut", &floats(dtype, &lut));
    let op = b.op("constexpr_lut_to_dense").arg("indices", indices).arg("lut", lut);
    op.int("vector_axis", 0).one("w")
}

/// A table of whole numbers, and a factor per row.
fn scaled_palette(b: &mut Builder, dtype: DType, shape: &[usize]) -> Result<ValueId, Fault> {
    let mut lut = vec![1; shape.len() + 2];
    lut[shape.len()] = 16;
    let indices = constant(b, "indices", &codes(DType::U4, shape));
    let lut = constant(b, "lut", &codes(DType::I8, &lut));
    let data = b.op("constexpr_lut_to_dense").arg("indices", indices).arg("lut", lut).one("codes")?;
    let mut blocks = vec![1; shape.len()];
    blocks[0] = shape[0];
    let scale = constant(b, "scale", &floats(dtype, &blocks));
    b.op("constexpr_blockwise_shift_scale").arg("data", data).arg("scale", scale).one("w")
}

fn affine(b: &mut Builder, dtype: DType, shape: &[usize]) -> Result<ValueId, Fault> {
    let (data, zero) = (codes(DType::U8, shape), codes(DType::U8, &[shape[0]]));
    let (data, zero) = (constant(b, "data", &data), constant(b, "zero", &zero));
    let scale = constant(b, "scale", &floats(dtype, &[shape[0]]));
    let op = b.op("constexpr_affine_dequantize").arg("quantized_data", data).arg("zero_point", zero);
    op.arg("scale", scale).int("axis", 0).one("w")
}

fn blockwise(
    b: &mut Builder,
    dtype: DType,
    shape: &[usize],
    data: DType,
    size: usize,
) -> Result<ValueId, Fault> {
    let mut blocks = vec![1; shape.len()];
    (blocks[0], blocks[1]) = (shape[0], shape[1] / size);
    let (offset, data) = (codes(data, &blocks), codes(data, shape));
    let (data, offset) = (constant(b, "data", &data), constant(b, "offset", &offset));
    let scale = constant(b, "scale", &floats(dtype, &blocks));
    let op = b.op("constexpr_blockwise_shift_scale").arg("data", data).arg("scale", scale);
    op.arg("offset", offset).one("w")
}

fn sparse(b: &mut Builder, dtype: DType, shape: &[usize]) -> Result<ValueId, Fault> {
    let mask = codes(DType::U1, shape);
    let ones = mask.to_bools().iter().filter(|&&m| m).count();
    let (mask, values) = (constant(b, "mask", &mask), constant(b, "values", &floats(dtype, &[ones])));
    b.op("constexpr_sparse_to_dense").arg("nonzero_data", values).arg("mask", mask).one("w")
}

fn plain(b: &mut Builder, dtype: DType, shape: &[usize]) -> Result<ValueId, Fault> {
    Ok(constant(b, "w", &floats(dtype, shape)))
}

const WEIGHTS: [(&str, Opset, Weigh); 18] = [
    ("plain", Opset::Ios17, plain),
    ("flat 1-bit palette", Opset::Ios16, flat_palette::<1>),
    ("flat 2-bit palette", Opset::Ios17, flat_palette::<2>),
    ("flat 4-bit palette", Opset::Ios16, flat_palette::<4>),
    ("flat 6-bit palette", Opset::Ios17, flat_palette::<6>),
    ("flat 8-bit palette", Opset::Ios16, flat_palette::<8>),
    ("1-bit palettes", Opset::Ios18, grouped_palette::<1, 1, 1>),
    ("2-bit palettes of rows", Opset::Ios18, grouped_palette::<2, 4, 1>),
    ("3-bit palettes", Opset::Ios18, grouped_palette::<3, 2, 1>),
    ("4-bit palettes of columns", Opset::Ios18, grouped_palette::<4, 1, 2>),
    ("6-bit palettes of blocks", Opset::Ios18, grouped_palette::<6, 2, 4>),
    ("vectors", Opset::Ios18, vector_palette),
    ("palette and scale", Opset::Ios18, scaled_palette),
    ("affine", Opset::Ios16, affine),
    ("int4 blocks of 32", Opset::Ios18, |b, t, s| blockwise(b, t, s, DType::I4, 32)),
    ("uint4 blocks of 128", Opset::Ios18, |b, t, s| blockwise(b, t, s, DType::U4, 128)),
    ("int8 blocks of 64", Opset::Ios18, |b, t, s| blockwise(b, t, s, DType::I8, 64)),
    ("sparse", Opset::Ios18, sparse),
];

/// Runs a function of one input both ways and compares.
///
/// The engines sum in different orders: `fp32` sums of `n` terms differ by at most about `n * 2^-24` of the sum of
/// their sizes. In `fp16` the reference rounds every weight to 2^-11 of its size before it multiplies, and both round
/// the result; the integer products of 4-bit and 8-bit codes round activations and tables to 2^-15 of the largest.
fn compare(place: &str, b: Builder, dtype: DType, terms: usize, wants_packed: bool) {
    let function = b.finish();
    let input = function.value(function.inputs[0]);
    let shape = input.ty.tensor().and_then(TensorType::known_shape).expect("fixed shape");
    let x = floats(dtype, &shape);
    let inputs: BTreeMap<Name, Literal> = [(input.name.clone(), x.clone().into())].into();
    let features: Features = [(input.name.to_string(), x)].into_iter().collect();
    let mut wanted = eval::run(&function, &inputs, &mut BTreeMap::new(), &mut eval::Options::default())
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    let (name, wanted) = wanted.pop_first().expect("one output");
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).unwrap_or_else(|e| panic!("{place}: {e}"));
    for threads in [1, 2] {
        let options = Options { threads, ..Options::default() };
        let mut session = Session::new(verified.function(None).expect("one"), &options).expect("loads");
        let actual = session.predict(&features).unwrap_or_else(|e| panic!("{place}: {e}"));
        let actual = actual.tensor(&name).expect("same output").to_f64s();
        let wanted = wanted.as_tensor().expect("tensor").to_f64s();
        let largest = wanted.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        let rounding = if dtype == DType::F32 { terms as f64 * 2f64.powi(-24) } else { 2f64.powi(-9) };
        for (i, (a, e)) in actual.iter().zip(&wanted).enumerate() {
            assert!((a - e).abs() <= rounding * largest, "{place}: element {i} is {a}, the reference is {e}");
        }
        let plan = session.describe();
        assert!(!plan.contains("reference"), "{place}: {plan}");
        assert!(!wants_packed || !plan.contains("constexpr"), "{place}: {plan}");
    }
}

#[test]
fn linear_layers_take_every_compressed_weight() {
    for (name, opset, weigh) in WEIGHTS {
        for dtype in [DType::F32, DType::F16] {
            for rows in [1, 3, 20] {
                let mut b = Builder::new("main", opset);
                let x = b.input("x", TensorType::new(dtype, [rows, 256]));
                let w = weigh(&mut b, dtype, &[24, 256]).unwrap_or_else(|e| panic!("{name}: {e}"));
                let y = b.op("linear").arg("x", x).arg("weight", w).one("y").expect("fits");
                b.output(y);
                compare(&format!("{name}, {dtype}, {rows} rows"), b, dtype, 256, true);
            }
        }
    }
}

#[test]
fn matrices_on_the_right_are_taken_either_way_round() {
    for (name, opset, weigh) in WEIGHTS {
        for (rows, transpose) in [(1, false), (1, true), (12, false)] {
            let mut b = Builder::new("main", opset);
            let x = b.input("x", TensorType::new(DType::F32, [1, rows, 256]));
            let shape = if transpose { [40, 256] } else { [256, 256] };
            let w = weigh(&mut b, DType::F32, &shape).unwrap_or_else(|e| panic!("{name}: {e}"));
            let op = b.op("matmul").arg("x", x).arg("y", w).bool("transpose_y", transpose);
            let y = op.one("y").expect("fits");
            b.output(y);
            compare(&format!("{name}, {rows} rows, transposed: {transpose}"), b, DType::F32, 256, true);
        }
    }
}

#[test]
fn convolutions_of_points_and_of_images_take_every_compressed_weight() {
    for (name, opset, weigh) in WEIGHTS {
        for (batch, size) in [(1, 1), (2, 1), (1, 3)] {
            let mut b = Builder::new("main", opset);
            let x = b.input("x", TensorType::new(DType::F16, [batch, 256, size, size]));
            let w = weigh(&mut b, DType::F16, &[24, 256, 1, 1]).unwrap_or_else(|e| panic!("{name}: {e}"));
            let bias = constant(&mut b, "bias", &floats(DType::F16, &[24]));
            let y = b.op("conv").arg("x", x).arg("weight", w).arg("bias", bias).one("y").expect("fits");
            b.output(y);
            compare(&format!("{name}, {batch} of {size}"), b, DType::F16, 256, true);
        }
    }
}
