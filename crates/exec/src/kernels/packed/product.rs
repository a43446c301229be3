//! Products of few rows of activations and a packed matrix, from the packed bits.
//!
//! A step of a row is as many bytes as fill a vector of 32-bit lanes (or of codes of 8 bits and numbers of 16 and 32).
//! Narrow codes are taken from their lanes by shifts, so that code `t` of lane `l` is element `l * codes + t` of the
//! step; the activations are brought into the same order once per call, which spares the weights every shuffle.

use super::fixed::{self, Unit};
use super::{Code, PackedMatrix};
use crate::kernels::activation::Epilogue;
use crate::kernels::simd::{Isa, Kernel, Simd, Unpack};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// Rows of activations up to which products read the packed bits; more are worth unpacking into a matrix product.
pub const MAX_ROWS: usize = 8;
/// Elements of a weight that are worth waking a thread for.
const GRAIN: usize = 1 << 16;
/// Rows of activations that share a pass over the weights.
const TOGETHER: usize = 4;
/// Rows of a weight that are multiplied together by one row of activations.
pub(super) const STREAMS: usize = 4;
/// Bytes that are asked for ahead of those at hand, in every stream.
pub(super) const AHEAD: usize = 512;

/// How a row is cut into steps on an instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    /// Elements per step.
    step: usize,
    /// Elements per lane of codes; 1 when elements follow one another.
    per_lane: usize,
    /// Elements that share table and scale; a multiple of `step`, or all columns.
    segment: usize,
    /// Rows are first unpacked to numbers, since segments are shorter than steps.
    unpack: bool,
}

/// A product of `m` rows of activations, at most [`MAX_ROWS`], and a packed matrix.
#[derive(Clone, Copy, Debug)]
pub struct PackedProduct<'w> {
    weight: &'w PackedMatrix,
    m: usize,
    isa: Isa,
    order: Order,
    /// Instructions for whole numbers, where results are rounded to f16.
    unit: Option<Unit>,
    /// Activations are kept as f16, which they are: half as many bytes go through the nearest cache.
    halves: bool,
}

impl<'w> PackedProduct<'w> {
    /// A product on the instruction set of `pool`; with `half`, of activations that are f16 and for results that
    /// will be, one row of which may be multiplied in whole numbers that lose less than that.
    pub fn new(weight: &'w PackedMatrix, m: usize, half: bool, pool: &Pool) -> Self {
        let isa = pool.isa();
        let unit = if half && m == 1 { Unit::choose(weight, isa) } else { None };
        let order = order(weight, isa.tile().lanes);
        let halves = half && weight.code == Code::F16 && !order.unpack && isa.name() != "portable";
        Self { weight, m, isa, order, unit, halves }
    }

    /// Elements of an ordered row of activations.
    fn pitch(&self) -> usize {
        self.weight.columns.next_multiple_of(self.order.step)
    }

    fn segments(&self) -> usize {
        self.weight.columns / self.order.segment
    }

    /// Rows of activations with those that fill up the last pass.
    fn padded(&self) -> usize {
        if self.m == 1 { 1 } else { self.m.next_multiple_of(TOGETHER) }
    }

    /// Scratch elements that [`PackedProduct::run`] needs.
    pub fn scratch(&self) -> usize {
        let plain = self.padded() * (self.pitch() + self.segments());
        match self.unit {
            Some(unit) => plain.max(unit.scratch(self.weight.code, self.weight.columns)),
            None => plain,
        }
    }

    /// `out[m, rows] = epilogue(x[m, columns] * weight^T)`.
    ///
    /// # Panics
    /// When `x`, `out` or `scratch` are shorter than that.
    pub fn run(&self, x: &[f32], epilogue: Epilogue<'_>, out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        let (rows, columns) = (self.weight.rows, self.weight.columns);
        assert!(x.len() == self.m * columns && out.len() == self.m * rows, "operands of a packed product");
        if self.in_whole_numbers(x, epilogue, out, scratch, pool) {
            return;
        }
        let plain = self.padded() * (self.pitch() + self.segments());
        let (ordered, sums) = scratch[..plain].split_at_mut(self.padded() * self.pitch());
        ordered[self.m * self.pitch()..].fill(0.0);
        sums.fill(0.0);
        for (x, (to, sums)) in x
            .chunks_exact(columns)
            .zip(ordered.chunks_exact_mut(self.pitch()).zip(sums.chunks_exact_mut(self.segments())))
        {
            self.prepare(x, to, sums);
        }
        let per_task = self.rows_per_task(pool);
        let out = Disjoint::new(out);
        let (ordered, sums) = (&*ordered, &*sums);
        pool.run(rows.div_ceil(per_task), |i| {
            let rows = i * per_task..rows.min((i + 1) * per_task);
            self.isa.run(Rows { product: self, rows, ordered, sums, epilogue, out: &out });
        });
    }

