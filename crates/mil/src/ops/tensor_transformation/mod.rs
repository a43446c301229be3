//! Tensor transformation: the same elements under another shape or in another order.
//!
//! Rules: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/tensor_transformation.py` and its successors.

mod order;
mod shape;
mod slice;
mod space;

pub use shape::{reshaped_shape, transposition};
pub use slice::{SliceByIndex, SliceDim};

use super::OpDef;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &space::BATCH_TO_SPACE,
    &space::DEPTH_TO_SPACE,
    &shape::EXPAND_DIMS,
    &space::PIXEL_SHUFFLE,
    &space::PIXEL_UNSHUFFLE,
    &shape::RESHAPE,
    &shape::RESHAPE_LIKE,
    &order::REVERSE,
    &order::REVERSE_SEQUENCE,
    &slice::SLICE_BY_INDEX,
    &slice::SLICE_BY_SIZE,
    &slice::SLICE_UPDATE,
    &order::SLIDING_WINDOWS,
    &space::SPACE_TO_BATCH,
    &space::SPACE_TO_DEPTH,
    &shape::SQUEEZE,
    &shape::TRANSPOSE,
];

#[cfg(test)]
mod tests {
    use crate::ops::Fault;
    use crate::ops::case::{bools, int, ints, iota, run};
    use crate::{Builder, DType, Dim, Literal, Opset, Tensor, TensorType};

