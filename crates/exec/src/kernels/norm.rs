//! Normalisations.

use super::elementwise::GRAIN;
use super::reduce::{Deviations, Squares, Sum, fold_columns, fold_run};
use super::simd::{Kernel, Simd};
use super::softmax::{BLOCK, ColumnBlock, for_columns};
use crate::pool::Pool;

/// `out = x * scale[c] + shift[c]` for `x [batch, channels, inner]`: batch normalisation with its four parameters
/// folded into two, `scale = gamma / sqrt(variance + epsilon)` and `shift = beta - mean * scale`.
///
/// # Panics
/// When the lengths do not fit one another.
pub fn batch_norm(x: &[f32], scale: &[f32], shift: &[f32], inner: usize, out: &mut [f32], pool: &Pool) {
    let channels = scale.len();
    assert_eq!(shift.len(), channels, "channels of a batch normalisation");
    assert_eq!(x.len() % (channels * inner).max(1), 0, "elements of a batch normalisation");
    assert_eq!(out.len(), x.len(), "elements of a batch normalisation's result");
    pool.rows_mut(out, inner, GRAIN, |first, out| {
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let (row, c) = (first + i, (first + i) % channels);
            pool.isa().run(Affine { x: &x[row * inner..][..inner], scale: scale[c], shift: shift[c], out });
        }
    });
}

struct Affine<'a> {
    x: &'a [f32],
    scale: f32,
    shift: f32,
    out: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        affine(s, self.x, s.splat(self.scale), s.splat(self.shift), self.out);
    }
}

#[inline(always)]
fn affine<S: Simd>(s: S, x: &[f32], scale: S::F, shift: S::F, out: &mut [f32]) {
    for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
        s.store_part(out, s.fma(s.load_part(x), scale, shift));
    }
}

/// Instance normalisation of `x [batch, channels, inner]`: every row to mean 0 and variance 1, then
/// `gamma[c] * y + beta[c]`.
///
/// # Panics
/// When the lengths do not fit one another.
pub fn instance_norm(
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    (channels, inner): (usize, usize),
    epsilon: f32,
    out: &mut [f32],
    pool: &Pool,
) {
    assert_eq!(x.len() % (channels * inner).max(1), 0, "elements of an instance normalisation");
    assert_eq!(out.len(), x.len(), "elements of an instance normalisation's result");
    assert!(
        [gamma, beta].iter().flatten().all(|p| p.len() == channels),
        "channels of an instance normalisation"
    );
    pool.rows_mut(out, inner, GRAIN, |first, out| {
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let (row, c) = (first + i, (first + i) % channels);
            let (gamma, beta) = (gamma.map_or(1.0, |g| g[c]), beta.map_or(0.0, |b| b[c]));
            pool.isa().run(Instance { x: &x[row * inner..][..inner], gamma, beta, epsilon, out });
        }
    });
}

struct Instance<'a> {
    x: &'a [f32],
    gamma: f32,
    beta: f32,
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for Instance<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mean, scale) = moments(s, self.x, self.epsilon);
        let scale = scale * self.gamma;
        affine(s, self.x, s.splat(scale), s.splat(self.beta - mean * scale), self.out);
    }
}

/// Mean, and the inverse of the standard deviation.
#[inline(always)]
fn moments<S: Simd>(s: S, x: &[f32], epsilon: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = fold_run(s, Sum, x, 0.0) / n;
    (mean, 1.0 / (fold_run(s, Deviations, x, mean) / n + epsilon).sqrt())
}

/// Layer normalisation along the middle of `x [outer, n, inner]` (any adjacent axes are one), with `gamma` and
/// `beta` of `n` elements.
///
/// # Panics
/// When the lengths do not fit one another.
pub fn layer_norm(
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    (outer, n, inner): (usize, usize, usize),
    epsilon: f32,
    out: &mut [f32],
    pool: &Pool,
) {
    assert_eq!(x.len(), outer * n * inner, "elements of a layer normalisation");
    assert_eq!(out.len(), x.len(), "elements of a layer normalisation's result");
    assert!([gamma, beta].iter().flatten().all(|p| p.len() == n), "parameters of a layer normalisation");
    if inner == 1 {
        pool.rows_mut(out, n, GRAIN, |first, out| {
            let x = &x[first * n..first * n + out.len()];
            pool.isa().run(LayerRows { x, gamma, beta, epsilon, n, out });
        });
        return;
    }
    for_columns(pool, out, (outer, n, inner), |start, out| {
        pool.isa().run(LayerColumns { x: &x[start..], gamma, beta, epsilon, n, pitch: inner, out });
    });
}

struct LayerRows<'a> {
    x: &'a [f32],
    gamma: Option<&'a [f32]>,
    beta: Option<&'a [f32]>,
    epsilon: f32,
    n: usize,
    out: &'a mut [f32],
}

