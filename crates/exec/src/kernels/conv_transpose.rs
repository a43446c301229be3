//! Transposed convolutions over one to three spatial dimensions: a matrix product, then overlapping sums.

use super::activation::{Activation, Bias, Epilogue};
use super::conv::ConvGeometry;
use super::gemm::{Columns, Lhs, Mat, PackedLhs, Product, seat_scratch};
use super::simd::Isa;
use super::{Misfit, fits};
use crate::pool::{Disjoint, Pool};

/// A transposed convolution ready to run.
///
/// It is described by the convolution it transposes: `geometry.channels_out` and `geometry.window.output` are what
/// goes *in* here, `geometry.channels_in` and `geometry.window.input` what comes out, so that padding of the output
/// is part of the extents.
pub struct ConvTransposePlan {
    geometry: ConvGeometry,
    packed: Vec<PackedLhs>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    half: bool,
    isa: Isa,
}

impl ConvTransposePlan {
    /// Packs `weights`, `[channels of x, channels of the result / groups, taps]`, which is the order of MIL's
    /// `conv_transpose`, and keeps `bias`, one per channel of the result.
    ///
    /// # Errors
    /// [`Misfit`] when the geometry is impossible or `weights` or `bias` have another length.
    pub fn new(
        geometry: ConvGeometry,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        isa: Isa,
    ) -> Result<Self, Misfit> {
        geometry.check()?;
        let need = geometry.weights_len();
        fits!(weights.len() == need, "transposed convolution has {} weights, needs {need}", weights.len());
        if let Some(bias) = bias {
            fits!(bias.len() == geometry.channels_in, "bias has {} entries, not one per channel", bias.len());
        }
        let (k, m) = (geometry.channels_out / geometry.groups, need / geometry.channels_out.max(1));
        let group = |g| PackedLhs::new(Mat::stored(&weights[g * k * m..(g + 1) * k * m], m, k, true), isa);
        let packed = (0..geometry.groups).map(group).collect();
        Ok(Self { geometry, packed, bias: bias.map(<[f32]>::to_vec), activation, half: false, isa })
    }

    /// Rounds results to f16 (see [`Epilogue::half`]).
    pub fn rounded_to_half(mut self, half: bool) -> Self {
        self.half = half;
        self
    }

    /// Rows, depth and columns of the product of a group.
    fn product(&self) -> (usize, usize, usize) {
        let g = &self.geometry;
        let m = g.channels_in / g.groups * g.window.taps();
        (m, g.channels_out / g.groups, g.window.output_len())
    }

    /// Scratch elements that [`ConvTransposePlan::run`] needs.
    pub fn scratch(&self, pool: &Pool) -> usize {
        let (m, k, n) = self.product();
        m * n + seat_scratch(m, k, n) * pool.threads()
    }

    /// Convolves `x` (`[batch, geometry.channels_out, window.output]`) into `out`
    /// (`[batch, geometry.channels_in, window.input]`).
    ///
    /// # Panics
    /// When `x`, `out` or `scratch` do not have the lengths of the geometry.
    pub fn run(&self, x: &[f32], out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        let g = &self.geometry;
        assert_eq!(x.len(), g.output_len(), "elements of the input");
        assert_eq!(out.len(), g.input_len(), "elements of the output");
        assert!(scratch.len() >= self.scratch(pool), "scratch of a transposed convolution");
        let (m, k, n) = self.product();
        let (columns, scratch) = scratch.split_at_mut(m * n);
        let channels = g.channels_in / g.groups;
        let size = channels * g.window.input_len();
        for (i, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
            let rhs = Mat::new(&x[i * k * n..(i + 1) * k * n], k, n);
            let (lhs, epilogue) = (Lhs::Packed(&self.packed[i % g.groups]), Epilogue::default());
            let target = Disjoint::new(columns);
            Product { m, k, n, lhs, rhs: Columns::Pack(&rhs), epilogue, out: &target, offset: 0 }
                .run(self.isa, scratch, pool);
            pool.chunks_mut(out, g.window.input_len(), |c, out| {
                self.fold(&columns[c * g.window.taps() * n..(c + 1) * g.window.taps() * n], out);
                let bias = self.bias.as_ref().map(|b| &b[i % g.groups * channels + c..]);
                let bias = bias.map_or(Bias::None, Bias::Row);
                let epilogue = Epilogue { bias, activation: self.activation, half: self.half };
                epilogue.apply(self.isa, out, out.len());
            });
        }
    }

