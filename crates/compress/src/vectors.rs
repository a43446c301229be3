//! Palettes of short vectors.
//!
//! k-means in more than one dimension has no fast exact answer: several seeded starts (k-means++: Arthur, Vassilvitskii,
//! SODA 2007), each followed by Lloyd's steps, and the best of them is kept.

use std::collections::BTreeMap;

/// Starts that are tried while the work stays small.
const STARTS: u64 = 48;
/// Lloyd's steps per start at most.
const STEPS: usize = 100;
/// Distances between vectors and centroids that one call may work out, times their length.
const WORK: usize = 4_000_000_000;

/// At most `k` centroids of length `d`, rounded by `round`, and the nearest one of each vector.
pub(crate) fn cluster(
    vectors: &[f32],
    d: usize,
    k: usize,
    round: impl Fn(f32) -> f32,
) -> (Vec<f32>, Vec<u8>) {
    let n = vectors.len() / d;
    let per_step = (n * k * d).max(1);
    let starts = (WORK / per_step / 20).clamp(1, STARTS as usize) as u64;
    let steps = (WORK / per_step / starts as usize).clamp(3, STEPS);
    let mut best: Option<(f64, Vec<f32>)> = None;
    for seed in 0..starts {
        let mut centroids = seeded(vectors, d, k, seed);
        let mut error = f64::INFINITY;
        for _ in 0..steps {
            let (next, now) = step(vectors, d, &centroids);
            centroids = next;
            if now >= error * (1.0 - 1e-5) {
                break;
            }
            error = now;
        }
        if best.as_ref().is_none_or(|b| error < b.0) {
            best = Some((error, centroids));
        }
    }
    let mut table = best.map(|b| b.1).unwrap_or_default();
    table.iter_mut().for_each(|x| *x = round(*x));
    let indices = vectors.chunks_exact(d).map(|v| nearest(v, &table, d).0 as u8).collect();
    (table, indices)
}

/// The different vectors in ascending order, and which one each is.
pub(crate) fn unique(vectors: &[f32], d: usize) -> (Vec<f32>, Vec<u8>) {
    // Order of the key is that of the numbers: flip all bits of negatives, the sign of others.
    let key = |x: f32| {
        let bits = (x + 0.0).to_bits();
        if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
    };
    let keys: Vec<Vec<u32>> = vectors.chunks_exact(d).map(|v| v.iter().map(|&x| key(x)).collect()).collect();
    let mut number: BTreeMap<&[u32], u8> = keys.iter().map(|k| (k.as_slice(), 0)).collect();
    number.values_mut().zip(0..=u8::MAX).for_each(|(slot, i)| *slot = i);
    let value = |&k: &u32| f32::from_bits(if k >> 31 == 1 { k & !(1 << 31) } else { !k });
    let table = number.keys().flat_map(|k| k.iter().map(value)).collect();
    (table, keys.iter().map(|k| number[k.as_slice()]).collect())
}

/// A small generator of even numbers in `[0, 1)` (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Centroids drawn from the vectors, each with a chance by its squared distance to those before it.
fn seeded(vectors: &[f32], d: usize, k: usize, seed: u64) -> Vec<f32> {
    let n = vectors.len() / d;
    let mut random = Random(seed);
    let first = ((random.next() * n as f64) as usize).min(n.saturating_sub(1));
    let mut centroids = vectors[first * d..(first + 1) * d].to_vec();
    let mut gaps: Vec<f64> = vectors.chunks_exact(d).map(|v| distance(v, &centroids)).collect();
    while centroids.len() < k * d {
        let total: f64 = gaps.iter().sum();
        if total <= 0.0 {
            break;
        }
        let chosen = (0..4).map(|_| draw(&gaps, total * random.next()));
        let left = |i: usize| -> f64 {
            let c = &vectors[i * d..(i + 1) * d];
            gaps.iter().zip(vectors.chunks_exact(d)).map(|(g, v)| g.min(distance(v, c))).sum()
        };
        let least = chosen.map(|i| (left(i), i)).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |c| c.1);
        let c = vectors[least * d..(least + 1) * d].to_vec();
        gaps.iter_mut().zip(vectors.chunks_exact(d)).for_each(|(g, v)| *g = g.min(distance(v, &c)));
        centroids.extend(c);
    }
    centroids
}

/// The first vector at which the running sum of gaps passes `at`.
fn draw(gaps: &[f64], mut at: f64) -> usize {
    for (i, g) in gaps.iter().enumerate() {
        at -= g;
        if at < 0.0 {
            return i;
        }
    }
    gaps.len() - 1
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    f64::from(a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>())
}

/// Number of the nearest centroid and its squared distance.
fn nearest(v: &[f32], centroids: &[f32], d: usize) -> (usize, f64) {
    let all = centroids.chunks_exact(d).map(|c| distance(v, c)).enumerate();
    all.fold((0, f64::INFINITY), |best, (i, gap)| if gap < best.1 { (i, gap) } else { best })
}

/// One of Lloyd's steps: the means of the vectors nearest to each centroid, and the error before it.
///
/// A centroid that no vector is nearest to moves to the vector that is worst served.
fn step(vectors: &[f32], d: usize, centroids: &[f32]) -> (Vec<f32>, f64) {
    let k = centroids.len() / d;
    let (mut sums, mut counts) = (vec![0f64; k * d], vec![0f64; k]);
    let (mut error, mut worst) = (0.0, (0.0, 0));
    for (at, v) in vectors.chunks_exact(d).enumerate() {
        let (i, gap) = nearest(v, centroids, d);
        error += gap;
        counts[i] += 1.0;
        sums[i * d..(i + 1) * d].iter_mut().zip(v).for_each(|(s, x)| *s += f64::from(*x));
        if gap > worst.0 {
            worst = (gap, at);
        }
    }
    let mut next = vec![0f32; k * d];
    for i in 0..k {
        let to = &mut next[i * d..(i + 1) * d];
        if counts[i] > 0.0 {
            to.iter_mut().zip(&sums[i * d..]).for_each(|(c, s)| *c = (s / counts[i]) as f32);
        } else {
            to.copy_from_slice(&vectors[worst.1 * d..(worst.1 + 1) * d]);
        }
    }
    (next, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_apart_clusters_are_found() {
        let vectors: Vec<f32> = (0..400)
            .flat_map(|i| {
                let (c, e) = (i % 4, (i as f32 * 0.37).sin() * 0.01);
                [[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]][c].map(|x| x + e)
            })
            .collect();
        let (table, indices) = cluster(&vectors, 2, 4, |x| x);
        let error: f64 = vectors
            .chunks(2)
            .zip(&indices)
            .map(|(v, &i)| distance(v, &table[usize::from(i) * 2..][..2]))
            .sum();
        assert!(error < 400.0 * 2e-4, "{error}");
    }

    #[test]
    fn unique_vectors_come_in_ascending_order() {
        let (table, indices) = unique(&[1.0, 2.0, -1.0, 5.0, 1.0, 2.0, -1.0, -7.0], 2);
        assert_eq!(table, [-1.0, -7.0, -1.0, 5.0, 1.0, 2.0]);
        assert_eq!(indices, [2, 1, 2, 0]);
    }
}
