//! Convolution as a product of addressed rows and packed weights.

use super::positions::Positions;
use super::tile::{self, Tile};
use super::{Finish, Residual};
use crate::kernels::conv::ConvGeometry;
use crate::kernels::simd::{Isa, Kernel, Simd};
use crate::kernels::window::Window;
use crate::kernels::{Misfit, fits};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// Multiply-adds that are worth waking a thread for.
const GRAIN: usize = 1 << 18;
/// Tiles whose addresses are looked up together, and that share a panel of weights.
const BLOCKS: usize = 8;
/// Channels up to which the taps of a row of the kernel are read as one run, from a padded copy of the input.
const FEW: usize = 4;
/// As many when the row has several taps, which spares most of the addresses.
const SOME: usize = 8;

/// A convolution over `x [batch, spatial, channels_in]`, ready to run.
pub struct LastConv {
    geometry: ConvGeometry,
    positions: Positions,
    /// Floats read from each address.
    depth: usize,
    /// The input is copied with its padding first.
    padded: Option<Padded>,
    /// Panels of weights, group by group, each `[taps * depth, vectors]`.
    panels: Vec<f32>,
    /// Whole panels of a group.
    bias: Vec<f32>,
    zero: Vec<f32>,
    finish: Finish,
    isa: Isa,
}

/// A copy of the input with its padding, channels last.
struct Padded {
    window: Window,
    extent: [usize; 3],
    /// The input has its channels first.
    channels_first: bool,
}

/// How the input lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// `[batch, spatial, channels]`
    ChannelsLast,
    /// `[batch, channels, spatial]`; only for convolutions that [`LastConv::copies`].
    ChannelsFirst,
}

impl LastConv {
    /// True when the input is copied in any case, and may then have its channels first.
    pub fn copies(geometry: &ConvGeometry) -> bool {
        let few = if geometry.window.kernel[2] > 1 { SOME } else { FEW };
        geometry.groups == 1 && geometry.channels_in <= few && geometry.window.dilation[2] == 1
    }

    /// Packs `weights` (`[channels_out, channels_in / groups, taps]`) and keeps `bias` (`[channels_out]`).
    ///
    /// # Errors
    /// [`Misfit`] when the geometry is impossible or `weights` or `bias` have another length.
    pub fn new(
        geometry: ConvGeometry,
        weights: &[f32],
        bias: Option<&[f32]>,
        finish: Finish,
        input: Input,
        pool: &Pool,
    ) -> Result<Self, Misfit> {
        geometry.check()?;
        let need = geometry.weights_len();
        fits!(weights.len() == need, "convolution has {} weights, {geometry:?} needs {need}", weights.len());
        let wrong = bias.filter(|b| b.len() != geometry.channels_out);
        fits!(wrong.is_none(), "bias does not have one entry per channel");
        let copies = Self::copies(&geometry);
        fits!(copies || input == Input::ChannelsLast, "input is not copied, but has its channels first");
        let group_out = geometry.channels_out / geometry.groups;
        // A whole vector for a few channels would be mostly empty.
        let isa = if group_out <= 8 { pool.isa().narrow() } else { pool.isa() };
        let (padded, positions, depth) = if copies {
            let (padded, window) = Padded::new(geometry.window, input);
            let depth = geometry.window.kernel[2] * geometry.channels_in;
            (Some(padded), Positions::new(&window, geometry.channels_in), depth)
        } else {
            let positions = Positions::new(&geometry.window, geometry.channels_in);
            (None, positions, geometry.channels_in / geometry.groups)
        };
        let zero = vec![0.0; depth];
        let mut conv = Self {
            geometry,
            positions,
            depth,
            padded,
            panels: Vec::new(),
            bias: Vec::new(),
            zero,
            finish,
            isa,
        };
        conv.pack(weights, pool);
        conv.pack_bias(bias);
        Ok(conv)
    }

    fn group_out(&self) -> usize {
        self.geometry.channels_out / self.geometry.groups
    }

    /// Channels of a group, filled up to whole vectors.
    fn padded_out(&self) -> usize {
        self.group_out().next_multiple_of(self.isa.tile().lanes)
    }

    fn rows_of_weights(&self) -> usize {
        self.positions.taps() * self.depth
    }

    fn pack_bias(&mut self, bias: Option<&[f32]>) {
        let (wide, own) = (self.padded_out(), self.group_out());
        self.bias = vec![0.0; wide * self.geometry.groups];
        for (to, from) in
            self.bias.chunks_exact_mut(wide).zip(bias.into_iter().flat_map(|b| b.chunks_exact(own)))
        {
            to[..own].copy_from_slice(from);
        }
    }