    fn rows_per_task(&self, pool: &Pool) -> usize {
        let (rows, columns) = (self.weight.rows, self.weight.columns);
        let tasks =
            if pool.threads() == 1 { 1 } else { (rows * columns / GRAIN).clamp(1, pool.threads() * 4) };
        rows.div_ceil(tasks)
    }

    /// Runs the product in whole numbers, where it has the instructions and the activations are finite.
    fn in_whole_numbers(
        &self,
        x: &[f32],
        epilogue: Epilogue<'_>,
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
    ) -> bool {
        let Some(unit) = self.unit else { return false };
        let Some(numbers) = unit.prepare(self.weight.code, x, self.isa, scratch) else { return false };
        let segment = self.weight.segment();
        let sums: Vec<f32> = match &self.weight.offsets {
            Some(_) => x.chunks(segment).map(sum).collect(),
            None => Vec::new(),
        };
        pool.chunks_mut(out, self.rows_per_task(pool), |i, out| {
            let first = i * self.rows_per_task(pool);
            fixed::rows(unit, self.weight, &numbers, first..first + out.len(), out);
            if self.weight.offsets.is_some() {
                let offset = |(i, o): (usize, &mut f32)| *o -= offset(self.weight, first + i, segment, &sums);
                out.iter_mut().enumerate().for_each(offset);
            }
            epilogue.from(0, first).apply(self.isa, out, out.len());
        });
        true
    }

    /// A row of activations in the order of the codes, and its sums over segments.
    fn prepare(&self, x: &[f32], to: &mut [f32], sums: &mut [f32]) {
        let Order { step, per_lane, segment, .. } = self.order;
        if self.halves {
            self.isa.run(Halve { x, to });
        } else if per_lane == 1 {
            to[..x.len()].copy_from_slice(x);
            to[x.len()..].fill(0.0);
        } else {
            let lanes = step / per_lane;
            to[x.len() / step * step..].fill(0.0);
            for (x, to) in x.chunks(step).zip(to.chunks_exact_mut(step)) {
                for (lane, x) in x.chunks(per_lane).enumerate() {
                    x.iter().zip(to[lane..].iter_mut().step_by(lanes)).for_each(|(x, to)| *to = *x);
                }
            }
        }
        if self.weight.offsets.is_some() {
            sums.iter_mut().zip(x.chunks(segment)).for_each(|(s, x)| *s = sum(x));
        }
    }
}

/// Brings numbers to f16, in the first half of where they would stand as f32; zeros follow.
struct Halve<'a> {
    x: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Halve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, to } = self;
        assert!(to.len() >= x.len().next_multiple_of(S::LANES), "whole vectors of activations");
        to.fill(0.0);
        for (i, x) in x.chunks(S::LANES).enumerate() {
            // SAFETY: a vector of f16 is half as long as one of f32, and there are as many.
            unsafe { s.store_f16(to.as_mut_ptr().cast::<u8>().add(i * S::LANES * 2), s.load_part(x)) };
        }
    }
}

fn order(weight: &PackedMatrix, lanes: usize) -> Order {
    let per_lane = match weight.code {
        Code::Int { bits: 4, .. } => 8,
        Code::Index { bits: 3 } => 8,
        Code::Index { bits: 6 } => 4,
        Code::Index { bits } => 32 / bits as usize,
        Code::F32 | Code::F16 | Code::Int { .. } => 1,
    };
    let (step, segment) = (lanes * per_lane.max(2), weight.segment());
    if segment == weight.columns || segment % step == 0 {
        return Order { step, per_lane, segment, unpack: false };
    }
    Order { step: 2 * lanes, per_lane: 1, segment: weight.columns, unpack: true }
}

