//! Expected values: the worked examples of the op reference of coremltools 9.0.

use crate::ops::probe::{assert_close, f32s, run};
use crate::{Builder, DType, Opset, Tensor};

fn ints(dtype: DType, shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_i64s(dtype, shape, values).expect("values fit the shape")
}

/// The 4 by 6 mask of the reference's sparse look-up example, and its indices.
const MASK: [i64; 24] = [1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0];
const CODES: [i64; 9] = [0, 1, 1, 0, 1, 1, 0, 0, 1];

#[test]
fn grouped_look_up_matches_the_reference_example() {
    let out = run(Opset::Ios18, "constexpr_lut_to_dense", &[], |b| {
        let indices = ints(DType::U2, &[6, 2], &[2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3]);
        let lut = f32s(&[2, 1, 4, 1], &[1., 5., 9., 13., 2., 10., 18., 26.]);
        b.literal("indices", indices).literal("lut", lut)
    });
    assert_close(&out[0], &[9., 13., 13., 1., 5., 1., 26., 2., 18., 10., 2., 26.]);
}

#[test]
fn vectors_lie_along_their_axis() {
    let case = |axis: i32| {
        let out = run(Opset::Ios18, "constexpr_lut_to_dense", &[], |b| {
            let lut = ints(DType::I8, &[1, 1, 1, 2, 3], &[10, 11, 12, 20, 21, 22]);
            b.literal("indices", ints(DType::U1, &[2, 2, 2], &[0, 0, 1, 0, 1, 1, 0, 0]))
                .literal("lut", lut)
                .int("vector_axis", axis)
        });
        (out[0].shape().to_vec(), out[0].to_i64s())
    };
    let (shape, rows) = case(1);
    assert_eq!(shape, [2, 6, 2]);
    assert_eq!(rows[..12], [10, 10, 11, 11, 12, 12, 20, 10, 21, 11, 22, 12]);
    let (shape, columns) = case(-1);
    assert_eq!(shape, [2, 2, 6]);
    assert_eq!(columns[..12], [10, 11, 12, 10, 11, 12, 20, 21, 22, 10, 11, 12]);
}

#[test]
fn flat_indices_are_packed_least_significant_bit_first() {
    let out = run(Opset::Ios16, "constexpr_lut_to_dense", &[], |b| {
        let indices = ints(DType::U8, &[2], &[0b0110_1100, 0b11]);
        b.literal("indices", indices)
            .literal("lut", f32s(&[4], &[0.5, 1.5, 2.5, 3.5]))
            .literal("shape", ints(DType::U32, &[1], &[5]))
    });
    assert_close(&out[0], &[0.5, 3.5, 2.5, 1.5, 3.5]);
}

#[test]
fn a_flat_mask_says_where_values_go() {
    let out = run(Opset::Ios16, "constexpr_sparse_to_dense", &[], |b| {
        b.literal("nonzero_data", f32s(&[2], &[7.0, 8.0]))
            .literal("mask", ints(DType::U8, &[1], &[0b0000_1100]))
            .literal("shape", ints(DType::U32, &[1], &[5]))
    });
    assert_close(&out[0], &[0.0, 0.0, 7.0, 8.0, 0.0]);
}

#[test]
fn sparse_look_up_gives_mask_and_values() {
    let case = |lut: Tensor, axis: Option<i32>| {
        run(Opset::Ios18, "constexpr_lut_to_sparse", &[], |b| {
            let b = b.literal("indices_mask", ints(DType::U1, &[4, 6], &MASK));
            let b = b.literal("indices_nonzero_data", ints(DType::U1, &[9], &CODES)).literal("lut", lut);
            match axis {
                Some(a) => b.int("vector_axis", a),
                None => b,
            }
        })
    };
    let scalar = case(f32s(&[1, 1, 2, 1], &[2.0, 3.0]), None);
    assert_eq!(scalar[0].to_i64s(), MASK);
    assert_close(&scalar[1], &[2., 3., 3., 2., 3., 3., 2., 2., 3.]);
    let vector = case(f32s(&[1, 1, 2, 2], &[2.0, 2.5, 3.0, 3.5]), Some(0));
    assert_eq!(vector[0].shape(), [8, 6]);
    assert_eq!(vector[0].to_i64s()[..12], [1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]);
    let rows = [2.0, 3.0, 2.5, 3.5, 3.0, 2.0, 3.0, 3.5, 2.5, 3.5];
    assert_eq!(vector[1].to_f64s()[..10], rows);
}

