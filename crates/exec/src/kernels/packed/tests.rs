//! Products against unpacking with the element codecs of `anemone-tensor`, which the reference evaluation uses.

use super::*;
use crate::kernels::activation::{Activation, Bias, Epilogue};
use crate::kernels::gemm::{Mat, gemm_packed, gemm_scratch};
use crate::kernels::testing::{Rng, assert_close, on_every_pool};
use anemone_tensor::codec;

const CODES: [Code; 12] = [
    Code::F32,
    Code::F16,
    Code::Int { bits: 4, signed: false },
    Code::Int { bits: 4, signed: true },
    Code::Int { bits: 8, signed: false },
    Code::Int { bits: 8, signed: true },
    Code::Index { bits: 1 },
    Code::Index { bits: 2 },
    Code::Index { bits: 3 },
    Code::Index { bits: 4 },
    Code::Index { bits: 6 },
    Code::Index { bits: 8 },
];

/// A matrix, and the numbers it stands for.
fn random(
    rng: &mut Rng,
    code: Code,
    rows: usize,
    columns: usize,
    grids: [(usize, usize); 2],
) -> (PackedMatrix, Vec<f32>) {
    let count = rows * columns;
    let dtype = code.dtype();
    let mut bytes = vec![0u8; dtype.packed_len(count).unwrap()];
    match code {
        Code::F32 | Code::F16 => {
            (0..count).for_each(|i| codec::write_f64(dtype, &mut bytes, i, rng.float().into()))
        }
        _ => bytes.iter_mut().for_each(|b| *b = rng.int(0, 255) as u8),
    }
    let spare = count * code.bits() as usize % 8;
    if spare > 0 {
        *bytes.last_mut().unwrap() &= (1 << spare) - 1;
    }
    let mut numbers: Vec<f32> = (0..count).map(|i| codec::read_f64(dtype, &bytes, i) as f32).collect();
    let mut matrix = PackedMatrix::new(rows, columns, code, bytes.into()).unwrap();
    let [first, second] = grids;
    let at = |(down, across): (usize, usize), i: usize| {
        i / columns / (rows / down) * across + i % columns / (columns / across)
    };
    if let Code::Index { bits } = code {
        let width = 1 << bits;
        let values = rng.floats(first.0 * first.1 * width);
        for (i, v) in numbers.iter_mut().enumerate() {
            *v = values[at(first, i) * width + *v as usize];
        }
        matrix = matrix.with_tables(Grid { down: first.0, across: first.1, width, values }).unwrap();
    } else if let Code::Int { .. } = code {
        let values: Vec<f32> = (0..first.0 * first.1).map(|_| rng.int(0, 6) as f32).collect();
        numbers.iter_mut().enumerate().for_each(|(i, v)| *v -= values[at(first, i)]);
        matrix = matrix.with_offsets(Grid::scalars(first.0, first.1, values)).unwrap();
    }
    if second.0 > 0 {
        let values: Vec<f32> = rng.floats(second.0 * second.1).iter().map(|v| v / 16.0).collect();
        numbers.iter_mut().enumerate().for_each(|(i, v)| *v *= values[at(second, i)]);
        matrix = matrix.with_scales(Grid::scalars(second.0, second.1, values)).unwrap();
    }
    (matrix, numbers)
}

fn naive(x: &[f32], w: &[f32], columns: usize) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>();
    x.chunks_exact(columns).flat_map(|x| w.chunks_exact(columns).map(move |w| dot(x, w) as f32)).collect()
}

/// Rows, columns, and blocks of the two grids.
type Case = (usize, usize, [(usize, usize); 2]);

/// Extents around steps, and grids of one block, of a block per row, along columns, and short ones.
fn cases() -> Vec<Case> {
    vec![
        (1, 1, [(1, 1), (0, 0)]),
        (3, 5, [(1, 1), (3, 1)]),
        (7, 64, [(7, 1), (1, 1)]),
        (4, 513, [(2, 1), (4, 1)]),
        (6, 1024, [(3, 2), (6, 1)]),
        (5, 1024, [(1, 1), (5, 2)]),
        (2, 1024, [(2, 32), (2, 32)]),
        (3, 96, [(1, 3), (3, 6)]),
        (33, 130, [(11, 1), (0, 0)]),
    ]
}

#[test]
fn products_from_packed_bits_agree_with_the_numbers_they_stand_for() {
    let mut rng = Rng::new(11);
    for code in CODES {
        for (rows, columns, grids) in cases() {
            let (matrix, numbers) = random(&mut rng, code, rows, columns, grids);
            assert_eq!(matrix.to_f32s(), numbers, "{code:?} {rows}x{columns} unpacked");
            let turned: Vec<f32> =
                (0..rows * columns).map(|i| numbers[i % rows * columns + i / rows]).collect();
            assert_eq!(matrix.transposed().to_f32s(), turned, "{code:?} {rows}x{columns} transposed");
            for m in [1, 2, 3, 4, 5, 8] {
                let x = rng.floats(m * columns);
                let want = naive(&x, &numbers, columns);
                on_every_pool(|pool| {
                    let product = PackedProduct::new(&matrix, m, false, pool);
                    let mut out = vec![f32::NAN; m * rows];
                    let mut scratch = vec![f32::NAN; product.scratch()];
                    product.run(&x, Epilogue::default(), &mut out, &mut scratch, pool);
                    let largest = numbers.iter().fold(1f32, |m, v| m.max(v.abs()));
                    // Rounding of as many products and sums of numbers up to `largest`.
                    let tolerance = largest * columns as f32 * 1.2e-7;
                    let what = format!("{code:?} {} {m}x{columns}x{rows} {grids:?}", pool.isa().name());
                    assert_close(&out, &want, tolerance, &what);
                });
            }
        }
    }
}