/// A range of outputs.
struct Rows<'a> {
    product: &'a PackedProduct<'a>,
    rows: Range<usize>,
    ordered: &'a [f32],
    sums: &'a [f32],
    epilogue: Epilogue<'a>,
    out: &'a Disjoint<'a, f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.product.order.unpack {
            return self.dense(s, &Unpacked);
        }
        match self.product.weight.code {
            Code::F32 => self.dense(s, &Single),
            Code::F16 if self.product.halves => self.dense(s, &Halves),
            Code::F16 => self.dense(s, &Half),
            Code::Int { bits: 8, signed: true } => self.dense(s, &Signed),
            Code::Int { bits: 8, .. } => self.dense(s, &Unsigned),
            Code::Int { signed, .. } => self.dense(s, &Narrow::<4>(integers(signed))),
            Code::Index { bits: 1 } => self.dense(s, &Indexed::<1>),
            Code::Index { bits: 2 } => self.dense(s, &Indexed::<2>),
            Code::Index { bits: 3 } => self.dense(s, &Indexed::<3>),
            Code::Index { bits: 4 } => self.dense(s, &Indexed::<4>),
            Code::Index { bits: 6 } => self.dense(s, &Gathered::<6>),
            Code::Index { .. } => self.dense(s, &Gathered::<8>),
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn dense<S: Simd>(&self, s: S, dot: &impl Dot) {
        if self.product.m == 1 {
            return self.pass::<S, STREAMS, 1>(s, dot, 0);
        }
        for first in (0..self.product.m).step_by(TOGETHER) {
            self.pass::<S, 1, TOGETHER>(s, dot, first);
        }
    }

    /// `M` rows of activations from `first` on, `R` outputs at a time; rows of activations beyond the last are zero and
    /// their results dropped.
    #[inline(always)]
    fn pass<S: Simd, const R: usize, const M: usize>(&self, s: S, dot: &impl Dot, first: usize) {
        let p = self.product;
        let (pitch, n) = (p.pitch(), p.weight.rows);
        let mut x = [&self.ordered[..0]; M];
        for (m, x) in x.iter_mut().enumerate() {
            *x = &self.ordered[(first + m) * pitch..][..pitch];
        }
        for group in 0..self.rows.len().div_ceil(R) {
            let rows = apart::<R>(&self.rows, group);
            let sums = dot.rows::<S, R, M>(s, p, rows, &x);
            for (j, mut sums) in rows.into_iter().zip(sums) {
                self.offset(j, first, &mut sums);
                for (m, sum) in sums.into_iter().enumerate().take(p.m - first) {
                    let at = (first + m) * n + j;
                    // SAFETY: no other task has this output.
                    unsafe { self.out.slice(at..at + 1)[0] = sum };
                }
            }
        }
        if self.epilogue.is_identity() {
            return;
        }
        let epilogue = self.epilogue.from(0, self.rows.start);
        for m in first..p.m.min(first + M) {
            // SAFETY: as above.
            let row = unsafe { self.out.slice(m * n + self.rows.start..m * n + self.rows.end) };
            epilogue.apply_row(s, m, row);
        }
    }

    /// Takes the offsets of row `j` off its sums.
    #[inline(always)]
    fn offset<const M: usize>(&self, j: usize, first: usize, sums: &mut [f32; M]) {
        let p = self.product;
        if p.order.unpack || p.weight.offsets.is_none() {
            return;
        }
        let segments = p.segments();
        for (m, sum) in sums.iter_mut().enumerate() {
            let x = &self.sums[(first + m) * segments..][..segments];
            *sum -= offset(p.weight, j, p.order.segment, x);
        }
    }
}

fn sum(x: &[f32]) -> f32 {
    x.iter().map(|&x| f64::from(x)).sum::<f64>() as f32
}

/// What the offsets of row `j` add up to, given the sums of the activations over segments.
#[inline(always)]
fn offset(weight: &PackedMatrix, j: usize, segment: usize, sums: &[f32]) -> f32 {
    let Some(offsets) = &weight.offsets else { return 0.0 };
    let one = |(i, &x): (usize, &f32)| {
        let scale = weight.scales.as_ref().map_or(1.0, |g| scalar(weight, g, j, i * segment));
        scale * scalar(weight, offsets, j, i * segment) * x
    };
    sums.iter().enumerate().map(one).sum()
}

