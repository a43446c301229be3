//! Tensor operations: join and split, fill, sort, pad, and what has no other family.
//!
//! Rules: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/tensor_operation.py` and its successors.

mod fill;
mod join;
mod nms;
mod pad;
mod scan;
mod sort;

pub use join::{Concat, Split};
pub use nms::NonMaximumSuppression;
pub use pad::{Pad, PadMode};
pub use sort::TopK;

use super::OpDef;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &sort::ARGSORT,
    &scan::BAND_PART,
    &join::CONCAT,
    &scan::CUMSUM,
    &fill::FILL,
    &fill::FILL_LIKE,
    &scan::FLATTEN2D,
    &scan::IDENTITY,
    &nms::NON_MAXIMUM_SUPPRESSION,
    &scan::NON_ZERO,
    &fill::ONE_HOT,
    &pad::PAD,
    &fill::RANGE_1D,
    &scan::SHAPE,
    &join::SPLIT,
    &join::STACK,
    &join::TILE,
    &sort::TOPK,
];

#[cfg(test)]
mod tests {
    use crate::ops::case::{bools, int, ints, iota, run};
    use crate::{DType, Literal, Opset, Tensor};

    type Row = (&'static str, Tensor, Vec<(&'static str, Literal)>, &'static [usize], &'static [f64]);

    fn flag(value: bool) -> Literal {
        Tensor::scalar_bool(value).into()
    }

    fn floats(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_f32s(shape, values).expect("fits")
    }

    /// Expected values: NumPy (`pad`, `cumsum`, `tile`, `argsort(kind="stable")`), and `NeuralNetwork.proto`.
    fn rows() -> Vec<Row> {
        let pad = |pads: &[i32], mode: &str| vec![("pad", ints(pads)), ("mode", Literal::string(mode))];
        let ties = || floats(&[5], &[2., 5., f32::NAN, 5., 1.]);
        vec![
            ("pad", iota(&[1, 3]), pad(&[2, 1], "reflect"), &[1, 6], &[2., 1., 0., 1., 2., 1.]),
            ("pad", iota(&[1, 3]), pad(&[2, 1], "replicate"), &[1, 6], &[0., 0., 0., 1., 2., 2.]),
            ("pad", iota(&[1, 2]), pad(&[1, 0, 0, 1], "constant"), &[2, 3], &[0., 0., 0., 0., 1., 0.]),
            (
                "cumsum",
                floats(&[3], &[4., 6., 7.]),
                vec![("exclusive", flag(true)), ("reverse", flag(true))],
                &[3],
                &[13., 7., 0.],
            ),
            ("cumsum", iota(&[2, 2]), vec![("axis", int(0))], &[2, 2], &[0., 1., 2., 4.]),
            (
                "tile",
                iota(&[1, 2]),
                vec![("reps", ints(&[2, 2]))],
                &[2, 4],
                &[0., 1., 0., 1., 0., 1., 0., 1.],
            ),
            ("argsort", ties(), vec![], &[5], &[1., 3., 0., 4., 2.]),
            ("argsort", ties(), vec![("ascending", flag(true))], &[5], &[4., 0., 1., 3., 2.]),
            ("band_part", iota(&[2, 2]), vec![("lower", int(0))], &[2, 2], &[0., 1., 0., 3.]),
            ("flatten2d", iota(&[3]), vec![("axis", int(-1))], &[1, 3], &[0., 1., 2.]),
            ("flatten2d", iota(&[2, 1, 2]), vec![], &[2, 2], &[0., 1., 2., 3.]),
            ("identity", iota(&[2]), vec![], &[2], &[0., 1.]),
            ("non_zero", iota(&[2, 2]), vec![], &[3, 2], &[0., 1., 1., 0., 1., 1.]),
            ("shape", iota(&[2, 0, 3]), vec![], &[3], &[2., 0., 3.]),
        ]
    }

    #[test]
    fn results_are_those_of_numpy() {
        for (kind, x, attributes, shape, expected) in rows() {
            let y = run(kind, Opset::Ios17, &[("x", &[x])], &attributes).expect(kind);
            assert_eq!((y[0].shape(), y[0].to_f64s()), (shape, expected.to_vec()), "{kind}");
        }
    }

    #[test]
    fn concat_is_undone_by_split_and_can_interleave() {
        let parts = [iota(&[1, 2]), iota(&[2, 2])];
        let joined = run("concat", Opset::Ios15, &[("values", &parts)], &[("axis", int(0))]).expect("fits");
        assert_eq!(joined[0].to_f64s(), [0., 1., 0., 1., 2., 3.]);
        let sizes = [("split_sizes", ints(&[1, 2])), ("axis", int(-2))];
        assert_eq!(run("split", Opset::Ios15, &[("x", &joined)], &sizes).expect("fits"), parts);
        let mixed = [("axis", int(1)), ("interleave", flag(true))];
        let twice = [parts[1].clone(), parts[1].clone()];
        let mixed = run("concat", Opset::Ios15, &[("values", &twice)], &mixed).expect("fits");
        assert_eq!(mixed[0].to_f64s(), [0., 0., 1., 1., 2., 2., 3., 3.]);
        let stacked = run("stack", Opset::Ios15, &[("values", &twice)], &[("axis", int(-1))]).expect("fits");
        assert_eq!((stacked[0].shape(), stacked[0].to_f64s()), (&[2, 2, 2][..], mixed[0].to_f64s()));
    }

    #[test]
    fn topk_returns_indices_as_asked() {
        let x = floats(&[2, 3], &[1., 3., 3., 6., 5., 4.]);
        let two = ("k", int(2));
        let y = run(
            "topk",
            Opset::Ios17,
            &[("x", std::slice::from_ref(&x))],
            &[two.clone(), ("output_indices_dtype", Literal::string("uint16"))],
        );
        let y = y.expect("fits");
        assert_eq!((y[0].to_f64s(), y[1].to_i64s()), (vec![3., 3., 6., 5.], vec![1, 2, 0, 1]));
        assert_eq!(y[1].dtype(), DType::U16);
        let values = run(
            "topk",
            Opset::Ios16,
            &[("x", std::slice::from_ref(&x))],
            &[two, ("return_indices", flag(false))],
        );
        assert_eq!(values.expect("fits").len(), 1);
        let columns =
            run("topk", Opset::Ios15, &[("x", &[x])], &[("axis", int(0)), ("ascending", flag(true))]);
        assert_eq!(columns.expect("fits")[0].to_f64s(), [1., 3., 3.]);
    }

    #[test]
    fn one_hot_and_ranges_make_what_they_are_asked_for() {
        let indices = Tensor::vector_i32(&[2, -1]);
        let y = run(
            "one_hot",
            Opset::Ios15,
            &[("indices", &[indices])],
            &[("one_hot_vector_size", int(3)), ("on_value", int(5)), ("off_value", int(-1))],
        );
        assert_eq!(y.expect("fits")[0].to_i64s(), [-1, -1, 5, -1, -1, -1]);
        let step = Tensor::scalar_f64(DType::F32, 0.5);
        let bounds = [("end", &[Tensor::scalar_f64(DType::F32, 2.2)][..]), ("step", &[step][..])];
        let start = [("start", Literal::from(Tensor::scalar_f64(DType::F32, 1.0)))];
        assert_eq!(run("range_1d", Opset::Ios15, &bounds, &start).expect("fits")[0].to_f64s(), [1., 1.5, 2.]);
        let filled = run(
            "fill",
            Opset::Ios15,
            &[("shape", &[Tensor::vector_i32(&[1, 2])])],
            &[("value", bools(&[true]))],
        );
        assert_eq!(filled.expect("fits")[0].to_bools(), [true, true]);
    }

    #[test]
    fn suppression_pads_and_never_returns_nothing() {
        let boxes = floats(&[1, 3, 4], &[0., 0., 4., 2., 1., 0., 4., 2., 9., 9., 1., 1.]);
        let scores = floats(&[1, 3, 1], &[0.3, 0.9, 0.1]);
        let one = |v: f32| Literal::from(Tensor::scalar_f64(DType::F32, f64::from(v)));
        let run = |least: f32| {
            let inputs = [("boxes", &[boxes.clone()][..]), ("scores", &[scores.clone()][..])];
            run(
                "non_maximum_suppression",
                Opset::Ios15,
                &inputs,
                &[("iou_threshold", one(0.5)), ("score_threshold", one(least)), ("max_boxes", int(3))],
            )
        };
        let y = run(0.0).expect("fits");
        assert_eq!((y[2].to_i64s(), y[3].to_i64s()), (vec![1, 2, -1], vec![2]));
        assert_eq!(y[0].to_f64s()[8..], [0.; 4]);
        let none = run(1.0).expect("fits");
        assert_eq!((none[2].to_i64s(), none[3].to_i64s()), (vec![1, -1, -1], vec![1]));
    }
}
