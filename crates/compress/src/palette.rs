//! Palettes: each element, or each short vector of elements, becomes an index into a table.
//!
//! Modes, defaults and layouts: coremltools 9.0, `optimize/coreml/_quantization_passes.py`, `palettize_weights`. Uniform and
//! unique tables are the same bit for bit; those of k-means are at least as good.

use crate::kmeans::{self, Histogram};
use crate::vectors;
use crate::weight::{CHUNK, Numbers, pack_bits, rint, unsigned};
use crate::{Fit, Refusal, threads};
use anemone_tensor::{DType, Tensor};
use half::f16;
use std::collections::BTreeSet;
use std::ops::Range;

/// How the tables are found.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PaletteMode {
    /// The tables with the least squared error.
    #[default]
    Kmeans,
    /// Entries evenly spaced from the smallest to the largest element.
    Uniform,
    /// Every different element is an entry; nothing is lost.
    Unique,
    /// A table of the user's, ascending or not; each element takes the nearest entry.
    Custom(Vec<f32>),
}

/// How to palettise a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct PaletteSpec {
    /// How the tables are found.
    pub mode: PaletteMode,
    /// Bits per index: 1, 2, 3, 4, 6 or 8; none where the mode finds them (unique, custom).
    pub bits: Option<usize>,
    /// Dim that is cut into groups, each with a table.
    pub axis: usize,
    /// Channels per group; 0 for one table.
    pub group: usize,
    /// Neighbours along `axis` that share one index; 1 for scalars.
    pub cluster_dim: usize,
}

/// A palettised weight, in the shapes of `constexpr_lut_to_dense` since `ios18`.
#[derive(Clone, Debug)]
pub struct Palettized {
    /// Indices of 1 to 8 bits; along the vectors' axis as many times fewer as a vector is long.
    pub indices: Tensor,
    /// Tables: `[groups along each dim.., entries, cluster_dim]`, in the weight's type.
    pub lut: Tensor,
    /// Axis of the vectors, for vector palettes.
    pub vector_axis: Option<usize>,
    /// How near the weight is to what it was.
    pub fit: Fit,
}

/// The bits that an index may have.
pub const BITS: [usize; 6] = [1, 2, 3, 4, 6, 8];

/// Palettises a weight.
///
/// # Errors
/// When the weight is not of floats or has an infinity, the group or the vectors do not divide the axis, the bits are none of
/// [`BITS`], or a unique palette would need more than 8.
pub fn palettize(weight: &Tensor, spec: &PaletteSpec, workers: usize) -> Result<Palettized, Refusal> {
    let numbers = Numbers::of(weight)?;
    let cut = Cut::new(weight.shape(), spec)?;
    let bits = bits(&numbers, &cut, spec)?;
    let mut indices = vec![0u8; numbers.len() / spec.cluster_dim];
    let groups: Vec<usize> = (0..cut.groups).collect();
    let found = threads::map(groups, workers, |g| {
        if spec.cluster_dim == 1 && spec.mode == PaletteMode::Kmeans && numbers.dtype() == DType::F16 {
            // One table for all is made by all threads, else each has tables of its own.
            let workers = if cut.groups == 1 { workers } else { 1 };
            return Ok(best_halves(&numbers, &cut, g, bits, workers));
        }
        let d = spec.cluster_dim;
        let values = cut.gather(&numbers, g);
        let values = if d == 1 { values } else { cut.vectors(values, d) };
        let (table, indices) = match d {
            1 => scalars(&numbers, &values, &spec.mode, bits),
            d => of_vectors(&numbers, &values, &spec.mode, d, bits)?,
        };
        let fit = fit(&values, &table, &indices, d);
        Ok((table, indices, fit))
    });
    let mut fit = Fit::default();
    let mut lut = Vec::with_capacity((cut.groups * spec.cluster_dim) << bits);
    for (g, of_group) in found.into_iter().enumerate() {
        let (table, of_group, of_fit) = of_group?;
        fit = fit.and(of_fit);
        lut.extend(table);
        cut.scatter(&of_group, g, spec.cluster_dim, &mut indices);
    }
    let mut shape = weight.shape().to_vec();
    shape[spec.axis] /= spec.cluster_dim;
    let indices = Tensor::new(unsigned(bits), shape, pack_bits(&indices, bits)).map_err(Refusal::Tensor)?;
    let mut lut_shape = vec![1; weight.rank()];
    lut_shape[spec.axis] = cut.groups;
    lut_shape.extend([1 << bits, spec.cluster_dim]);
    let vector_axis = (spec.cluster_dim > 1).then_some(spec.axis);
    Ok(Palettized { indices, lut: numbers.tensor(&lut_shape, &lut)?, vector_axis, fit })
}