#[test]
fn many_rows_unpack_panel_by_panel() {
    let mut rng = Rng::new(12);
    for code in CODES {
        let (rows, columns, m) = (70, 450, 20);
        let (matrix, numbers) = random(&mut rng, code, rows, columns, [(35, 2), (70, 3)]);
        let x = rng.floats(m * columns);
        let want = naive(&x, &numbers, columns);
        on_every_pool(|pool| {
            let mut out = vec![f32::NAN; m * rows];
            let mut scratch = vec![f32::NAN; gemm_scratch(m, columns, rows, pool)];
            let lhs = Mat::new(&x, m, columns);
            gemm_packed(lhs, &matrix, Epilogue::default(), &mut out, &mut scratch, pool);
            let largest = numbers.iter().fold(1f32, |m, v| m.max(v.abs()));
            assert_close(&out, &want, largest * columns as f32 * 1.2e-7, &format!("{code:?}"));
        });
    }
}

#[test]
fn bias_and_activation_follow_every_row() {
    let mut rng = Rng::new(13);
    let (rows, columns, m) = (37, 64, 5);
    let (matrix, numbers) = random(&mut rng, Code::Index { bits: 4 }, rows, columns, [(1, 1), (0, 0)]);
    let (x, bias) = (rng.floats(m * columns), rng.floats(rows));
    let raw = naive(&x, &numbers, columns);
    let want: Vec<f32> = raw.iter().enumerate().map(|(i, v)| (v + bias[i % rows]).max(0.0)).collect();
    on_every_pool(|pool| {
        let epilogue = Epilogue { bias: Bias::Col(&bias), activation: Activation::Relu, half: false };
        let product = PackedProduct::new(&matrix, m, false, pool);
        let (mut out, mut scratch) = (vec![0.0; m * rows], vec![0.0; product.scratch()]);
        product.run(&x, epilogue, &mut out, &mut scratch, pool);
        assert_close(&out, &want, 1e-5, "epilogue");
    });
}

#[test]
fn a_matrix_that_does_not_fit_its_bytes_or_grids_is_refused() {
    let new = |rows, columns, len: usize| {
        PackedMatrix::new(rows, columns, Code::Index { bits: 4 }, vec![0u8; len].into())
    };
    assert!(new(2, 4, 3).is_err() && new(0, 4, 0).is_err());
    let matrix = new(2, 4, 4).unwrap();
    let tables = |down, across, width, count: usize| Grid { down, across, width, values: vec![0.0; count] };
    assert!(matrix.clone().with_tables(tables(1, 1, 8, 8)).is_err());
    assert!(matrix.clone().with_tables(tables(1, 3, 16, 48)).is_err());
    assert!(matrix.clone().with_tables(tables(1, 1, 16, 15)).is_err());
    assert!(matrix.clone().with_scales(Grid::scalars(2, 1, vec![1.0, f32::INFINITY])).is_err());
    assert!(matrix.with_tables(tables(2, 2, 16, 64)).is_ok());
}

#[test]
fn products_in_whole_numbers_lose_less_than_half_precision() {
    let mut rng = Rng::new(14);
    let grids = [[(1, 1), (0, 0)], [(3, 1), (6, 1)], [(1, 2), (6, 4)], [(6, 16), (6, 16)], [(1, 8), (2, 8)]];
    // Long rows that do not end on a step, with one group of rows that is not full.
    let wide = [(8200, [(1, 1), (0, 0)]), (8192, [(2, 4), (6, 8)])];
    for &code in &CODES[1..] {
        let narrow = grids.into_iter().flat_map(|g| [(512, g), (528, [(2, 1), (3, 1)])]);
        for (columns, grids) in narrow.chain(wide) {
            let (matrix, numbers) = random(&mut rng, code, 6, columns, grids);
            let x: Vec<f32> = rng.floats(columns).iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
            let want = naive(&x, &numbers, columns);
            on_every_pool(|pool| {
                let product = PackedProduct::new(&matrix, 1, true, pool);
                let (mut out, mut scratch) = (vec![f32::NAN; 6], vec![f32::NAN; product.scratch()]);
                product.run(&x, Epilogue::default(), &mut out, &mut scratch, pool);
                let largest = numbers.iter().fold(0f32, |m, v| m.max(v.abs()));
                // Half a unit of 2^-14 for each factor of a term, and f32 rounding of the sum of offsets.
                let tolerance = largest * columns as f32 * (2f32.powi(-14) + 1.2e-7);
                for (got, want) in out.iter().zip(&want) {
                    let what = format!("{code:?} {} {columns} {grids:?}", pool.isa().name());
                    assert!((got - want).abs() <= tolerance, "{what}: {got}, should be {want}");
                }
            });
        }
    }
}

#[test]
fn activations_that_are_not_finite_reach_the_result() {
    let mut rng = Rng::new(15);
    let (matrix, _) = random(&mut rng, Code::Index { bits: 4 }, 3, 256, [(1, 1), (0, 0)]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = rng.floats(256);
        x[200] = bad;
        on_every_pool(|pool| {
            let product = PackedProduct::new(&matrix, 1, true, pool);
            let (mut out, mut scratch) = (vec![0.0; 3], vec![0.0; product.scratch()]);
            product.run(&x, Epilogue::default(), &mut out, &mut scratch, pool);
            assert!(out.iter().all(|v| !v.is_finite()), "{out:?}");
        });
    }
}