    type Row =
        (&'static str, &'static [usize], Vec<(&'static str, Literal)>, &'static [usize], &'static [f64]);

    /// Expected values: NumPy on `arange(n).reshape(shape)`, and PyTorch's documents for the pixel ops.
    fn rows() -> Vec<Row> {
        let u32s = |v: i64| Literal::from(Tensor::from_i64s(DType::U32, [], &[v]).expect("fits"));
        let square = |v: &[i64]| Literal::from(Tensor::from_i64s(DType::I32, [2, 2], v).expect("fits"));
        vec![
            ("expand_dims", &[2], vec![("axes", ints(&[0, -1]))], &[1, 2, 1], &[0., 1.]),
            ("squeeze", &[1, 2, 1], vec![("axes", ints(&[-1, 1]))], &[1, 2], &[0., 1.]),
            ("squeeze", &[1, 1], vec![], &[], &[0.]),
            ("transpose", &[2, 3], vec![("perm", ints(&[-1, 0]))], &[3, 2], &[0., 3., 1., 4., 2., 5.]),
            ("reverse", &[2, 2], vec![("axes", ints(&[1]))], &[2, 2], &[1., 0., 3., 2.]),
            ("reverse", &[2, 2], vec![], &[2, 2], &[3., 2., 1., 0.]),
            (
                "reverse_sequence",
                &[2, 3],
                vec![("lengths", ints(&[2, 3])), ("seq_axis", int(1))],
                &[2, 3],
                &[1., 0., 2., 5., 4., 3.],
            ),
            (
                "sliding_windows",
                &[5],
                vec![("axis", int(0)), ("size", int(3)), ("stride", int(2))],
                &[2, 3],
                &[0., 1., 2., 2., 3., 4.],
            ),
            (
                "slice_by_size",
                &[2, 3],
                vec![("begin", ints(&[1, -2])), ("size", ints(&[1, -1]))],
                &[1, 2],
                &[4., 5.],
            ),
            (
                "slice_by_index",
                &[2, 4],
                vec![
                    ("begin", ints(&[-1, 3])),
                    ("end", ints(&[0, 0])),
                    ("stride", ints(&[1, -2])),
                    ("end_mask", bools(&[false, true])),
                    ("squeeze_mask", bools(&[true, false])),
                ],
                &[2],
                &[7., 5.],
            ),
            (
                "depth_to_space",
                &[1, 8, 1, 1],
                vec![("block_size", int(2))],
                &[1, 2, 2, 2],
                &[0., 2., 4., 6., 1., 3., 5., 7.],
            ),
            (
                "pixel_shuffle",
                &[1, 8, 1, 1],
                vec![("upscale_factor", int(2))],
                &[1, 2, 2, 2],
                &[0., 1., 2., 3., 4., 5., 6., 7.],
            ),
            (
                "space_to_depth",
                &[1, 2, 2, 2],
                vec![("block_size", int(2))],
                &[1, 8, 1, 1],
                &[0., 4., 1., 5., 2., 6., 3., 7.],
            ),
            (
                "pixel_unshuffle",
                &[1, 2, 2, 2],
                vec![("downscale_factor", u32s(2))],
                &[1, 8, 1, 1],
                &[0., 1., 2., 3., 4., 5., 6., 7.],
            ),
            (
                "space_to_batch",
                &[1, 1, 1, 3],
                vec![("block_shape", ints(&[1, 2])), ("paddings", square(&[0, 0, 1, 0]))],
                &[2, 1, 1, 2],
                &[0., 1., 0., 2.],
            ),
            (
                "batch_to_space",
                &[2, 1, 1, 2],
                vec![("block_shape", ints(&[1, 2])), ("crops", square(&[0, 0, 1, 0]))],
                &[1, 1, 1, 3],
                &[2., 1., 3.],
            ),
            ("reshape", &[2, 3], vec![("shape", ints(&[-1, 2]))], &[3, 2], &[0., 1., 2., 3., 4., 5.]),
            ("reshape", &[2, 2], vec![("shape", ints(&[1, 0, -1, 0]))], &[1, 1, 2, 2], &[0., 1., 2., 3.]),
        ]
    }

    #[test]
    fn elements_move_as_in_numpy() {
        for (kind, shape, attributes, expected_shape, expected) in rows() {
            let x = iota(shape);
            let y = run(kind, Opset::Ios17, &[("x", &[x])], &attributes).expect(kind);
            assert_eq!((y[0].shape(), y[0].to_f64s()), (expected_shape, expected.to_vec()), "{kind}");
        }
    }

    #[test]
    fn a_slice_update_writes_what_the_slice_takes() {
        let update = Tensor::from_f32s([1, 2], &[8., 9.]).expect("fits");
        let bounds = [("begin", ints(&[1, 0])), ("end", ints(&[2, 3])), ("stride", ints(&[1, 2]))];
        let y = run("slice_update", Opset::Ios18, &[("x", &[iota(&[2, 3])]), ("update", &[update])], &bounds);
        assert_eq!(y.expect("fits")[0].to_f64s(), [0., 1., 2., 8., 4., 9.]);
    }

    fn inferred(dims: &[Dim], kind: &str, attributes: &[(&'static str, Literal)]) -> Result<Vec<Dim>, Fault> {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::F32, dims.to_vec()));
        let op = attributes.iter().fold(b.op(kind).arg("x", x), |op, (p, l)| op.literal(p, l.clone()));
        let y = op.one("y")?;
        Ok(b.ty(y).tensor().expect("a tensor").dims.clone())
    }

    #[test]
    fn symbols_survive_where_they_must() {
        let (n, s) = (Dim::Known, Dim::Symbol("s".into()));
        let x = [s.clone(), n(4), n(8)];
        let cases = [
            ("reshape", "shape", ints(&[-1, 32]), vec![s.clone(), n(32)]),
            ("reshape", "shape", ints(&[0, 0, -1]), vec![s.clone(), n(4), n(8)]),
            ("reshape", "shape", ints(&[-1, 64]), vec![Dim::Unknown, n(64)]),
            ("transpose", "perm", ints(&[1, 2, 0]), vec![n(4), n(8), s.clone()]),
            ("squeeze", "axes", ints(&[0]), x.to_vec()),
        ];
        for (kind, param, value, dims) in cases {
            assert_eq!(inferred(&x, kind, &[(param, value)]), Ok(dims), "{kind}");
        }
    }

    #[test]
    fn shapes_computed_in_the_program_are_followed() {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::F32, [Dim::Symbol("s".into()), 4.into(), 8.into()]));
        let shape = b.op("shape").arg("x", x).one("shape").expect("any tensor");
        let batch = b
            .op("slice_by_index")
            .arg("x", shape)
            .ints("begin", &[0])
            .ints("end", &[1])
            .one("batch")
            .expect("in range");
        let rest = b.constant("rest", Tensor::vector_i32(&[32]));
        let to = b.op("concat").args("values", vec![batch, rest]).int("axis", 0).bool("interleave", false);
        let to = to.one("to").expect("vectors");
        let y = b.op("reshape").arg("x", x).arg("shape", to).one("y").expect("same number of elements");
        assert_eq!(b.ty(y).tensor().expect("a tensor").dims, [Dim::Symbol("s".into()), Dim::Known(32)]);
    }

    #[test]
    fn contradictions_name_the_argument() {
        let dims = [Dim::Known(2), Dim::Known(3)];
        let cases = [
            ("reshape", "shape", ints(&[4])),
            ("reshape", "shape", ints(&[-1, -1])),
            ("reshape", "shape", ints(&[4, -1])),
            ("transpose", "perm", ints(&[0, 0])),
            ("expand_dims", "axes", ints(&[5])),
            ("squeeze", "axes", ints(&[2])),
        ];
        for (kind, param, value) in cases {
            let fault = inferred(&dims, kind, &[(param, value)]).expect_err(kind);
            assert_eq!(fault.param.as_deref(), Some(param), "{kind}: {fault}");
        }
    }
}