/// How near the entries are to the values, which stand one vector of length `d` after the other.
fn fit(values: &[f32], table: &[f32], indices: &[u8], d: usize) -> Fit {
    let mut fit = Fit::default();
    let mut buffer = [0f32; CHUNK];
    let vectors = CHUNK / d;
    for (values, indices) in values.chunks(vectors * d).zip(indices.chunks(vectors)) {
        let made = &mut buffer[..values.len()];
        if d == 1 {
            made.iter_mut().zip(indices).for_each(|(m, &i)| *m = table[usize::from(i)]);
        } else {
            let entries = indices.iter().map(|&i| &table[usize::from(i) * d..][..d]);
            made.chunks_exact_mut(d).zip(entries).for_each(|(m, e)| m.copy_from_slice(e));
        }
        fit.add(values, made);
    }
    fit
}

/// A weight cut into groups of channels.
struct Cut {
    /// Elements before, along and behind the axis.
    outer: usize,
    axis: usize,
    inner: usize,
    groups: usize,
}

impl Cut {
    fn new(shape: &[usize], spec: &PaletteSpec) -> Result<Cut, Refusal> {
        let Some(&axis) = shape.get(spec.axis) else {
            return Err(Refusal::Axis { axis: spec.axis, rank: shape.len() });
        };
        let group = if spec.group == 0 { axis } else { spec.group };
        if axis == 0 || group == 0 || axis % group != 0 {
            return Err(Refusal::Indivisible { axis: spec.axis, dim: axis, size: group });
        }
        if spec.cluster_dim == 0 || spec.cluster_dim > CHUNK || group % spec.cluster_dim != 0 {
            return Err(Refusal::Indivisible { axis: spec.axis, dim: group, size: spec.cluster_dim });
        }
        let product = |dims: &[usize]| dims.iter().product();
        let (outer, inner) = (product(&shape[..spec.axis]), product(&shape[spec.axis + 1..]));
        Ok(Cut { outer, axis, inner, groups: axis / group })
    }

    /// Elements of one group that follow each other.
    fn run(&self) -> usize {
        self.axis / self.groups * self.inner
    }

    /// The elements of a group: `[outer, channels, inner]`.
    fn gather(&self, numbers: &Numbers, group: usize) -> Vec<f32> {
        let (run, mut out) = (self.run(), Vec::with_capacity(self.outer * self.run()));
        let mut buffer = [0f32; CHUNK];
        for o in 0..self.outer {
            let start = (o * self.groups + group) * run;
            for at in (0..run).step_by(CHUNK) {
                let count = (run - at).min(CHUNK);
                out.extend_from_slice(numbers.load(start + at, count, &mut buffer));
            }
        }
        out
    }

    /// The runs that a group is made of, in pieces that threads can share.
    fn pieces(&self, group: usize) -> Vec<Range<usize>> {
        const LONGEST: usize = 1 << 18;
        let run = self.run();
        let starts = (0..self.outer).map(|o| (o * self.groups + group) * run);
        starts
            .flat_map(|s| (s..s + run).step_by(LONGEST).map(move |at| at..(s + run).min(at + LONGEST)))
            .collect()
    }

