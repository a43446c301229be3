//! Expected values: the formulas of the op reference worked out with NumPy, step by step, on the weights of `ramp`.

use crate::ops::probe::{assert_close, f32s, run};
use crate::ops::{GateActivation, Recurrent, Site};
use crate::{Builder, DType, Opset, Tensor, TensorType};
use anemone_tensor::num;

/// Numbers from -0.75 to 0.75: element `i` is `(i * step % 7 - 3) / 4`.
fn ramp(shape: &[usize], step: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| (num::f64_of_usize(i * step % 7) - 3.0) / 4.0).collect();
    Tensor::from_f64s(DType::F32, shape, &values).expect("values fit the shape")
}

#[test]
fn both_directions_of_an_lstm_with_peepholes_and_a_clipped_cell() {
    let inputs = [
        ("x", ramp(&[3, 1, 2], 3)),
        ("initial_h", f32s(&[1, 4], &[0.5, -0.5, 0.25, 0.75])),
        ("initial_c", f32s(&[1, 4], &[1.0, 2.0, -1.0, 0.5])),
    ];
    let case = |all: bool| {
        run(Opset::Ios17, "lstm", &inputs, |b| {
            let b = b.literal("weight_ih", ramp(&[8, 2], 2)).literal("weight_hh", ramp(&[8, 2], 5));
            let b = b.literal("bias", ramp(&[8], 1)).literal("peephole", ramp(&[6], 3));
            let b = b.literal("weight_ih_back", ramp(&[8, 2], 4)).literal("weight_hh_back", ramp(&[8, 2], 6));
            let b = b.str("direction", "bidirectional").bool("output_sequence", all);
            b.literal("clip", f32s(&[], &[1.2]))
        })
    };
    let out = case(true);
    assert_eq!(out[0].shape(), [3, 1, 4]);
    assert_close(
        &out[0],
        &[
            0.53665934,
            0.11775441,
            -0.12553338,
            0.10609062,
            0.34549026,
            -0.06870993,
            0.03645411,
            -0.02226227,
            0.23168193,
            -0.24574556,
            -0.25050299,
            0.09337414,
        ],
    );
    assert_close(&out[1], &[0.23168193, -0.24574556, -0.12553338, 0.10609062]);
    assert_close(&out[2], &[0.41216145, -0.34267661, -0.28174662, 0.26509107]);
    let last = case(false);
    assert_eq!(last[0].shape(), [1, 1, 4]);
    assert_eq!(last[0].to_f64s(), out[1].to_f64s());
}

#[test]
fn the_reset_gate_of_a_gru_comes_before_or_after_the_product() {
    let inputs = [("x", ramp(&[3, 1, 2], 3)), ("initial_h", f32s(&[1, 2], &[0.5, -0.5]))];
    let case = |after: bool| {
        let out = run(Opset::Ios18, "gru", &inputs, |b| {
            let b = b.literal("weight_ih", ramp(&[6, 2], 2)).literal("weight_hh", ramp(&[6, 2], 5));
            let b = b.literal("bias", ramp(&[6], 1)).literal("input_bias", ramp(&[6], 4));
            b.bool("reset_after", after).bool("output_sequence", true)
        });
        out[0].clone()
    };
    assert_close(&case(false), &[0.16609011, -0.12862380, -0.36260318, 0.00810680, -0.61669673, 0.09904897]);
    assert_close(&case(true), &[0.25504332, -0.14451152, -0.25613343, 0.00029874, -0.50695102, 0.09742380]);
}

#[test]
fn a_reversed_rnn_gives_states_in_the_order_it_makes_them() {
    let inputs = [("x", ramp(&[3, 1, 2], 3)), ("initial_h", f32s(&[1, 2], &[0.5, -0.5]))];
    let out = run(Opset::Ios15, "rnn", &inputs, |b| {
        let b = b.literal("weight_ih", ramp(&[2, 2], 2)).literal("weight_hh", ramp(&[2, 2], 5));
        let b = b.literal("bias", f32s(&[2], &[0.5, 0.25])).str("direction", "reverse");
        b.str("activation", "relu").bool("output_sequence", true)
    });
    assert_close(&out[0], &[0.00000000, 0.25000000, 0.12500000, 0.12500000, 1.03125000, 0.00000000]);
}

#[test]
fn weights_and_states_that_do_not_fit_are_faults() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [3, 1, 2]));
    let h = b.input("h", TensorType::new(DType::F32, [1, 2]));
    let wide = b.input("wide", TensorType::new(DType::F32, [1, 3]));
    let mut gru = |h, ih: &[usize], direction: &str| {
        let op = b.op("gru").arg("x", x).arg("initial_h", h).literal("weight_ih", ramp(ih, 1));
        op.literal("weight_hh", ramp(&[6, 2], 1)).str("direction", direction).all("y")
    };
    assert!(gru(h, &[6, 2], "forward").is_ok());
    assert!(gru(h, &[6, 3], "forward").is_err());
    assert!(gru(h, &[6, 2], "bidirectional").is_err());
    let fault = gru(wide, &[6, 2], "forward").expect_err("3 is not 2").to_string();
    assert_eq!(
        fault,
        "argument `initial_h` is tensor<fp32, [1, 3]>, but must be tensor<fp32, [1, 2]>: batch and hidden state"
    );
}

#[test]
fn work_counts_the_products_of_every_step() {
    let inputs = [("x", ramp(&[3, 1, 2], 3)), ("initial_h", ramp(&[1, 2], 1))];
    let f = crate::ops::probe::function(Opset::Ios15, "rnn", &inputs, |b| {
        b.literal("weight_ih", ramp(&[2, 2], 2)).literal("weight_hh", ramp(&[2, 2], 5))
    });
    let site = Site::new(&f, f.op(f.walk()[0].1)).expect("known");
    assert_eq!(Recurrent::of(&site).map(|r| r.activation), Ok(GateActivation::Tanh));
    let work = (site.def.work)(&site).expect("fixed extents");
    assert_eq!((work.flops, work.transcendental), (3 * 2 * (2 * 4 + 1), 6));
}
