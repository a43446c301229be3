//! The best palette of scalars: k-means in one dimension, solved exactly.
//!
//! Sorted values fall into clusters that are runs, so the best clusters are a shortest path; the matrix of its costs is
//! totally monotone, and row minima of such a matrix take linear time (SMAWK: Aggarwal, Klawe, Moran, Shor, Wilber,
//! "Geometric applications of a matrix-searching algorithm", Algorithmica 2, 1987; used for k-means by Wu,
//! "Optimal quantization by matrix searching", Journal of Algorithms 12, 1991).

/// Sorted values and how often each occurs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    pub(crate) values: Vec<f64>,
    pub(crate) counts: Vec<f64>,
}

/// Sums over runs of the histogram.
struct Runs {
    /// Per end of a run: number of elements and sum of elements before it.
    sums: Vec<(f64, f64)>,
    mean: f64,
}

impl Runs {
    fn of(h: &Histogram) -> Runs {
        let total: f64 = h.counts.iter().sum();
        let mean = h.values.iter().zip(&h.counts).map(|(v, c)| v * c).sum::<f64>() / total.max(1.0);
        let mut sums = Vec::with_capacity(h.values.len() + 1);
        let mut sum = (0.0, 0.0);
        sums.push(sum);
        for (v, c) in h.values.iter().zip(&h.counts) {
            // Around the mean, so that large offsets cost no precision.
            sum = (sum.0 + c, sum.1 + (v - mean) * c);
            sums.push(sum);
        }
        Runs { sums, mean }
    }

    /// Squared error of the run `from..=to` around its mean, less its sum of squares, which no choice changes.
    #[inline]
    fn cost(&self, from: usize, to: usize) -> f64 {
        let (a, b) = (self.sums[from], self.sums[to + 1]);
        let sum = b.1 - a.1;
        -(sum * sum) / (b.0 - a.0)
    }

    fn centroid(&self, from: usize, to: usize) -> f64 {
        let (a, b) = (self.sums[from], self.sums[to + 1]);
        (b.1 - a.1) / (b.0 - a.0) + self.mean
    }
}

/// The centroids of the best `k` clusters, ascending; fewer when there are fewer values.
pub(crate) fn centroids(h: &Histogram, k: usize) -> Vec<f64> {
    let n = h.values.len();
    if n <= k {
        return h.values.clone();
    }
    let runs = Runs::of(h);
    // best[i]: least cost of values 0..=i in as many clusters as layers done.
    let mut best: Vec<f64> = (0..n).map(|i| runs.cost(0, i)).collect();
    let mut starts: Vec<Vec<u32>> = Vec::with_capacity(k - 1);
    let columns: Vec<usize> = (1..n).collect();
    for _ in 1..k {
        let value = |i: usize, j: usize| if j > i { best[i] } else { best[j - 1] + runs.cost(j, i) };
        let mut argmin = vec![0u32; n];
        row_minima(0, 1, n, &columns, &value, &mut argmin);
        let next: Vec<f64> = (0..n).map(|i| value(i, argmin[i] as usize)).collect();
        best = next;
        starts.push(argmin);
    }
    let mut found = Vec::with_capacity(k);
    let mut end = n - 1;
    for layer in starts.iter().rev() {
        let start = layer[end] as usize;
        if start > end {
            continue;
        }
        found.push(runs.centroid(start, end));
        end = start - 1;
    }
    found.push(runs.centroid(0, end));
    found.reverse();
    found
}

/// Leftmost minima of the rows `first, first + step, ...` (`rows` of them) of a totally monotone matrix, over `columns`.
fn row_minima(
    first: usize,
    step: usize,
    rows: usize,
    columns: &[usize],
    value: &impl Fn(usize, usize) -> f64,
    argmin: &mut [u32],
) {
    if rows == 0 {
        return;
    }
    let row = |r: usize| first + r * step;
    let kept = reduce(row, rows, columns, value);
    row_minima(first + step, step * 2, rows / 2, &kept, value, argmin);
    let mut at = 0;
    for r in (0..rows).step_by(2) {
        // The minimum of an even row lies between those of its neighbours.
        let last = if r + 1 < rows { argmin[row(r + 1)] as usize } else { kept[kept.len() - 1] };
        let (mut least, mut where_) = (value(row(r), kept[at]), kept[at]);
        while kept[at] != last {
            at += 1;
            let v = value(row(r), kept[at]);
            if v < least {
                (least, where_) = (v, kept[at]);
            }
        }
        argmin[row(r)] = u32::try_from(where_).unwrap_or(u32::MAX);
    }
}

/// Drops columns that hold no row's minimum, until there are at most as many as rows.
fn reduce(
    row: impl Fn(usize) -> usize,
    rows: usize,
    columns: &[usize],
    value: &impl Fn(usize, usize) -> f64,
) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(rows.min(columns.len()));
    for &column in columns {
        while let Some(&top) = kept.last() {
            let r = row(kept.len() - 1);
            if value(r, top) <= value(r, column) {
                break;
            }
            kept.pop();
        }
        if kept.len() < rows {
            kept.push(column);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(h: &Histogram, centroids: &[f64]) -> f64 {
        let nearest = |v: f64| centroids.iter().map(|c| (v - c) * (v - c)).fold(f64::INFINITY, f64::min);
        h.values.iter().zip(&h.counts).map(|(&v, c)| nearest(v) * c).sum()
    }

    /// The least error over every way to cut the values into `k` runs.
    fn exhaustive(h: &Histogram, k: usize, from: usize) -> f64 {
        let n = h.values.len();
        let run = |a: usize, b: usize| {
            let w: f64 = h.counts[a..b].iter().sum();
            let mean = (a..b).map(|i| h.values[i] * h.counts[i]).sum::<f64>() / w;
            (a..b).map(|i| (h.values[i] - mean).powi(2) * h.counts[i]).sum::<f64>()
        };
        if k == 1 || from + 1 >= n {
            return run(from, n);
        }
        (from + 1..=n)
            .map(|to| run(from, to) + if to < n { exhaustive(h, k - 1, to) } else { 0.0 })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn clusters_are_as_good_as_the_best_of_all_cuts() {
        let mut seed = 7u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 40) as f64 / (1u64 << 24) as f64
        };
        for case in 0..300 {
            let n = 2 + case % 11;
            let mut values: Vec<f64> = (0..n).map(|_| (random() * 4.0).exp() * (random() - 0.5)).collect();
            values.sort_by(f64::total_cmp);
            let counts = (0..n).map(|_| (random() * 9.0).ceil().max(1.0)).collect();
            let h = Histogram { values, counts };
            for k in 1..=5 {
                let best = exhaustive(&h, k, 0);
                let ours = error(&h, &centroids(&h, k));
                assert!(
                    ours <= best * (1.0 + 1e-9) + 1e-12,
                    "case {case}, {k} clusters: {ours} against {best}"
                );
            }
        }
    }

    #[test]
    fn fewer_values_than_clusters_are_all_kept() {
        let h = Histogram { values: vec![-1.0, 2.0], counts: vec![3.0, 1.0] };
        assert_eq!(centroids(&h, 4), [-1.0, 2.0]);
    }
}
