//! Sliding windows over one to three spatial dimensions, and the padded layout that kernels read them from.
//!
//! A channel is copied once into *phase planes*: plane `(pz, py, px)` holds the padded elements whose coordinates
//! are `p` modulo the stride. In that layout tap `t` of output position `q` is element `offset[t] + q`, whatever the
//! stride, dilation and padding are, so that inner loops neither stride nor test bounds.

use super::{Misfit, fits};

/// Where the windows of a convolution or pooling lie; dimensions are depth, height, width, missing ones are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Input extents.
    pub input: [usize; 3],
    /// Output extents.
    pub output: [usize; 3],
    /// Kernel extents.
    pub kernel: [usize; 3],
    /// Distance between windows.
    pub stride: [usize; 3],
    /// Distance between the taps of a window.
    pub dilation: [usize; 3],
    /// Padding before the first element.
    pub before: [usize; 3],
}

fn three(dims: &[usize], missing: usize) -> [usize; 3] {
    let mut out = [missing; 3];
    out[3 - dims.len()..].copy_from_slice(dims);
    out
}

impl Window {
    /// The windows of `output` positions per dimension; whatever lies outside of the input is padding, so the
    /// padding after the last element need not be given. All slices have the same length of 1 to 3.
    ///
    /// # Errors
    /// [`Misfit`] when lengths differ, an extent, stride or dilation is 0, or a buffer would not fit into memory.
    pub fn new(
        input: &[usize],
        kernel: &[usize],
        stride: &[usize],
        dilation: &[usize],
        before: &[usize],
        output: &[usize],
    ) -> Result<Self, Misfit> {
        let rank = input.len();
        fits!((1..=3).contains(&rank), "window over {rank} spatial dimensions; 1 to 3 are possible");
        for (what, list) in [
            ("kernel", kernel),
            ("stride", stride),
            ("dilation", dilation),
            ("before", before),
            ("output", output),
        ] {
            fits!(list.len() == rank, "{what} {list:?} has {} entries, the input {rank}", list.len());
            fits!(what == "before" || !list.contains(&0), "{what} {list:?} contains 0");
        }
        let window = Self {
            input: three(input, 1),
            output: three(output, 1),
            kernel: three(kernel, 1),
            stride: three(stride, 1),
            dilation: three(dilation, 1),
            before: three(before, 0),
        };
        let padded = |d: usize| {
            let last = window.output[d].checked_mul(window.stride[d])?;
            let span = window.kernel[d].checked_mul(window.dilation[d])?;
            last.checked_add(span)?.checked_add(window.before[d])?.checked_add(window.input[d])
        };
        let product = (0..3).try_fold(1usize, |n, d| n.checked_mul(padded(d)?));
        fits!(product.is_some_and(|n| n <= isize::MAX as usize / 64), "window {window:?} is too large");
        Ok(window)
    }

    /// As [`Window::new`] with the padding of both sides, and the output extents that follow, rounded down.
    ///
    /// # Errors
    /// As [`Window::new`], and when a kernel is larger than the padded input.
    pub fn padded(
        input: &[usize],
        kernel: &[usize],
        stride: &[usize],
        dilation: &[usize],
        pads: &[(usize, usize)],
    ) -> Result<Self, Misfit> {
        let rank = input.len();
        fits!(
            [kernel.len(), stride.len(), dilation.len(), pads.len()] == [rank; 4],
            "kernel, stride, dilation and pads need {rank} entries each"
        );
        let mut output = Vec::new();
        for d in 0..rank {
            fits!(kernel[d] > 0 && stride[d] > 0, "kernel {kernel:?} or stride {stride:?} contains 0");
            let span = (kernel[d] - 1).saturating_mul(dilation[d]).saturating_add(1);
            let room = input[d].saturating_add(pads[d].0).saturating_add(pads[d].1);
            fits!(room >= span, "kernel spans {span} of dimension {d}, the padded input has {room}");
            output.push((room - span) / stride[d] + 1);
        }
        let before: Vec<usize> = pads.iter().map(|p| p.0).collect();
        Self::new(input, kernel, stride, dilation, &before, &output)
    }

    /// Number of input positions.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of output positions.
    pub fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The input coordinate in dimension `d` that tap `k` of output `o` reads; `None` in the padding.
    pub fn source(&self, d: usize, o: usize, k: usize) -> Option<usize> {
        let i = (o * self.stride[d] + k * self.dilation[d]).checked_sub(self.before[d])?;
        (i < self.input[d]).then_some(i)
    }
}