    /// Puts the indices of a group where they belong.
    fn scatter(&self, of_group: &[u8], group: usize, cluster_dim: usize, indices: &mut [u8]) {
        let run = self.run() / cluster_dim;
        for (o, part) in of_group.chunks(run.max(1)).enumerate() {
            let start = (o * self.groups + group) * run;
            indices[start..start + part.len()].copy_from_slice(part);
        }
    }

    /// The vectors of a group, one after the other: `[outer, channels / d, inner, d]`.
    fn vectors(&self, mut values: Vec<f32>, d: usize) -> Vec<f32> {
        let block = d * self.inner;
        let mut turned = vec![0f32; block];
        for b in values.chunks_exact_mut(block.max(1)) {
            let places = (0..self.inner).flat_map(|i| (0..d).map(move |c| c * self.inner + i));
            turned.iter_mut().zip(places).for_each(|(to, from)| *to = b[from]);
            b.copy_from_slice(&turned);
        }
        values
    }
}

/// Bits of the indices.
fn bits(numbers: &Numbers, cut: &Cut, spec: &PaletteSpec) -> Result<usize, Refusal> {
    let fits = |entries: usize| BITS.into_iter().find(|b| entries <= 1 << b);
    let needed = match &spec.mode {
        PaletteMode::Unique => {
            let most = (0..cut.groups)
                .map(|g| different(&cut.vectors(cut.gather(numbers, g), spec.cluster_dim), spec.cluster_dim));
            let most = most.max().unwrap_or(0);
            fits(most).ok_or(Refusal::TooManyValues { found: most, allowed: 256 })?
        }
        PaletteMode::Custom(table) => fits(table.len())
            .filter(|_| !table.is_empty())
            .ok_or(Refusal::TooManyValues { found: table.len(), allowed: 256 })?,
        _ => 1,
    };
    match spec.bits {
        Some(b) if BITS.contains(&b) => Ok(b.max(needed)),
        Some(b) => Err(Refusal::Bits(b)),
        None if matches!(spec.mode, PaletteMode::Kmeans | PaletteMode::Uniform) => Err(Refusal::Bits(0)),
        None => Ok(needed),
    }
}

/// Number of different vectors, at most 257.
fn different(vectors: &[f32], d: usize) -> usize {
    let mut seen: BTreeSet<Vec<u32>> = BTreeSet::new();
    for v in vectors.chunks_exact(d) {
        // Adding zero makes one zero of both.
        seen.insert(v.iter().map(|x| (x + 0.0).to_bits()).collect());
        if seen.len() > 256 {
            break;
        }
    }
    seen.len()
}

/// Table and indices of scalars.
fn scalars(n: &Numbers, values: &[f32], mode: &PaletteMode, bits: usize) -> (Vec<f32>, Vec<u8>) {
    match mode {
        PaletteMode::Uniform => uniform(n, values, bits),
        PaletteMode::Kmeans => best(n, values, bits),
        PaletteMode::Unique => {
            let mut all: Vec<f32> = values.iter().map(|v| v + 0.0).collect();
            all.sort_unstable_by(f32::total_cmp);
            all.dedup();
            let indices = nearest(values, &all);
            (filled(all, 1 << bits), indices)
        }
        PaletteMode::Custom(table) => {
            let table: Vec<f32> = table.iter().map(|&v| n.round(v)).collect();
            let mut order: Vec<u8> = (0..=u8::MAX).take(table.len()).collect();
            order.sort_by(|&a, &b| table[usize::from(a)].total_cmp(&table[usize::from(b)]));
            let sorted: Vec<f32> = order.iter().map(|&i| table[usize::from(i)]).collect();
            let indices = nearest(values, &sorted).into_iter().map(|i| order[usize::from(i)]).collect();
            (filled(table, 1 << bits), indices)
        }
    }
}

/// A table with zeros behind its entries.
fn filled(mut table: Vec<f32>, entries: usize) -> Vec<f32> {
    table.resize(entries, 0.0);
    table
}

