//! Expected values: recorded from coremltools' own tests of these ops (inputs and outputs of the conformance suite).

use crate::ops::probe::{assert_close, f32s, iota, run};
use crate::ops::{Resize, Site, Target};
use crate::{Builder, DType, Dim, OpBuilder, Opset, Tensor, TensorType};

/// 1 to 16 as one 4 by 4 image.
fn sixteen() -> Tensor {
    f32s(&[1, 1, 4, 4], &(1u8..=16).map(f32::from).collect::<Vec<_>>())
}

#[test]
fn boxes_are_cut_and_points_outside_are_padding() {
    let out = run(Opset::Ios17, "crop_resize", &[("x", sixteen())], |b| {
        let boxes = f32s(&[3, 4], &[0.1, 0.3, 1.3, 1.0, 0.5, 1.8, 1.0, 0.3, 0.0, 0.4, 0.6, 0.7]);
        let b = b.literal("boxes", boxes).ints("box_indices", &[0, 0, 0]).int("target_height", 2);
        let b = b
            .int("target_width", 2)
            .bool("normalized_coordinates", true)
            .str("sampling_mode", "ALIGN_CORNERS");
        b.literal("pad_value", Tensor::scalar_f64(DType::F32, 10.0))
    });
    assert_eq!(out[0].shape(), [3, 1, 2, 2]);
    assert_close(&out[0], &[3.1, 5.2, 10.0, 10.0, 10.0, 7.9, 10.0, 13.9, 2.2, 3.1, 9.4, 10.3]);
    let out = run(Opset::Ios15, "crop_resize", &[("x", sixteen())], |b| {
        let b = b.literal("roi", f32s(&[1, 1, 4, 1, 1], &[1.0, 1.0, 2.0, 2.0])).int("target_height", 4);
        b.int("target_width", 2).str("sampling_mode", "ALIGN_CORNERS")
    });
    assert_eq!(out[0].shape(), [1, 1, 1, 4, 2]);
    assert_close(&out[0], &[6.0, 7.0, 22.0 / 3.0, 25.0 / 3.0, 26.0 / 3.0, 29.0 / 3.0, 10.0, 11.0]);
}

/// The page says `[n, 1, ...]` where boxes name their image, but coremltools declares `[n, batch, ...]`.
#[test]
fn a_box_that_names_its_image_stands_for_every_image_of_the_batch() {
    let x = f32s(&[2, 1, 1, 2], &[1.0, 2.0, 30.0, 40.0]);
    let given = |image: f32| f32s(&[1, 1, 5, 1, 1], &[image, 0.0, 0.0, 0.0, 1.0]);
    for (image, want) in [(0.0, [1.0, 2.0]), (1.0, [30.0, 40.0])] {
        let out = run(Opset::Ios16, "crop_resize", &[("x", x.clone()), ("roi", given(image))], |b| {
            b.int("target_width", 2).str("sampling_mode", "ALIGN_CORNERS")
        });
        assert_eq!(out[0].shape(), [1, 2, 1, 1, 2]);
        assert_close(&out[0], &[want, want].concat());
    }
}

#[test]
fn resample_folds_points_back_by_padding_mode() {
    let case = |sampling: &str, padding: &str, value: f64, mode: &str, align: bool| {
        let x = f32s(&[1, 1, 2, 2], &[11.0, 22.0, 33.0, 44.0]);
        let at = f32s(&[1, 2, 2, 2], &[-1.0, -2.0, -3.7, -1.0, 0.0, 0.0, 3.5, 1.2]);
        let out = run(Opset::Ios16, "resample", &[("x", x), ("coordinates", at)], |b| {
            let b =
                b.str("sampling_mode", sampling).str("padding_mode", padding).str("coordinates_mode", mode);
            b.literal("padding_value", Tensor::scalar_f64(DType::F32, value)).bool("align_corners", align)
        });
        out[0].clone()
    };
    let constant = case("bilinear", "constant", 6.17, "normalized_minus_one_to_one", true);
    assert_close(&constant, &[8.585, 6.17, 27.5, 6.17]);
    let symmetric = case("nearest", "symmetric", -1.0, "normalized_zero_to_one", false);
    assert_close(&symmetric, &[22.0, 33.0, 11.0, 33.0]);
    let reflection = case("bilinear", "reflection", -1.0, "normalized_zero_to_one", true);
    assert_close(&reflection, &[22.0, 36.3, 11.0, 34.1]);
    let border = case("nearest", "border", -1.0, "unnormalized", false);
    assert_close(&border, &[11.0, 11.0, 11.0, 44.0]);
}

