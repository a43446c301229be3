//! Pooling, position by position.

use crate::kernels::pool2d::{PoolKind, scales};
use crate::kernels::reduce::{Fold, Largest, Squares, Sum};
use crate::kernels::simd::{Kernel, Simd};
use crate::kernels::window::Window;
use crate::pool::Pool;

/// A pooling over `x [batch, spatial, channels]`, ready to run.
pub struct LastPool {
    kind: PoolKind,
    window: Window,
    batch: usize,
    channels: usize,
    /// 1 / divisor of every output position, one number when they agree.
    scale: Vec<f32>,
}

impl LastPool {
    /// Pools the windows of `window` in every image.
    pub fn new(kind: PoolKind, window: Window, batch: usize, channels: usize) -> Self {
        let scale = match kind {
            PoolKind::Average(divisor) => scales(&window, divisor),
            _ => vec![1.0],
        };
        Self { kind, window, batch, channels, scale }
    }

    /// Pools `x` into `out`.
    ///
    /// # Panics
    /// When `x` or `out` do not have the lengths of the windows.
    pub fn run(&self, x: &[f32], out: &mut [f32], pool: &Pool) {
        let w = &self.window;
        assert_eq!(x.len(), self.batch * self.channels * w.input_len(), "elements of a pooling");
        assert_eq!(out.len(), self.batch * self.channels * w.output_len(), "elements of a pooling's result");
        let grain = (1usize << 15).div_ceil(w.taps());
        pool.rows_mut(out, self.channels, grain, |first, out| {
            pool.isa().run(Rows { plan: self, x, first, out });
        });
    }
}

/// What follows the fold of a window.
#[inline(always)]
fn finish<S: Simd>(s: S, kind: PoolKind, scale: S::F, sum: S::F) -> S::F {
    match kind {
        PoolKind::Max => sum,
        PoolKind::L2 => s.sqrt(sum),
        PoolKind::Average(_) => s.mul(sum, scale),
    }
}

struct Rows<'a> {
    plan: &'a LastPool,
    x: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.plan.kind {
            PoolKind::Max => self.each(s, Largest),
            PoolKind::Average(_) => self.each(s, Sum),
            PoolKind::L2 => self.each(s, Squares),
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn each<S: Simd, F: Fold>(self, s: S, fold: F) {
        let Self { plan, x, first, out } = self;
        let (w, channels) = (&plan.window, plan.channels);
        let size = w.output_len();
        let [_, oy, ox] = w.output;
        let mut inputs: Vec<usize> = Vec::with_capacity(w.taps());
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let (image, q) = ((first + i) / size, (first + i) % size);
            let at = [q / (oy * ox), q / ox % oy, q % ox];
            inputs.clear();
            for kz in 0..w.kernel[0] {
                let Some(z) = w.source(0, at[0], kz) else { continue };
                for ky in 0..w.kernel[1] {
                    let Some(y) = w.source(1, at[1], ky) else { continue };
                    let row = ((image * w.input[0] + z) * w.input[1] + y) * w.input[2];
                    let columns = (0..w.kernel[2]).filter_map(|kx| w.source(2, at[2], kx));
                    inputs.extend(columns.map(|x| (row + x) * channels));
                }
            }
            let scale = s.splat(if plan.scale.len() == 1 { plan.scale[0] } else { plan.scale[q] });
            let mut chunks = out.chunks_exact_mut(4 * S::LANES);
            let mut c = 0;
            for out in chunks.by_ref() {
                let mut sums = [s.splat(F::START); 4];
                for &start in &inputs {
                    let x = &x[start + c..][..4 * S::LANES];
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = fold.step(s, *sum, s.load_part(&x[v * S::LANES..][..S::LANES]), s.splat(0.0));
                    }
                }
                for (v, &sum) in sums.iter().enumerate() {
                    s.store_part(&mut out[v * S::LANES..][..S::LANES], finish(s, plan.kind, scale, sum));
                }
                c += 4 * S::LANES;
            }
            for out in chunks.into_remainder().chunks_mut(S::LANES) {
                let mut sum = s.splat(F::START);
                for &start in &inputs {
                    sum = fold.step(s, sum, s.load_part(&x[start + c..][..out.len()]), s.splat(0.0));
                }
                c += out.len();
                s.store_part(out, finish(s, plan.kind, scale, sum));
            }
        }
    }
}