/// The phase planes of one channel.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    window: Window,
    /// Extents of a plane.
    extent: [usize; 3],
    /// The phases some tap reads.
    phases: Vec<[usize; 3]>,
    /// Offset of every tap, row-major over the kernel.
    pub(crate) taps: Vec<usize>,
    /// The largest offset of a tap.
    pub(crate) furthest: usize,
    /// Elements of all planes of a channel.
    pub(crate) len: usize,
    /// True when the input itself has this layout, so that nothing need be copied.
    pub(crate) direct: bool,
}

impl Planes {
    pub(crate) fn new(window: Window) -> Self {
        let Window { input, output, kernel, stride, dilation, before } = window;
        let shift = |d: usize, k: usize| (k * dilation[d] % stride[d], k * dilation[d] / stride[d]);
        let need: [usize; 3] = std::array::from_fn(|d| output[d] + shift(d, kernel[d] - 1).1);
        let direct = stride == [1; 3] && before == [0; 3] && (0..3).all(|d| need[d] <= input[d]);
        let extent = if direct { input } else { need };
        let size: usize = extent.iter().product();
        let (mut phases, mut taps) = (Vec::new(), Vec::new());
        for t in 0..kernel.iter().product() {
            let k = [t / (kernel[1] * kernel[2]), t / kernel[2] % kernel[1], t % kernel[2]];
            let [z, y, x] = [shift(0, k[0]), shift(1, k[1]), shift(2, k[2])];
            let phase = [z.0, y.0, x.0];
            let plane = phases.iter().position(|&p| p == phase).unwrap_or(phases.len());
            if plane == phases.len() {
                phases.push(phase);
            }
            taps.push(plane * size + (z.1 * extent[1] + y.1) * extent[2] + x.1);
        }
        let len = phases.len() * size;
        let furthest = taps.iter().copied().max().unwrap_or(0);
        Self { window, extent, phases, taps, furthest, len, direct }
    }

    /// Position of output `(z, y, 0)`; outputs of a row follow one another.
    pub(crate) fn row(&self, z: usize, y: usize) -> usize {
        (z * self.extent[1] + y) * self.extent[2]
    }

    /// True when the outputs in row-major order lie without gaps.
    pub(crate) fn dense(&self) -> bool {
        let [oz, oy, ox] = self.window.output;
        (self.extent[2] == ox || oy * oz == 1) && (self.extent[1] == oy || oz == 1)
    }

    /// Copies the channel `input` into its planes `out`, with `pad` around it.
    #[inline(always)]
    pub(crate) fn fill(&self, input: &[f32], pad: f32, out: &mut [f32]) {
        let [_, ih, iw] = self.window.input;
        let mut rows = out[..self.len].chunks_exact_mut(self.extent[2]);
        for phase in &self.phases {
            for z in 0..self.extent[0] {
                let iz = self.coordinate(0, phase, z);
                for y in 0..self.extent[1] {
                    let Some(row) = rows.next() else { return };
                    match iz.zip(self.coordinate(1, phase, y)) {
                        Some((iz, iy)) => {
                            self.fill_row(&input[(iz * ih + iy) * iw..][..iw], pad, phase[2], row)
                        }
                        None => row.fill(pad),
                    }
                }
            }
        }
    }

    fn coordinate(&self, d: usize, phase: &[usize; 3], at: usize) -> Option<usize> {
        let i = (at * self.window.stride[d] + phase[d]).checked_sub(self.window.before[d])?;
        (i < self.window.input[d]).then_some(i)
    }

    #[inline(always)]
    fn fill_row(&self, input: &[f32], pad: f32, phase: usize, row: &mut [f32]) {
        let (stride, before) = (self.window.stride[2], self.window.before[2]);
        let first = before.saturating_sub(phase).div_ceil(stride).min(row.len());
        let (left, rest) = row.split_at_mut(first);
        left.fill(pad);
        let start = (first * stride + phase).saturating_sub(before);
        let input = input.get(start..).unwrap_or(&[]);
        let (body, right) = rest.split_at_mut(input.len().div_ceil(stride).min(rest.len()));
        match stride {
            1 => body.copy_from_slice(&input[..body.len()]),
            // The last element may have no partner; exact pairs are what compiles to vectors.
            2 => {
                let pairs = input.chunks_exact(2);
                if let (Some(o), [last]) = (body.get_mut(pairs.len()), pairs.remainder()) {
                    *o = *last;
                }
                body.iter_mut().zip(pairs).for_each(|(o, i)| *o = i[0]);
            }
            _ => body.iter_mut().zip(input.iter().step_by(stride)).for_each(|(o, &i)| *o = i),
        }
        right.fill(pad);
    }
}