/// Evenly spaced entries, rounded step by step as numpy does with the weight's type.
fn uniform(n: &Numbers, values: &[f32], bits: usize) -> (Vec<f32>, Vec<u8>) {
    let (min, max) =
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let top = ((1u16 << bits) - 1) as f32;
    let span = n.round(max - min);
    let scale = n.round(span / top);
    let mut indices = Vec::with_capacity(values.len());
    let mut buffer = [0f32; CHUNK];
    for chunk in values.chunks(CHUNK) {
        let xs = &mut buffer[..chunk.len()];
        xs.iter_mut().zip(chunk).for_each(|(x, v)| *x = v - min);
        n.round_all(xs);
        xs.iter_mut().for_each(|x| *x /= span);
        n.round_all(xs);
        xs.iter_mut().for_each(|x| *x *= top);
        n.round_all(xs);
        indices.extend(xs.iter().map(|&x| rint(x) as u8));
    }
    let entry = |i: u16| f64::from(i) * f64::from(scale) + f64::from(min);
    let half = n.dtype() == DType::F16;
    let narrow = |x: f64| if half { f16::from_f64(x).to_f32() } else { x as f32 };
    ((0..1u16 << bits).map(|i| narrow(entry(i))).collect(), indices)
}

/// The table of single precision with the least squared error, and the nearest entry of each element.
fn best(n: &Numbers, values: &[f32], bits: usize) -> (Vec<f32>, Vec<u8>) {
    let centroids = kmeans::centroids(&histogram(values), 1 << bits);
    let mut table: Vec<f32> = centroids.into_iter().map(|c| n.round(c as f32)).collect();
    polish(values, &mut table);
    let indices = nearest(values, &table);
    (filled(table, 1 << bits), indices)
}

/// The same for a group of half precision, which has at most 2^16 different values: table, indices, and how good it is.
fn best_halves(
    n: &Numbers,
    cut: &Cut,
    group: usize,
    bits: usize,
    workers: usize,
) -> (Vec<f32>, Vec<u8>, Fit) {
    let pieces = cut.pieces(group);
    let mut counts = counted(n, &pieces, workers);
    // Both zeros are one value.
    let (minus, zero) = (rank_of(0x8000), rank_of(0));
    counts[zero] += std::mem::take(&mut counts[minus]);
    let mut h = Histogram::default();
    let mut ranks = Vec::new();
    for (rank, &c) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
        ranks.push(rank);
        h.values.push(f64::from(half_of(rank)));
        h.counts.push(f64::from(c));
    }
    let centroids = kmeans::centroids(&h, 1 << bits);
    let table: Vec<f32> = centroids.into_iter().map(|c| n.round(c as f32)).collect();
    let middles: Vec<f64> = table.windows(2).map(|w| (f64::from(w[0]) + f64::from(w[1])) / 2.0).collect();
    let mut of_rank = vec![0u8; 1 << 16];
    let (mut fit, mut at) = (Fit::default(), 0);
    for ((&rank, &v), &c) in ranks.iter().zip(&h.values).zip(&h.counts) {
        while at < middles.len() && middles[at] < v {
            at += 1;
        }
        of_rank[rank] = at as u8;
        fit.add_times(v, f64::from(table[at]), c);
    }
    of_rank[minus] = of_rank[zero];
    let mut indices = vec![0u8; cut.outer * cut.run()];
    let parts = threads::split(&mut indices, &pieces);
    threads::map(pieces.iter().zip(parts).collect(), workers, |(piece, part)| {
        let bits = n.half_bits(piece.start, piece.len());
        part.iter_mut().zip(bits).for_each(|(i, b)| *i = of_rank[rank_of(b)]);
    });
    (filled(table, 1 << bits), indices, fit)
}

/// How often each half precision value occurs, by its number in ascending order.
fn counted(n: &Numbers, pieces: &[Range<usize>], workers: usize) -> Vec<u32> {
    let shares = pieces.chunks(pieces.len().div_ceil(workers.max(1)).max(1)).collect();
    let found = threads::map(shares, workers, |share: &[Range<usize>]| {
        let mut counts = vec![0u32; 1 << 16];
        for piece in share {
            n.half_bits(piece.start, piece.len()).for_each(|b| counts[rank_of(b)] += 1);
        }
        counts
    });
    let mut all = vec![0u32; 1 << 16];
    found.iter().for_each(|counts| all.iter_mut().zip(counts).for_each(|(a, c)| *a += c));
    all
}