    /// Sums `columns`, `[taps, window.output]`, into a channel of the result.
    fn fold(&self, columns: &[f32], out: &mut [f32]) {
        let w = &self.geometry.window;
        let [_, height, width] = w.output;
        out.fill(0.0);
        for (t, tap) in columns.chunks_exact(w.output_len()).enumerate() {
            let k = [t / (w.kernel[1] * w.kernel[2]), t / w.kernel[2] % w.kernel[1], t % w.kernel[2]];
            for (i, row) in tap.chunks_exact(width).enumerate() {
                let target = w.source(0, i / height, k[0]).zip(w.source(1, i % height, k[1]));
                if let Some((z, y)) = target {
                    let target = &mut out[(z * w.input[1] + y) * w.input[2]..][..w.input[2]];
                    add_row(row, target, w.stride[2], k[2] * w.dilation[2], w.before[2]);
                }
            }
        }
    }
}

/// `out[i * stride + shift - before] += row[i]` wherever that exists.
fn add_row(row: &[f32], out: &mut [f32], stride: usize, shift: usize, before: usize) {
    let first = before.saturating_sub(shift).div_ceil(stride);
    let (Some(row), start) = (row.get(first..), (first * stride + shift).saturating_sub(before)) else {
        return;
    };
    let Some(out) = out.get_mut(start..) else { return };
    match stride {
        1 => out.iter_mut().zip(row).for_each(|(o, x)| *o += x),
        _ => out.iter_mut().step_by(stride).zip(row).for_each(|(o, x)| *o += x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Window;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    /// Every input element adds its weighted kernel to the output.
    fn naive(g: &ConvGeometry, x: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
        let w = &g.window;
        let (n, channels, per) = (w.output_len(), g.channels_in / g.groups, g.channels_out / g.groups);
        let mut out: Vec<f32> = (0..g.input_len()).map(|i| bias[i / w.input_len() % g.channels_in]).collect();
        for (i, x) in x.iter().enumerate() {
            let (b, c, q) = (i / n / g.channels_out, i / n % g.channels_out, i % n);
            let at = [q / (w.output[1] * w.output[2]), q / w.output[2] % w.output[1], q % w.output[2]];
            for o in 0..channels {
                for t in 0..w.taps() {
                    let k = [t / (w.kernel[1] * w.kernel[2]), t / w.kernel[2] % w.kernel[1], t % w.kernel[2]];
                    let target: Option<Vec<usize>> = (0..3).map(|d| w.source(d, at[d], k[d])).collect();
                    if let Some(p) = target {
                        let plane = b * g.channels_in + c / per * channels + o;
                        let cell = plane * w.input_len() + (p[0] * w.input[1] + p[1]) * w.input[2] + p[2];
                        out[cell] += x * weights[(c * channels + o) * w.taps() + t];
                    }
                }
            }
        }
        out
    }

    #[test]
    fn transposed_convolutions_agree_with_the_definition() {
        let mut rng = Rng::new(8);
        for i in 0..40 {
            let rank = i % 3 + 1;
            let list = |rng: &mut Rng, low, high| (0..rank).map(|_| rng.int(low, high)).collect::<Vec<_>>();
            let input = list(&mut rng, 1, 12);
            let (kernel, stride, dilation) =
                (list(&mut rng, 1, 4), list(&mut rng, 1, 3), list(&mut rng, 1, 2));
            let pads: Vec<_> = (0..rank).map(|_| (rng.int(0, 2), rng.int(0, 2))).collect();
            let Ok(window) = Window::padded(&input, &kernel, &stride, &dilation, &pads) else { continue };
            let groups = rng.int(1, 3);
            let (channels_in, channels_out) = (groups * rng.int(1, 4), groups * rng.int(1, 5));
            let g = ConvGeometry { batch: rng.int(1, 2), channels_in, channels_out, groups, window };
            let (x, weights, bias) =
                (rng.floats(g.output_len()), rng.floats(g.weights_len()), rng.floats(channels_in));
            let want = naive(&g, &x, &weights, &bias);
            on_every_pool(|pool| {
                let plan =
                    ConvTransposePlan::new(g, &weights, Some(&bias), Activation::None, pool.isa()).unwrap();
                let mut out = vec![f32::NAN; g.input_len()];
                let mut scratch = vec![f32::NAN; plan.scratch(pool)];
                plan.run(&x, &mut out, &mut scratch, pool);
                assert_close(&out, &want, 1e-5, &format!("{} {g:?}", pool.isa().name()));
            });
        }
    }
}