    fn pack(&mut self, weights: &[f32], pool: &Pool) {
        let (own, wide, rows) = (self.group_out(), self.padded_out(), self.rows_of_weights());
        let columns = self.isa.tile().columns;
        let (channels, taps) =
            (self.geometry.channels_in / self.geometry.groups, self.geometry.window.taps());
        // Row of the panel that each weight of a filter goes to.
        let run = if self.padded.is_some() { self.geometry.window.kernel[2] } else { 1 };
        let target = |c: usize, t: usize| t / run * self.depth + t % run * channels + c;
        let order: Vec<usize> = (0..channels).flat_map(|c| (0..taps).map(move |t| target(c, t))).collect();
        let mut panels = vec![0.0f32; wide * rows * self.geometry.groups];
        let starts: Vec<(usize, usize)> =
            (0..self.geometry.groups).flat_map(|g| (0..own).step_by(columns).map(move |j| (g, j))).collect();
        let out = Disjoint::new(&mut panels);
        let grain = (1usize << 16).div_ceil(rows * columns);
        pool.parallel_for(starts.len(), grain, |range| {
            for &(g, j) in &starts[range] {
                let width = columns.min(wide - j);
                let start = (g * wide + j) * rows;
                // SAFETY: panels do not overlap.
                let panel = unsafe { out.slice(start..start + rows * width) };
                for column in 0..columns.min(own - j) {
                    let filter = &weights[(g * own + j + column) * order.len()..][..order.len()];
                    for (&row, &w) in order.iter().zip(filter) {
                        panel[row * width + column] = w;
                    }
                }
            }
        });
        self.panels = panels;
    }

    /// Scratch elements that [`LastConv::run`] needs.
    pub fn scratch(&self) -> usize {
        self.padded.as_ref().map_or(0, |p| p.len(&self.geometry))
    }

    fn positions_out(&self) -> usize {
        self.geometry.batch * self.geometry.window.output_len()
    }

    /// Convolves `x` into `out [batch, spatial, channels_out]`; `other` is added where [`Finish::residual`] says so.
    ///
    /// # Panics
    /// When a slice does not have the length of the geometry.
    pub fn run(&self, x: &[f32], other: Option<&[f32]>, out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        assert_eq!(x.len(), self.geometry.input_len(), "elements of the input");
        assert_eq!(out.len(), self.geometry.output_len(), "elements of the output");
        assert!(scratch.len() >= self.scratch(), "scratch of a convolution");
        let adds = self.finish.residual != Residual::None;
        assert!(!adds || other.is_some_and(|o| o.len() == out.len()), "elements of the tensor that is added");
        let x = match &self.padded {
            Some(padded) => {
                let copy = &mut scratch[..padded.len(&self.geometry)];
                padded.fill(&self.geometry, x, copy, pool);
                &*copy
            }
            None => x,
        };
        let (rows, columns) = self.parts(pool);
        let panels = self.padded_out().div_ceil(self.isa.tile().columns);
        let (positions, tile) = (self.positions_out(), self.tile_rows());
        let out = Disjoint::new(out);
        pool.run(rows * columns, |i| {
            let part = |n: usize, parts: usize, i: usize| n * i / parts..n * (i + 1) / parts;
            // Whole tiles, but for the last part.
            let blocks = part(positions.div_ceil(tile), rows, i % rows);
            let task = Task {
                conv: self,
                x,
                other: other.map_or(std::ptr::null(), <[f32]>::as_ptr),
                out: &out,
                positions: blocks.start * tile..positions.min(blocks.end * tile),
                panels: part(panels, columns, i / rows),
            };
            self.isa.run(task);
        });
    }

    /// Rows of a tile.
    fn tile_rows(&self) -> usize {
        self.isa.run(RowsOf(self.padded_out()))
    }

    /// Into how many parts rows and panels are cut.
    fn parts(&self, pool: &Pool) -> (usize, usize) {
        let blocks = self.positions_out().div_ceil(self.tile_rows()).max(1);
        let panels = self.padded_out().div_ceil(self.isa.tile().columns).max(1);
        if pool.threads() == 1 {
            return (1, 1);
        }
        let work = self.positions_out() * self.geometry.channels_out * self.rows_of_weights();
        let tasks = (work / GRAIN).clamp(1, pool.threads() * 4);
        let rows = tasks.min(blocks.div_ceil(2));
        (rows, (tasks / rows).clamp(1, panels))
    }
}

/// Rows of tiles of that width.
struct RowsOf(usize);

impl Kernel for RowsOf {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        tile::rows::<S>(self.0)
    }
}

