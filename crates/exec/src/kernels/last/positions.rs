//! Where the taps of output positions lie in a tensor with channels last.

use crate::kernels::window::Window;

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
    /// Distance of every tap from the first one.
    offsets: Vec<usize>,
    /// Output position `r` reads input position `r` and nothing else.
    plain: bool,
}

impl Positions {
    /// The windows of `window` over positions of `pitch` floats.
    pub(super) fn new(window: &Window, pitch: usize) -> Self {
        let Window { input, output, kernel, stride, dilation, before } = *window;
        let mut offsets = Vec::with_capacity(window.taps());
        for t in 0..window.taps() {
            let k = [t / (kernel[1] * kernel[2]), t / kernel[2] % kernel[1], t % kernel[2]];
            let at = |d: usize| k[d] * dilation[d];
            offsets.push(((at(0) * input[1] + at(1)) * input[2] + at(2)) * pitch);
        }
        let plain = kernel == [1; 3] && stride == [1; 3] && before == [0; 3] && input == output;
        Self { input, output, kernel, stride, dilation, before, pitch, offsets, plain }
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
        for i in 0..count {
            self.position(x, image, at, i, count, table);
            at[2] += 1;
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

    #[inline]
    fn position(
        &self,
        x: *const f32,
        image: usize,
        at: [usize; 3],
        i: usize,
        count: usize,
        table: &mut [*const f32],
    ) {
        let first: [isize; 3] =
            std::array::from_fn(|d| (at[d] * self.stride[d]) as isize - self.before[d] as isize);
        let inside = |d: usize| {
            let last = first[d] + ((self.kernel[d] - 1) * self.dilation[d]) as isize;
            first[d] >= 0 && last < self.input[d] as isize
        };
        let [_, iy, ix] = self.input.map(|n| n as isize);
        let plane = (image * self.input[0]) as isize;
        let base = (((plane + first[0]) * iy + first[1]) * ix + first[2]) * self.pitch as isize;
        let base = x.wrapping_offset(base);
        let cells = table[i..].iter_mut().step_by(count).zip(&self.offsets);
        if inside(0) && inside(1) && inside(2) {
            cells.for_each(|(cell, &offset)| *cell = base.wrapping_add(offset));
            return;
        }
        for (t, (cell, &offset)) in cells.enumerate() {
            let k = [
                t / (self.kernel[1] * self.kernel[2]),
                t / self.kernel[2] % self.kernel[1],
                t % self.kernel[2],
            ];
            let valid = |d: usize| {
                let i = first[d] + (k[d] * self.dilation[d]) as isize;
                i >= 0 && i < self.input[d] as isize
            };
            if valid(0) && valid(1) && valid(2) {
                *cell = base.wrapping_add(offset);
            }
        }
    }
}
