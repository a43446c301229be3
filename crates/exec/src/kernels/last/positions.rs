//! Where the taps of output positions lie in a tensor with channels last.

use crate::kernels::window::Window;
use std::ops::Range;

/// The reading side of a window: extents, and floats between positions.
#[derive(Clone, Debug)]
pub(super) struct Positions {
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    before: [usize; 3],
    /// Floats of a position.
    pitch: usize,
    /// Distance of every tap from the first one, in floats and along each dim.
    offsets: Vec<usize>,
    taps: Vec<[usize; 3]>,
    /// Output positions along the last dim whose taps all lie inside of it.
    whole: Range<usize>,
    /// Output position `r` reads input position `r` and nothing else.
    plain: bool,
}

impl Positions {
    /// The windows of `window` over positions of `pitch` floats.
    pub(super) fn new(window: &Window, pitch: usize) -> Self {
        let Window { input, output, kernel, stride, dilation, before } = *window;
        let place = |t: usize| {
            let k = [t / (kernel[1] * kernel[2]), t / kernel[2] % kernel[1], t % kernel[2]];
            std::array::from_fn(|d| k[d] * dilation[d])
        };
        let taps: Vec<[usize; 3]> = (0..window.taps()).map(place).collect();
        let offsets = taps.iter().map(|at| ((at[0] * input[1] + at[1]) * input[2] + at[2]) * pitch).collect();
        // The last tap of position `i` is at `i * stride + reach - before`.
        let reach = (kernel[2] - 1) * dilation[2];
        let first = before[2].div_ceil(stride[2]).min(output[2]);
        let end = (input[2] + before[2]).checked_sub(reach + 1).map_or(0, |room| room / stride[2] + 1);
        let whole = first..end.clamp(first, output[2]);
        let plain = kernel == [1; 3] && stride == [1; 3] && before == [0; 3] && input == output;
        Self { input, output, kernel, stride, dilation, before, pitch, offsets, taps, whole, plain }
    }

    /// Number of taps.
    pub(super) fn taps(&self) -> usize {
        self.offsets.len()
    }

    /// Addresses that the taps of `count` output positions from `first` on read, positions counted over all images of
    /// `x`: `table[tap * count + i]`; `zero` for taps in the padding.
    pub(super) fn table(
        &self,
        x: *const f32,
        zero: *const f32,
        first: usize,
        count: usize,
        table: &mut Vec<*const f32>,
    ) {
        let start = table.len();
        if self.plain {
            table.extend((first..first + count).map(|r| x.wrapping_add(r * self.pitch)));
            return;
        }
        table.resize(start + self.taps() * count, zero);
        let table = &mut table[start..];
        let [oz, oy, ox] = self.output;
        let mut at = [first / (ox * oy) % oz, first / ox % oy, first % ox];
        let mut image = first / (ox * oy * oz);
        let mut i = 0;
        while i < count {
            let run = (ox - at[2]).min(count - i);
            self.row(x, image, at, i..i + run, count, table);
            i += run;
            at[2] += run;
            for d in [2, 1] {
                if at[d] == self.output[d] {
                    (at[d], at[d - 1]) = (0, at[d - 1] + 1);
                }
            }
            if at[0] == oz {
                (at[0], image) = (0, image + 1);
            }
        }
    }

    /// The addresses of the columns `run` of a table of `count`: positions of one row, from `at` on.
    fn row(
        &self,
        x: *const f32,
        image: usize,
        at: [usize; 3],
        run: Range<usize>,
        count: usize,
        table: &mut [*const f32],
    ) {
        let first: [isize; 3] =
            std::array::from_fn(|d| (at[d] * self.stride[d]) as isize - self.before[d] as isize);
        let inside = |d: usize| {
            let last = first[d] + ((self.kernel[d] - 1) * self.dilation[d]) as isize;
            first[d] >= 0 && last < self.input[d] as isize
        };
        let [iz, iy, ix] = self.input.map(|n| n as isize);
        let base = (((image as isize * iz + first[0]) * iy + first[1]) * ix + first[2]) * self.pitch as isize;
        let (base, step) = (x.wrapping_offset(base), self.stride[2] * self.pitch);
        let end = at[2] + run.len();
        let whole = if inside(0) && inside(1) { self.whole.clone() } else { end..end };
        let (from, to) = (whole.start.clamp(at[2], end), whole.end.clamp(at[2], end));
        if from < to {
            let skip = from - at[2];
            for (cells, &offset) in table.chunks_exact_mut(count).zip(&self.offsets) {
                let mut address = base.wrapping_add(skip * step + offset);
                for cell in &mut cells[run.start + skip..][..to - from] {
                    *cell = address;
                    address = address.wrapping_add(step);
                }
            }
        }
        for position in (at[2]..from).chain(to.max(from)..end) {
            let i = position - at[2];
            let first = [first[0], first[1], first[2] + (i * self.stride[2]) as isize];
            let cells = table[run.start + i..].iter_mut().step_by(count);
            self.edge(base.wrapping_add(i * step), first, cells);
        }
    }

    /// The addresses of the taps that lie inside, of a position whose first tap is at `first`.
    fn edge<'t>(&self, base: *const f32, first: [isize; 3], cells: impl Iterator<Item = &'t mut *const f32>) {
        for (cell, (tap, &offset)) in cells.zip(self.taps.iter().zip(&self.offsets)) {
            let valid = |d: usize| (0..self.input[d] as isize).contains(&(first[d] + tap[d] as isize));
            if valid(0) && valid(1) && valid(2) {
                *cell = base.wrapping_add(offset);
            }
        }
    }
}