#[test]
fn affine_reads_where_the_matrix_points() {
    let x = [0.12835, 0.01073, 0.82554, -0.88915, 0.57651, -0.35741, -0.05607, -0.26299, -0.48652];
    let matrix = [0.571_550_7, 0.767_336_6, 0.626_435_46, 0.539_915_2, 0.330_890_12, 0.512_057_66];
    let out = run(Opset::Ios15, "affine", &[("x", f32s(&[1, 1, 3, 3], &x))], |b| {
        let b = b.literal("transform_matrix", f32s(&[1, 6], &matrix)).int("output_height", 3);
        let b = b.int("output_width", 3).str("sampling_mode", "bilinear").str("padding_mode", "constant");
        let b = b.literal("padding_value", Tensor::scalar_f64(DType::F32, 0.0)).bool("align_corners", true);
        b.str("coordinates_mode", "normalized_minus_one_to_one")
    });
    let expected = [-0.266, 0.2606, -0.21043, 0.51216, -0.21053, -0.36991, -0.26877, -0.28265, -0.01041];
    let off = out[0].to_f64s().iter().zip(expected).map(|(a, e)| (a - e).abs()).fold(0.0, f64::max);
    assert!(off < 2e-5, "{:?}: inputs and outputs are recorded to 5 digits", out[0]);
}

/// One row of two elements.
fn row(opset: Opset, op: &str, build: impl for<'b> FnOnce(OpBuilder<'b>) -> OpBuilder<'b>) -> Tensor {
    run(opset, op, &[("x", f32s(&[1, 1, 2], &[0.0, 1.0]))], build)[0].clone()
}

#[test]
fn rows_are_read_at_the_grid_points_of_the_reference() {
    let third = 1.0 / 3.0;
    let half_pixel = [0.0, 0.0, third, 2.0 * third, 1.0, 1.0];
    let centers = row(Opset::Ios15, "upsample_bilinear", |b| {
        b.int("scale_factor_width", 3).bool("align_corners", false)
    });
    assert_close(&centers, &half_pixel);
    let aligned = row(Opset::Ios15, "upsample_bilinear", |b| b.int("scale_factor_width", 3));
    assert_close(&aligned, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    let plain = row(Opset::Ios16, "upsample_bilinear", |b| {
        b.int("scale_factor_width", 3).bool("align_corners", false).bool("half_pixel_centers", false)
    });
    assert_close(&plain, &[0.0, third, 2.0 * third, 1.0, 1.0, 1.0]);
    let offset = row(Opset::Ios15, "resize_bilinear", |b| {
        b.int("target_size_width", 5).str("sampling_mode", "OFFSET_CORNERS")
    });
    assert_close(&offset, &[0.1, 0.3, 0.5, 0.7, 0.9]);
    let nearest = row(Opset::Ios15, "upsample_nearest_neighbor", |b| {
        b.literal("scale_factor_width", Tensor::scalar_f64(DType::F32, 1.5))
    });
    assert_close(&nearest, &[0.0, 0.0, 1.0]);
}

#[test]
fn resize_takes_its_shape_from_an_operand() {
    let shape = Tensor::vector_i32(&[7, 0, 3]);
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [1, 1, 2, 2]));
    let s = b.input("s", TensorType::new(DType::I32, [3]));
    let dims = |op: OpBuilder<'_>| op.literal("resized_dims", Tensor::scalar_f64(DType::U32, 2.0)).one("y");
    let dynamic = dims(b.op("resize").arg("x", x).arg("shape", s)).expect("computed shape");
    assert_eq!(b.ty(dynamic).to_string(), "tensor<fp32, [1, 1, ?, ?]>");
    let fixed = dims(b.op("resize").arg("x", x).literal("shape", shape.clone())).expect("constant shape");
    assert_eq!(b.ty(fixed).to_string(), "tensor<fp32, [1, 1, 2, 3]>");
    let f = b.finish();
    let site = Site::new(&f, f.op(f.walk()[0].1)).expect("known");
    assert_eq!(Resize::of(&site).expect("decodes").targets, [Target::Runtime; 2]);
    let out = run(Opset::Ios17, "resize", &[("x", iota(&[1, 1, 2, 2]))], |b| {
        b.literal("shape", shape).literal("resized_dims", Tensor::scalar_f64(DType::U32, 2.0))
    });
    assert_close(&out[0], &[0.0, 2.0 / 3.0, 1.0, 2.0, 8.0 / 3.0, 3.0]);
}