#[inline(always)]
fn scalar(weight: &PackedMatrix, grid: &super::Grid, j: usize, column: usize) -> f32 {
    grid.row(j, weight.rows)[column * grid.across / weight.columns]
}

fn integers(signed: bool) -> [f32; 16] {
    std::array::from_fn(|i| if signed && i > 7 { i as f32 - 16.0 } else { i as f32 })
}

/// Group `group` of rows that are multiplied together: each from a part of `rows` of its own, so that memory is read in
/// `R` long streams (one stream of a core does not use all the memory gives). The last groups name the last row again.
#[inline(always)]
pub(super) fn apart<const R: usize>(rows: &Range<usize>, group: usize) -> [usize; R] {
    let part = rows.len() / R;
    std::array::from_fn(|r| {
        let (from, at) = if group < part { (r * part, group) } else { (R * part, (group - part) * R + r) };
        (rows.start + from + at).min(rows.end - 1)
    })
}

/// Sums of products of `R` rows and `M` rows of activations, two for each.
type Sums<S, const R: usize, const M: usize> = [[[<S as Unpack>::F; 2]; M]; R];

/// How the bytes of rows are multiplied.
trait Dot {
    /// Bytes of an activation.
    const X: usize = size_of::<f32>();
    /// What is asked for ahead; nothing where the hardware sees the streams by itself.
    const AHEAD: Option<usize> = Some(AHEAD);

    /// Sums over the columns of rows `j`, scales included, offsets not.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        p: &PackedProduct<'_>,
        j: [usize; R],
        x: &[&[f32]; M],
    ) -> [[f32; M]; R] {
        let (w, Order { step, segment, .. }) = (p.weight, p.order);
        let bits = w.code.bits() as usize;
        let step_bytes = step * bits / 8;
        let mut total = [[s.splat(0.0); M]; R];
        for first in (0..w.columns).step_by(segment) {
            let columns = segment.min(w.columns - first);
            let mut tables = [self.table(s, w, j[0], first); R];
            for (table, j) in tables.iter_mut().zip(j) {
                *table = self.table(s, w, j, first);
            }
            let mut sums = [[[s.splat(0.0); 2]; M]; R];
            let starts = j.map(|j| j * w.pitch + first * bits / 8);
            // Codes of three bytes a lane are read four bytes a lane.
            let room = starts.map(|at| (w.bytes.len() - at).saturating_sub(S::LANES * 4) / step_bytes.max(1));
            let whole = room.into_iter().fold(columns / step, usize::min);
            let starts = starts.map(|at| w.bytes[at..].as_ptr());
            for i in 0..whole {
                // SAFETY: as many steps lie in the rows, what is read beyond them in the matrix; `x` has whole steps.
                unsafe {
                    let p = starts.map(|p| p.add(i * step_bytes));
                    if let Some(ahead) = Self::AHEAD {
                        p.into_iter().for_each(|p| s.prefetch(p.wrapping_add(ahead)));
                    }
                    let x = x.map(|x| x.as_ptr().cast::<u8>().add((first + i * step) * Self::X));
                    self.step(s, &tables, p, x, &mut sums);
                }
            }
            for i in whole..columns.div_ceil(step) {
                let mut tails = [[0u8; 128]; R];
                for (tail, j) in tails.iter_mut().zip(j) {
                    let row = &w.row(j)[first * bits / 8 + i * step_bytes..];
                    let rest = &row[..row.len().min(step_bytes)];
                    tail[..rest.len()].copy_from_slice(rest);
                }
                // SAFETY: no step is longer than 128 bytes; `x` has whole steps, zero beyond the columns.
                unsafe {
                    let p = std::array::from_fn(|r| tails[r].as_ptr());
                    let x = x.map(|x| x.as_ptr().cast::<u8>().add((first + i * step) * Self::X));
                    self.step(s, &tables, p, x, &mut sums);
                }
            }
            for ((total, sums), j) in total.iter_mut().zip(sums).zip(j) {
                let scale = s.splat(w.scales.as_ref().map_or(1.0, |g| scalar(w, g, j, first)));
                for (total, [a, b]) in total.iter_mut().zip(sums) {
                    *total = s.fma(s.add(a, b), scale, *total);
                }
            }
        }
        let mut out = [[0f32; M]; R];
        for (out, total) in out.as_flattened_mut().iter_mut().zip(total.as_flattened()) {
            *out = s.sum(*total);
        }
        out
    }

    /// What a segment looks its codes up in.
    #[inline(always)]
    fn table<S: Simd>(&self, s: S, _: &PackedMatrix, _: usize, _: usize) -> Table<S> {
        Table { narrow: s.table(&[0.0; 16]), wide: std::ptr::null() }
    }

    /// Adds the products of a step to `sums`.
    ///
    /// # Safety
    /// A step at every pointer of `p`, with three-byte lanes four bytes for each, and one at every pointer of `x` are
    /// readable.
    unsafe fn step<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        tables: &[Table<S>; R],
        p: [*const u8; R],
        x: [*const u8; M],
        sums: &mut Sums<S, R, M>,
    );
}