impl Kernel for LayerRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, out) in self.x.chunks_exact(self.n).zip(self.out.chunks_exact_mut(self.n)) {
            let (mean, scale) = moments(s, x, self.epsilon);
            let (mean, scale) = (s.splat(mean), s.splat(scale));
            for (v, (x, out)) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)).enumerate() {
                let part = v * S::LANES..v * S::LANES + x.len();
                let mut y = s.mul(s.sub(s.load_part(x), mean), scale);
                if let Some(gamma) = self.gamma {
                    y = s.mul(y, s.load_part(&gamma[part.clone()]));
                }
                if let Some(beta) = self.beta {
                    y = s.add(y, s.load_part(&beta[part]));
                }
                s.store_part(out, y);
            }
        }
    }
}

struct LayerColumns<'a> {
    x: &'a [f32],
    gamma: Option<&'a [f32]>,
    beta: Option<&'a [f32]>,
    epsilon: f32,
    n: usize,
    pitch: usize,
    out: ColumnBlock<'a>,
}

impl Kernel for LayerColumns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, gamma, beta, epsilon, n, pitch, mut out } = self;
        let columns = out.columns;
        let (mut mean, mut scale) = ([0f32; BLOCK], [0f32; BLOCK]);
        let (mean, scale) = (&mut mean[..columns], &mut scale[..columns]);
        let starts = (0..n).map(|i| i * pitch);
        fold_columns(s, Sum, x, starts.clone(), None, mean);
        mean.iter_mut().for_each(|m| *m /= n as f32);
        fold_columns(s, Deviations, x, starts, Some(mean), scale);
        scale.iter_mut().for_each(|v| *v = 1.0 / (*v / n as f32 + epsilon).sqrt());
        for i in 0..n {
            let x = &x[i * pitch..i * pitch + columns];
            let (gamma, beta) = (s.splat(gamma.map_or(1.0, |g| g[i])), s.splat(beta.map_or(0.0, |b| b[i])));
            write_row(s, x, mean, scale, (gamma, beta), out.row(i));
        }
    }
}

#[inline(always)]
fn write_row<S: Simd>(
    s: S,
    x: &[f32],
    mean: &[f32],
    scale: &[f32],
    (gamma, beta): (S::F, S::F),
    row: &mut [f32],
) {
    for (v, out) in row.chunks_mut(S::LANES).enumerate() {
        let part = v * S::LANES..v * S::LANES + out.len();
        let centred = s.sub(s.load_part(&x[part.clone()]), s.load_part(&mean[part.clone()]));
        s.store_part(out, s.fma(s.mul(centred, s.load_part(&scale[part])), gamma, beta));
    }
}

/// Rows of `n` elements, each divided by `sqrt(sum of squares + epsilon)`: MIL's `l2_norm` with `n` the product of
/// the last three extents.
///
/// # Panics
/// When the lengths do not fit one another.
pub fn l2_norm(x: &[f32], n: usize, epsilon: f32, out: &mut [f32], pool: &Pool) {
    assert_eq!(x.len() % n.max(1), 0, "elements of an L2 normalisation");
    assert_eq!(out.len(), x.len(), "elements of an L2 normalisation's result");
    pool.rows_mut(out, n, GRAIN, |first, out| {
        for (i, out) in out.chunks_exact_mut(n).enumerate() {
            pool.isa().run(L2 { x: &x[(first + i) * n..][..n], epsilon, out });
        }
    });
}

struct L2<'a> {
    x: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for L2<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scale = 1.0 / (fold_run(s, Squares, self.x, 0.0) + self.epsilon).sqrt();
        affine(s, self.x, s.splat(scale), s.splat(0.0), self.out);
    }
}

/// The parameters of [`local_response_norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponse {
    /// Channels in a window, the channel itself in its middle: `size / 2` before, the rest behind it.
    pub size: usize,
    /// Weight of the mean of squares.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Added to the mean.
    pub k: f32,
}