#[test]
fn crop_keeps_the_middle() {
    let out = run(Opset::Ios15, "crop", &[("x", sixteen())], |b| {
        b.ints("crop_height", &[1, 2]).ints("crop_width", &[0, 1])
    });
    assert_eq!((out[0].shape(), out[0].to_f64s()), (&[1, 1, 1, 3][..], vec![5.0, 6.0, 7.0]));
}

#[test]
fn scaled_extents_round_down_and_unknown_ones_stay_unknown() {
    assert_eq!(Target::Scale(5.272731781005859).extent(22), Some(116));
    assert_eq!(Target::Scale(0.30000999569892883).extent(10), Some(3));
    assert_eq!(Target::Scale(2.0).dim(&Dim::Symbol("h".into())), Dim::Unknown);
    assert_eq!(Target::Scale(1.0).dim(&Dim::Symbol("h".into())), Dim::Symbol("h".into()));
}

#[test]
fn impossible_attributes_are_faults() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [1, 1, 4, 4]));
    let mode = b
        .op("resize_bilinear")
        .arg("x", x)
        .str("sampling_mode", "CORNERS")
        .one("y")
        .expect_err("no such mode");
    assert!(mode.to_string().contains("STRICT_ALIGN_CORNERS"), "{mode}");
    assert!(b.op("resize_bilinear").arg("x", x).int("target_size_width", 0).one("y").is_err());
    assert!(
        b.op("crop").arg("x", x).ints("crop_height", &[3, 2]).ints("crop_width", &[0, 0]).one("y").is_err()
    );
    let boxes =
        b.op("crop_resize").arg("x", x).literal("boxes", iota(&[2, 4])).one("y").expect_err("1 image");
    assert!(boxes.to_string().contains("at most 1"), "{boxes}");
    let outside =
        b.op("crop_resize").arg("x", x).literal("boxes", iota(&[1, 4])).ints("box_indices", &[1]).one("y");
    assert!(outside.is_err());
}

#[test]
fn results_too_large_are_refused_and_empty_ones_are_empty() {
    let huge =
        |b: OpBuilder<'_>| b.int("target_size_height", i32::MAX).int("target_size_width", 1).one("y").is_ok();
    let mut b = Builder::new("main", Opset::Ios15);
    let x = b.input("x", TensorType::new(DType::F32, [4, 1, 1]));
    assert!(huge(b.op("resize_bilinear").arg("x", x)), "a type may be as large as it likes");
    let f = b.finish();
    let op = f.op(f.walk()[0].1);
    let site = Site::new(&f, op).expect("known");
    let given = |a: &crate::Arg| {
        let constant = f.constant(a.values[0]).and_then(|c| c.literal().ok());
        vec![constant.unwrap_or_else(|| iota(&[4, 1, 1]).into())]
    };
    let values: Vec<Vec<crate::Literal>> = op.args.iter().map(given).collect();
    let fault =
        site.def.evaluate(&crate::eval::EvalSite { site, values: &values }).expect_err("8 billion elements");
    assert!(fault.message.contains("[4, 2147483647, 1]"), "{fault}");
    let empty = run(Opset::Ios15, "resize_bilinear", &[("x", f32s(&[0, 1, 1], &[]))], |b| {
        b.int("target_size_height", i32::MAX)
    });
    assert_eq!(empty[0].shape(), [0, 2147483647, 1]);
}