/// Output positions and panels that one thread computes.
struct Task<'a> {
    conv: &'a LastConv,
    x: &'a [f32],
    other: *const f32,
    out: &'a Disjoint<'a, f32>,
    positions: Range<usize>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { conv, x, other, out, positions, panels } = self;
        let (own, wide, rows) = (conv.group_out(), conv.padded_out(), conv.rows_of_weights());
        let (columns, most) = (S::NV * S::LANES, tile::rows::<S>(wide));
        let pitch = conv.geometry.channels_out;
        let bounds = conv.finish.bounds();
        let mut table = Vec::with_capacity(conv.positions.taps() * most * BLOCKS);
        for g in 0..conv.geometry.groups {
            let x = x.as_ptr().wrapping_add(g * conv.depth);
            for start in positions.clone().step_by(most * BLOCKS) {
                let chunk = start..positions.end.min(start + most * BLOCKS);
                table.clear();
                for (row, count) in tiles(&chunk, most) {
                    conv.positions.table(x, conv.zero.as_ptr(), row, count, &mut table);
                }
                for j in panels.clone().map(|p| p * columns) {
                    let width = columns.min(wide - j);
                    let valid = width.min(own - j);
                    let weights = &conv.panels[(g * wide + j) * rows..][..width * rows];
                    let bias = &conv.bias[g * wide + j..][..width];
                    let mut addresses = &table[..];
                    for (row, count) in tiles(&chunk, most) {
                        let (own_table, rest) = addresses.split_at(conv.positions.taps() * count);
                        addresses = rest;
                        let at = row * pitch + g * own + j;
                        assert!(at + (count - 1) * pitch + valid <= out.len());
                        let tile = Tile {
                            table: own_table,
                            depth: conv.depth,
                            weights,
                            bias,
                            finish: &conv.finish,
                            bounds,
                            out: out.as_ptr().wrapping_add(at),
                            other: other.wrapping_add(at),
                            pitch,
                            valid,
                            isa: conv.isa,
                        };
                        // SAFETY: the table holds addresses of positions of the input or of the zeros, both `depth`
                        // floats long; rows and channels of tasks do not overlap and lie inside of `out`, and of
                        // `other`, which is as long.
                        unsafe { tile::multiply(s, count, tile) };
                    }
                }
            }
        }
    }
}

/// The tiles of some positions: first position, and how many.
fn tiles(positions: &Range<usize>, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let (mut at, end) = (positions.start, positions.end);
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let count = tile::size(end - at, most);
            at += count;
            (at - count, count)
        })
    })
}

impl Padded {
    /// The copy, and the window over it: no padding, and a kernel one position wide that reads whole rows of taps.
    fn new(window: Window, input: Input) -> (Self, Window) {
        let extent = std::array::from_fn(|d| {
            (window.output[d] - 1) * window.stride[d] + (window.kernel[d] - 1) * window.dilation[d] + 1
        });
        let kernel = [window.kernel[0], window.kernel[1], 1];
        let over = Window { input: extent, before: [0; 3], kernel, ..window };
        (Self { window, extent, channels_first: input == Input::ChannelsFirst }, over)
    }

    fn len(&self, g: &ConvGeometry) -> usize {
        // A row of taps may be read past the last position by no more than what a window is wide.
        g.batch * g.channels_in * self.extent.iter().product::<usize>()
    }

    fn fill(&self, g: &ConvGeometry, x: &[f32], out: &mut [f32], pool: &Pool) {
        let (channels, [iz, iy, ix]) = (g.channels_in, self.window.input);
        let [ez, ey, ex] = self.extent;
        let row = ex * channels;
        let before = self.window.before;
        pool.rows_mut(out, row, 1 << 14, |first, rows| {
            for (i, out) in rows.chunks_exact_mut(row).enumerate() {
                let (image, z, y) = ((first + i) / (ey * ez), (first + i) / ey % ez, (first + i) % ey);
                let inside = |at: usize, d: usize, n: usize| at.checked_sub(before[d]).filter(|&i| i < n);
                let Some((z, y)) = inside(z, 0, iz).zip(inside(y, 1, iy)) else {
                    out.fill(0.0);
                    continue;
                };
                let left = before[2].min(ex);
                let count = ix.min(ex - left);
                let (out, right) = out.split_at_mut((left + count) * channels);
                right.fill(0.0);
                let (out, body) = out.split_at_mut(left * channels);
                out.fill(0.0);
                if self.channels_first {
                    for c in 0..channels {
                        let source = &x[(((image * channels + c) * iz + z) * iy + y) * ix..][..count];
                        body[c..].iter_mut().step_by(channels).zip(source).for_each(|(o, &v)| *o = v);
                    }
                } else {
                    let source = &x[((image * iz + z) * iy + y) * ix * channels..];
                    body.copy_from_slice(&source[..body.len()]);
                }
            }
        });
    }
}