/// `out = x / (k + alpha / size * sum of squares of neighbouring channels)^beta` for `x [batch, channels, inner]`.
///
/// # Panics
/// When the lengths do not fit one another.
pub fn local_response_norm(
    x: &[f32],
    p: LocalResponse,
    (channels, inner): (usize, usize),
    out: &mut [f32],
    pool: &Pool,
) {
    assert_eq!(x.len() % (channels * inner).max(1), 0, "elements of a local response normalisation");
    assert_eq!(out.len(), x.len(), "elements of a local response normalisation's result");
    let (before, size) = (p.size / 2, p.size.max(1));
    pool.rows_mut(out, inner, GRAIN / size.min(GRAIN), |first, out| {
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let (row, c) = (first + i, (first + i) % channels);
            let image = row - c;
            let window = image + c.saturating_sub(before)..image + channels.min(c + size - before);
            out.fill(0.0);
            for neighbour in window {
                let x = &x[neighbour * inner..][..inner];
                out.iter_mut().zip(x).for_each(|(o, x)| *o += x * x);
            }
            let x = &x[row * inner..][..inner];
            let finish = |sum: f32| (p.k + p.alpha / size as f32 * sum).powf(p.beta);
            out.iter_mut().zip(x).for_each(|(o, x)| *o = x / finish(*o));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    fn moments_f64(x: &[f64], epsilon: f64) -> (f64, f64) {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        (mean, 1.0 / (variance + epsilon).sqrt())
    }

    #[test]
    fn layer_norm_agrees_with_its_formula_along_any_axis() {
        let mut rng = Rng::new(1);
        for (outer, n, inner) in [(4, 384, 1), (3, 5, 1), (2, 33, 7), (1, 64, 200), (100, 17, 1)] {
            let (x, gamma, beta) = (rng.floats(outer * n * inner), rng.floats(n), rng.floats(n));
            let mut want = vec![0f32; x.len()];
            for (o, j) in (0..outer).flat_map(|o| (0..inner).map(move |j| (o, j))) {
                let at = |k: usize| (o * n + k) * inner + j;
                let column: Vec<f64> = (0..n).map(|k| f64::from(x[at(k)])).collect();
                let (mean, scale) = moments_f64(&column, 1e-5);
                for k in 0..n {
                    let y = (column[k] - mean) * scale;
                    want[at(k)] = (y * f64::from(gamma[k]) + f64::from(beta[k])) as f32;
                }
            }
            on_every_pool(|pool| {
                let mut out = vec![f32::NAN; x.len()];
                layer_norm(&x, Some(&gamma), Some(&beta), (outer, n, inner), 1e-5, &mut out, pool);
                assert_close(&out, &want, 1e-5, &format!("{outer} {n} {inner}"));
            });
        }
    }

    #[test]
    fn batch_instance_and_l2_norm_agree_with_their_formulas() {
        let mut rng = Rng::new(2);
        let (batch, channels, inner) = (2, 5, 77);
        let (x, gamma, beta) =
            (rng.floats(batch * channels * inner), rng.floats(channels), rng.floats(channels));
        let row = |r: usize| x[r * inner..(r + 1) * inner].iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let by_row = |f: &dyn Fn(usize, &[f64]) -> Vec<f64>| -> Vec<f32> {
            (0..batch * channels).flat_map(|r| f(r % channels, &row(r))).map(|y| y as f32).collect()
        };
        let (g, b) = (|c: usize| f64::from(gamma[c]), |c: usize| f64::from(beta[c]));
        let affine = by_row(&|c, x| x.iter().map(|x| x * g(c) + b(c)).collect());
        let instance = by_row(&|c, x| {
            let (mean, scale) = moments_f64(x, 1e-5);
            x.iter().map(|x| (x - mean) * scale * g(c) + b(c)).collect()
        });
        let l2 = by_row(&|_, x| {
            let norm = (x.iter().map(|x| x * x).sum::<f64>() + 1e-6).sqrt();
            x.iter().map(|x| x / norm).collect()
        });
        on_every_pool(|pool| {
            let mut out = vec![f32::NAN; x.len()];
            batch_norm(&x, &gamma, &beta, inner, &mut out, pool);
            assert_close(&out, &affine, 1e-6, "batch");
            instance_norm(&x, Some(&gamma), Some(&beta), (channels, inner), 1e-5, &mut out, pool);
            assert_close(&out, &instance, 1e-5, "instance");
            l2_norm(&x, inner, 1e-6, &mut out, pool);
            assert_close(&out, &l2, 1e-6, "l2");
        });
    }

    #[test]
    fn local_response_norm_agrees_with_its_formula() {
        let mut rng = Rng::new(3);
        let (batch, channels, inner) = (2, 7, 10);
        let x = rng.floats(batch * channels * inner);
        for size in [1, 3, 5, 9] {
            let p = LocalResponse { size, alpha: 0.5, beta: 0.75, k: 1.5 };
            let mut want = Vec::new();
            for i in 0..x.len() {
                let (image, c, j) = (i / inner / channels, i / inner % channels, i % inner);
                let near = (0..channels).filter(|&n| n.abs_diff(c) <= size / 2);
                let sum: f64 = near.map(|n| f64::from(x[(image * channels + n) * inner + j]).powi(2)).sum();
                want.push((f64::from(x[i]) / (1.5 + 0.5 / size as f64 * sum).powf(0.75)) as f32);
            }
            on_every_pool(|pool| {
                let mut out = vec![f32::NAN; x.len()];
                local_response_norm(&x, p, (channels, inner), &mut out, pool);
                assert_close(&out, &want, 1e-6, &format!("size {size}"));
            });
        }
    }
}