/// Number of a half precision value in ascending order, from its bits.
#[inline]
fn rank_of(bits: u16) -> usize {
    // All bits of a negative number turn, of others the sign alone.
    usize::from(bits ^ (0u16.wrapping_sub(bits >> 15) | 0x8000))
}

fn half_of(rank: usize) -> f32 {
    let rank = rank as u16;
    f16::from_bits(if rank & 0x8000 != 0 { rank & 0x7fff } else { !rank }).to_f32()
}

/// The values themselves while they are few, else the means of 2^16 or fewer narrow classes.
fn histogram(values: &[f32]) -> Histogram {
    const MOST: usize = 1 << 16;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let different = 1 + sorted.windows(2).filter(|w| w[0] != w[1]).count();
    let mut h = Histogram::default();
    if different <= MOST {
        for v in sorted {
            match h.values.last() {
                Some(&last) if last == f64::from(v) => *h.counts.last_mut().expect("one per value") += 1.0,
                _ => {
                    h.values.push(f64::from(v));
                    h.counts.push(1.0);
                }
            }
        }
        return h;
    }
    for class in sorted.chunks(sorted.len().div_ceil(MOST)) {
        h.values.push(class.iter().map(|&v| f64::from(v)).sum::<f64>() / class.len() as f64);
        h.counts.push(class.len() as f64);
    }
    h
}

/// Lloyd's steps on every element, from a table that is the best for classes of elements.
fn polish(values: &[f32], table: &mut [f32]) {
    for _ in 0..8 {
        let mut sums = vec![(0.0f64, 0.0f64); table.len()];
        for (v, i) in values.iter().zip(nearest(values, table)) {
            let sum = &mut sums[usize::from(i)];
            *sum = (sum.0 + f64::from(*v), sum.1 + 1.0);
        }
        let mut moved = false;
        for (entry, (sum, count)) in table.iter_mut().zip(sums) {
            if count > 0.0 && *entry != (sum / count) as f32 {
                (*entry, moved) = ((sum / count) as f32, true);
            }
        }
        if !moved {
            break;
        }
    }
}

/// The nearest entry of an ascending table for each value.
fn nearest(values: &[f32], table: &[f32]) -> Vec<u8> {
    let middles: Vec<f64> = table.windows(2).map(|w| (f64::from(w[0]) + f64::from(w[1])) / 2.0).collect();
    values.iter().map(|&v| middles.partition_point(|&m| m < f64::from(v)) as u8).collect()
}

/// Table and indices of vectors; `values` holds one vector after the other.
fn of_vectors(
    n: &Numbers,
    values: &[f32],
    mode: &PaletteMode,
    d: usize,
    bits: usize,
) -> Result<(Vec<f32>, Vec<u8>), Refusal> {
    let (table, indices) = match mode {
        PaletteMode::Kmeans => vectors::cluster(values, d, 1 << bits, |x| n.round(x)),
        PaletteMode::Unique => vectors::unique(values, d),
        PaletteMode::Uniform | PaletteMode::Custom(_) => return Err(Refusal::NoVectors),
    };
    Ok((filled(table, d << bits), indices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_the_users_is_kept_in_its_order_and_each_element_takes_the_nearest_entry() {
        let weight = Tensor::from_f32s([1, 5], &[0.9, -0.2, -3.0, 0.3, 0.0]).expect("fits");
        let mode = PaletteMode::Custom(vec![1.0, -1.0, 0.25]);
        let spec = PaletteSpec { mode, bits: None, axis: 0, group: 0, cluster_dim: 1 };
        let made = palettize(&weight, &spec, 1).expect("palettises");
        assert_eq!(made.indices.to_i64s(), [0, 2, 1, 2, 2]);
        assert_eq!(made.lut.to_f32s(), [1.0, -1.0, 0.25, 0.0]);
    }
}
