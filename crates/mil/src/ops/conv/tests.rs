//! Expected values: the formulas of the op reference worked out with NumPy, window by window.

use crate::ops::probe::{assert_close, f32s, iota, run};
use crate::ops::{Conv, Site};
use crate::{Builder, DType, Dim, Opset, Tensor, TensorType};

#[test]
fn grouped_strided_dilated_padded_convolution_matches_numpy() {
    let out = run(Opset::Ios17, "conv", &[("x", iota(&[1, 2, 4, 3]))], |b| {
        let b = b.literal("weight", iota(&[4, 1, 2, 2])).literal("bias", f32s(&[4], &[1., 2., 3., 4.]));
        let b = b.ints("strides", &[2, 1]).ints("dilations", &[1, 2]).int("groups", 2);
        b.str("pad_type", "custom").ints("pad", &[1, 0, 0, 1])
    });
    let expected = [7., 3., 42., 15., 16., 8., 131., 60., 277., 133., 676., 321., 382., 186., 957., 462.];
    assert_eq!(out[0].shape(), [1, 4, 2, 2]);
    assert_close(&out[0], &expected);
}

#[test]
fn same_padding_of_an_odd_kernel_is_symmetric() {
    let inputs = [("x", iota(&[1, 2, 4, 3])), ("weight", iota(&[3, 2, 3, 1]))];
    let out = run(Opset::Ios15, "conv", &inputs, |b| b.str("pad_type", "same"));
    let expected = [
        129., 141., 153., 201., 216., 231., 246., 261., 276., 147., 155., 163., 309., 345., 381., 525., 576.,
        627., 678., 729., 780., 471., 503., 535., 489., 549., 609., 849., 936., 1023., 1110., 1197., 1284.,
        795., 851., 907.,
    ];
    assert_close(&out[0], &expected);
}

#[test]
fn transposed_convolution_scatters_and_crops_as_numpy_does() {
    let x = iota(&[1, 2, 2, 2]);
    let custom = run(Opset::Ios17, "conv_transpose", &[("x", x.clone())], |b| {
        let b = b.literal("weight", iota(&[2, 2, 3, 2])).ints("strides", &[2, 1]).str("pad_type", "custom");
        b.ints("pad", &[1, 1, 0, 0])
    });
    assert_eq!(custom[0].shape(), [1, 2, 3, 3]);
    let expected = [
        56., 132., 78., 136., 316., 184., 88., 200., 114., 80., 192., 114., 208., 484., 280., 136., 308.,
        174.,
    ];
    assert_close(&custom[0], &expected);

    let same = run(Opset::Ios17, "conv_transpose", &[("x", x)], |b| {
        let b = b.literal("weight", iota(&[2, 2, 3, 2])).ints("strides", &[2, 1]).int("groups", 2);
        b.str("pad_type", "same")
    });
    assert_eq!(same[0].shape(), [1, 4, 4, 2]);
    let expected = [
        0., 0., 0., 2., 0., 6., 4., 12., 0., 6., 0., 8., 12., 42., 16., 42., 48., 112., 56., 130., 136.,
        310., 84., 188., 72., 166., 80., 184., 196., 442., 120., 266.,
    ];
    assert_close(&same[0], &expected);
}

#[test]
fn quantized_weights_mean_weight_times_scale_plus_bias() {
    let weight = Tensor::from_f64s(DType::U8, [2, 1, 1], &[10.0, 20.0]).expect("fits");
    let out = run(Opset::Ios15, "conv_quantized", &[("x", f32s(&[1, 1, 1], &[2.0]))], |b| {
        let b = b.literal("weight", weight).str("quantization_type", "linear");
        b.literal("quant_scale", f32s(&[2], &[0.5, 0.25])).literal("quant_bias", f32s(&[2], &[-1.0, 1.0]))
    });
    assert_close(&out[0], &[8.0, 12.0]);
}

/// A function with `x`, and the result of a convolution by a weight of shape `weight`.
fn conv_type(x: TensorType, weight: &[usize], groups: i32) -> Result<TensorType, crate::ops::Fault> {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", x);
    let op = b.op("conv").arg("x", x).literal("weight", iota(weight)).int("groups", groups);
    let y = op.str("pad_type", "same").ints("strides", &[2, 1]).one("y")?;
    Ok(b.ty(y).tensor().expect("a tensor").clone())
}

#[test]
fn unknown_extents_flow_through() {
    let symbol = Dim::Symbol("w".into());
    let x = TensorType::new(DType::F16, [Dim::Unknown, Dim::Known(4), Dim::Unknown, symbol.clone()]);
    let y = conv_type(x, &[6, 2, 3, 3], 2).expect("fits");
    assert_eq!(y.dims, [Dim::Unknown, Dim::Known(6), Dim::Unknown, symbol]);
}

#[test]
fn faults_name_the_argument_and_what_is_allowed() {
    let x = TensorType::new(DType::F32, [1, 4, 8, 8]);
    let wrong_channels = conv_type(x.clone(), &[6, 3, 3, 3], 1).expect_err("4 channels").to_string();
    assert_eq!(
        wrong_channels,
        "argument `weight` is for 3 input channels per group, but must be for 4 / 1, the channels of `x` by \
         `groups`"
    );
    assert!(conv_type(x.clone(), &[6, 4, 3, 3], 0).is_err());
    assert!(conv_type(x.clone(), &[6, 4, 3], 1).is_err());
    assert!(conv_type(x, &[3, 2, 3, 3], 2).is_err(), "3 output channels in 2 groups");
}

#[test]
fn the_view_resolves_pads_and_work_counts_multiply_adds_twice() {
    let f = crate::ops::probe::function(Opset::Ios17, "conv", &[("x", iota(&[1, 2, 5, 5]))], |b| {
        b.literal("weight", iota(&[4, 2, 3, 3])).ints("strides", &[2, 2]).str("pad_type", "same")
    });
    let (_, id) = f.walk()[0];
    let site = Site::new(&f, f.op(id)).expect("known");
    let conv = Conv::of(&site).expect("fits");
    assert_eq!(conv.pads, Some(vec![(1, 1), (1, 1)]));
    assert_eq!(conv.window.dilations, [1, 1]);
    let work = (site.def.work)(&site).expect("fixed extents");
    assert_eq!(work.flops, 4 * 3 * 3 * 2 * 18);
}