/// What codes are looked up in.
#[derive(Clone, Copy)]
struct Table<S: Simd> {
    narrow: S::Table,
    wide: *const f32,
}

/// Numbers or bytes that follow one another: two vectors of them are a step.
macro_rules! plain {
    ($($name:ident $load:ident $bytes:literal by $x:ident $x_bytes:literal $([$($set:item)*])? $doc:literal;)*) => {$(
        #[doc = $doc]
        struct $name;
        impl Dot for $name {
            const X: usize = $x_bytes;
            $($($set)*)?

            #[inline(always)]
            unsafe fn step<S: Simd, const R: usize, const M: usize>(
                &self,
                s: S,
                _: &[Table<S>; R],
                p: [*const u8; R],
                x: [*const u8; M],
                sums: &mut Sums<S, R, M>,
            ) {
                for t in 0..2 {
                    let mut vectors = [s.splat(0.0); M];
                    for (v, x) in vectors.iter_mut().zip(x) {
                        // SAFETY: the contract.
                        *v = unsafe { s.$x(x.add(t * S::LANES * $x_bytes).cast()) };
                    }
                    for (p, sums) in p.into_iter().zip(sums.iter_mut()) {
                        // SAFETY: the contract.
                        let w = unsafe { s.$load(p.add(t * S::LANES * $bytes).cast()) };
                        for (x, sums) in vectors.into_iter().zip(sums) {
                            sums[t] = s.fma(w, x, sums[t]);
                        }
                    }
                }
            }
        }
    )*};
}

plain! {
    Single load 4 by load 4 [const AHEAD: Option<usize> = None;]
        "Single precision numbers.";
    Half load_f16 2 by load 4 [const AHEAD: Option<usize> = None;]
        "Half precision numbers.";
    Halves load_f16 2 by load_f16 2 [const AHEAD: Option<usize> = None;]
        "Half precision numbers beside activations of half precision.";
    Signed load_i8 1 by load 4 "Signed bytes.";
    Unsigned load_u8 1 by load 4 "Unsigned bytes.";
}

/// Codes of `BITS` bits, `per_lane` of them in lanes of three bytes or of four.
///
/// # Safety
/// As [`Dot::step`]; `number` is called with codes of the rows in turn.
#[inline(always)]
unsafe fn lane_step<S: Simd, const R: usize, const M: usize, const BITS: usize>(
    s: S,
    p: [*const u8; R],
    x: [*const u8; M],
    sums: &mut Sums<S, R, M>,
    number: impl Fn(usize, S::Codes) -> S::F,
) {
    let (three, per_lane) = match BITS {
        3 => (true, 8),
        6 => (true, 4),
        _ => (false, 32 / BITS),
    };
    // Loops instead of `map`, whose closures LLVM does not always inline: a call here spills every register.
    for (r, (p, sums)) in p.into_iter().zip(sums).enumerate() {
        // SAFETY: the contract of a step.
        let codes = unsafe { if three { s.load_3_bytes(p) } else { s.load_4_bytes(p) } };
        for t in (0..per_lane).step_by(2) {
            let w = number(r, s.shift(codes, (t * BITS) as u32));
            let v = number(r, s.shift(codes, ((t + 1) * BITS) as u32));
            // The two sums of each are named, not indexed, so that they stay in registers.
            for (x, [a, b]) in x.into_iter().zip(&mut *sums) {
                // SAFETY: the contract of a step.
                unsafe {
                    let x = x.cast::<f32>();
                    *a = s.fma(w, s.load(x.add(t * S::LANES)), *a);
                    *b = s.fma(v, s.load(x.add((t + 1) * S::LANES)), *b);
                }
            }
        }
    }
}