#[test]
fn sparse_blocks_are_scaled_by_their_dense_place() {
    let mask = [1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0];
    let out = run(Opset::Ios18, "constexpr_sparse_blockwise_shift_scale", &[], |b| {
        b.literal("data_mask", ints(DType::U1, &[4, 4], &mask))
            .literal("nonzero_data", ints(DType::I8, &[9], &[10, 11, 3, 4, 5, 6, 7, 8, 9]))
            .literal("scale", f32s(&[1, 4], &[0.1, 0.2, 0.3, 0.4]))
            .literal("offset", ints(DType::I8, &[1, 4], &[1, 2, 3, 4]))
    });
    assert_eq!(out[0].to_i64s(), mask);
    assert_close(&out[1], &[0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4]);
}

#[test]
fn blocks_and_axes_share_a_scale() {
    let blocks = run(Opset::Ios18, "constexpr_blockwise_shift_scale", &[], |b| {
        b.literal("data", ints(DType::U4, &[1, 4], &[1, 2, 14, 15]))
            .literal("scale", f32s(&[1, 2], &[0.5, 2.0]))
            .literal("offset", ints(DType::U4, &[1, 2], &[3, 15]))
    });
    assert_close(&blocks[0], &[-1.0, -0.5, -2.0, 0.0]);
    let axis = run(Opset::Ios16, "constexpr_affine_dequantize", &[], |b| {
        b.literal("quantized_data", ints(DType::U8, &[2, 2], &[10, 11, 12, 255]))
            .literal("zero_point", ints(DType::U8, &[], &[10]))
            .literal("scale", f32s(&[2], &[0.5, 2.0]))
            .int("axis", -1)
    });
    assert_close(&axis[0], &[0.0, 2.0, 1.0, 490.0]);
}

#[test]
fn operands_that_do_not_fit_are_faults() {
    let lut = |indices: Tensor, table: &[usize], opset: Opset| {
        let mut b = Builder::new("main", opset);
        let count = table.iter().product();
        b.op("constexpr_lut_to_dense")
            .literal("indices", indices)
            .literal("lut", f32s(table, &vec![0.0; count]))
            .one("w")
    };
    let indices = || ints(DType::U2, &[2, 2], &[0, 1, 2, 3]);
    assert!(lut(indices(), &[1, 1, 4, 1], Opset::Ios18).is_ok());
    assert!(lut(indices(), &[3, 1, 4, 1], Opset::Ios18).is_err(), "3 groups of 2");
    assert!(lut(indices(), &[1, 1, 8, 1], Opset::Ios18).is_err(), "8 entries by 2 bits");
    let fault = lut(indices(), &[1, 1, 4, 2], Opset::Ios18).expect_err("vectors need an axis").to_string();
    assert!(fault.contains("`vector_axis` is missing"), "{fault}");
    assert!(lut(indices(), &[], Opset::Ios18).is_err());

    let mut b = Builder::new("main", Opset::Ios16);
    let op = b.op("constexpr_sparse_to_dense").literal("nonzero_data", f32s(&[0], &[]));
    let op = op.literal("mask", ints(DType::U8, &[1], &[0]));
    let fault = op.literal("shape", ints(DType::U32, &[2], &[3, 3])).one("w").expect_err("9 bits");
    assert_eq!(
        fault.to_string(),
        "argument `mask` is 1 bytes long, but must be 2: 1 bits for each element of [3, 3]"
    );
}
