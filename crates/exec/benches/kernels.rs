//! Matrix products and convolutions on one thread; `cargo bench -p anemone-exec`.
#![allow(missing_docs)] // the macros of divan make public items

use anemone_exec::kernels::conv::{ConvGeometry, ConvPlan};
use anemone_exec::kernels::elementwise::{UnaryOp, unary};
use anemone_exec::kernels::gemm::{Lhs, Mat, PackedLhs, PackedRhs, Rhs, gemm, gemm_scratch};
use anemone_exec::kernels::layout::CopyPlan;
use anemone_exec::kernels::softmax::softmax;
use anemone_exec::kernels::{Activation, Epilogue, Window};
use anemone_exec::pool::Pool;
use divan::{Bencher, black_box, counter::ItemsCount};

fn main() {
    divan::main();
}

const SHAPES: [(usize, usize, usize); 4] =
    [(1, 768, 3072), (128, 768, 3072), (512, 768, 768), (1024, 1024, 1024)];

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1000) as f32 - 500.0) / 500.0).collect()
}

/// Floating point operations per second stand in the items column.
#[divan::bench(args = SHAPES)]
fn product_packed(bencher: Bencher, (m, k, n): (usize, usize, usize)) {
    let pool = Pool::new(1);
    let (a, b) = (numbers(m * k), numbers(k * n));
    let (a, b) = (Mat::new(&a, m, k), PackedRhs::new(Mat::new(&b, k, n), pool.isa()));
    let (mut out, mut scratch) = (vec![0.0; m * n], vec![0.0; gemm_scratch(m, k, n, &pool)]);
    bencher.counter(ItemsCount::new(2 * m * k * n)).bench_local(|| {
        gemm(Lhs::Plain(a), Rhs::Packed(&b), Epilogue::default(), &mut out, &mut scratch, &pool);
        black_box(&out);
    });
}

#[divan::bench(args = SHAPES)]
fn product_plain(bencher: Bencher, (m, k, n): (usize, usize, usize)) {
    let pool = Pool::new(1);
    let (a, b) = (numbers(m * k), numbers(k * n));
    let (a, b) = (PackedLhs::new(Mat::new(&a, m, k), pool.isa()), Mat::new(&b, k, n));
    let (mut out, mut scratch) = (vec![0.0; m * n], vec![0.0; gemm_scratch(m, k, n, &pool)]);
    bencher.counter(ItemsCount::new(2 * m * k * n)).bench_local(|| {
        gemm(Lhs::Packed(&a), Rhs::Plain(b), Epilogue::default(), &mut out, &mut scratch, &pool);
        black_box(&out);
    });
}

/// The crate `gemm`, for comparison.
#[divan::bench(args = SHAPES)]
fn product_by_the_crate_gemm(bencher: Bencher, (m, k, n): (usize, usize, usize)) {
    let (a, b, mut out) = (numbers(m * k), numbers(k * n), vec![0f32; m * n]);
    let step = |n: usize| n as isize;
    bencher.counter(ItemsCount::new(2 * m * k * n)).bench_local(|| {
        // SAFETY: the three matrices are dense, row-major and as large as the extents say.
        unsafe {
            ::gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                step(n),
                false,
                a.as_ptr(),
                1,
                step(k),
                b.as_ptr(),
                1,
                step(n),
                0.0,
                1.0,
                false,
                false,
                false,
                ::gemm::Parallelism::None,
            );
        }
        black_box(&out);
    });
}

/// `(size, kernel, stride, channels in, channels out, groups)`
type Shape = (usize, usize, usize, usize, usize, usize);

fn convolve(bencher: Bencher, (size, kernel, stride, channels_in, channels_out, groups): Shape) {
    let pool = Pool::new(1);
    let pad = (kernel / 2, kernel / 2);
    let window = Window::padded(&[size; 2], &[kernel; 2], &[stride; 2], &[1; 2], &[pad; 2]).unwrap();
    let g = ConvGeometry { batch: 1, channels_in, channels_out, groups, window };
    let (x, weights) = (numbers(g.input_len()), numbers(g.weights_len()));
    let plan =
        ConvPlan::new(g, &weights, Some(&numbers(channels_out)), Activation::Relu, pool.isa()).unwrap();
    let (mut out, mut scratch) = (vec![0.0; g.output_len()], vec![0.0; plan.scratch(&pool)]);
    let work = 2 * g.weights_len() * g.window.output_len();
    bencher.counter(ItemsCount::new(work)).bench_local(|| {
        plan.run(&x, &mut out, &mut scratch, &pool);
        black_box(&out);
    });
}

#[divan::bench(args = [(56, 3, 1, 64, 64, 1), (28, 3, 1, 128, 128, 1), (7, 3, 1, 512, 512, 1), (224, 7, 2, 3, 64, 1)])]
fn convolution(bencher: Bencher, shape: Shape) {
    convolve(bencher, shape);
}

#[divan::bench(args = [(56, 1, 1, 64, 256, 1), (14, 1, 1, 512, 512, 1)])]
fn pointwise(bencher: Bencher, shape: Shape) {
    convolve(bencher, shape);
}

#[divan::bench(args = [(56, 3, 1, 128, 128, 128), (112, 3, 1, 64, 64, 64), (112, 3, 2, 64, 64, 64), (14, 5, 1, 480, 480, 480), (7, 3, 1, 960, 960, 960)])]
fn depthwise(bencher: Bencher, shape: Shape) {
    convolve(bencher, shape);
}

/// Elements per second stand in the items column.
#[divan::bench(args = [UnaryOp::Relu, UnaryOp::Exp, UnaryOp::Gelu, UnaryOp::Silu])]
fn elementwise(bencher: Bencher, op: UnaryOp) {
    let (pool, x) = (Pool::new(1), numbers(1 << 16));
    let mut out = vec![0.0; x.len()];
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        unary(op, &x, &mut out, &pool);
        black_box(&out);
    });
}

#[divan::bench(args = [(512, 128, 1), (1, 64, 1024)])]
fn softmaxes(bencher: Bencher, extents: (usize, usize, usize)) {
    let (pool, x) = (Pool::new(1), numbers(1 << 16));
    let mut out = vec![0.0; x.len()];
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        softmax(&x, extents, &mut out, &pool);
        black_box(&out);
    });
}

#[divan::bench(args = [[0, 2, 1], [1, 0, 2], [2, 1, 0]])]
fn transpose(bencher: Bencher, perm: [usize; 3]) {
    let (pool, x) = (Pool::new(1), numbers(8 * 256 * 256));
    let (plan, mut out) = (CopyPlan::transpose(&[8, 256, 256], &perm).unwrap(), vec![0.0; x.len()]);
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        plan.run(&x, &mut out, &pool);
        black_box(&out);
    });
}