/// Integers of `BITS` bits: the entry of every code.
struct Narrow<const BITS: usize>([f32; 16]);

impl<const BITS: usize> Dot for Narrow<BITS> {
    #[inline(always)]
    fn table<S: Simd>(&self, s: S, _: &PackedMatrix, _: usize, _: usize) -> Table<S> {
        Table { narrow: s.table(&self.0), wide: std::ptr::null() }
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        tables: &[Table<S>; R],
        p: [*const u8; R],
        x: [*const u8; M],
        sums: &mut Sums<S, R, M>,
    ) {
        // SAFETY: the contract.
        unsafe {
            lane_step::<S, R, M, BITS>(s, p, x, sums, |r, codes| s.look_up(tables[r].narrow, codes));
        }
    }
}

/// Indices of `BITS` bits, at most 4.
struct Indexed<const BITS: usize>;

impl<const BITS: usize> Dot for Indexed<BITS> {
    #[inline(always)]
    fn table<S: Simd>(&self, s: S, weight: &PackedMatrix, j: usize, column: usize) -> Table<S> {
        let entries = weight.table(j, column);
        // Bits above the code belong to the next one: the table is repeated, so that they do not matter.
        let narrow = std::array::from_fn(|i| entries[i % entries.len()]);
        Table { narrow: s.table(&narrow), wide: std::ptr::null() }
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        tables: &[Table<S>; R],
        p: [*const u8; R],
        x: [*const u8; M],
        sums: &mut Sums<S, R, M>,
    ) {
        // SAFETY: the contract.
        unsafe {
            lane_step::<S, R, M, BITS>(s, p, x, sums, |r, codes| s.look_up(tables[r].narrow, codes));
        }
    }
}

/// Indices of `BITS` bits, 6 or 8.
struct Gathered<const BITS: usize>;

impl<const BITS: usize> Dot for Gathered<BITS> {
    #[inline(always)]
    fn table<S: Simd>(&self, s: S, weight: &PackedMatrix, j: usize, column: usize) -> Table<S> {
        let entries = weight.table(j, column);
        assert_eq!(entries.len(), 1 << BITS, "entries of a look-up table");
        Table { narrow: s.table(&[0.0; 16]), wide: entries.as_ptr() }
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        tables: &[Table<S>; R],
        p: [*const u8; R],
        x: [*const u8; M],
        sums: &mut Sums<S, R, M>,
    ) {
        // SAFETY: the contract; the table has an entry for every code of as many bits.
        unsafe {
            let number = |r: usize, codes| s.gather(tables[r].wide, codes, BITS as u32);
            lane_step::<S, R, M, BITS>(s, p, x, sums, number);
        }
    }
}

/// Rows that are unpacked to numbers piece by piece, in plain order.
struct Unpacked;

impl Dot for Unpacked {
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        p: &PackedProduct<'_>,
        j: [usize; R],
        x: &[&[f32]; M],
    ) -> [[f32; M]; R] {
        let (mut run, mut out) = ([0f32; 256], [[0f32; M]; R]);
        for (out, j) in out.iter_mut().zip(j) {
            let table = self.table(s, p.weight, j, 0);
            let mut sums = [[[s.splat(0.0); 2]; M]];
            for first in (0..p.weight.columns).step_by(run.len()) {
                let end = p.weight.columns.min(first + run.len());
                p.weight.decode(j, first..end, &mut run[..end - first]);
                run[end - first..].fill(0.0);
                for at in (0..end - first).step_by(2 * S::LANES) {
                    // SAFETY: `run` and `x` have whole steps of two vectors.
                    unsafe {
                        let x = x.map(|x| x.as_ptr().add(first + at).cast());
                        self.step(s, &[table], [run.as_ptr().add(at).cast()], x, &mut sums);
                    }
                }
            }
            for (out, [a, b]) in out.iter_mut().zip(sums[0]) {
                *out = s.sum(s.add(a, b));
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn step<S: Simd, const R: usize, const M: usize>(
        &self,
        s: S,
        tables: &[Table<S>; R],
        p: [*const u8; R],
        x: [*const u8; M],
        sums: &mut Sums<S, R, M>,
    ) {
        // SAFETY: the contract.
        unsafe { Single.step(s, tables, p, x, sums) }
    }
}
