//! The best palette of scalars: k-means in one dimension, solved exactly.
//!
//! Sorted values fall into clusters that are runs, so the best clusters are a shortest path of `k` edges, and the costs of
//! runs satisfy the quadrangle inequality. Then the least error falls convexly with the number of clusters (Aggarwal,
//! Schieber, Tokuyama, "Finding a minimum-weight k-link path in graphs with the concave Monge property", Discrete &
//! Computational Geometry 12, 1994): with the right price per cluster, the best path of any length has `k` edges, and a path
//! that has is the best one of `k`. The best path of any length takes one pass (Hirschberg, Larmore, "The least weight
//! subsequence problem", SIAM Journal on Computing 16, 1987). The price is found on classes of values first. Where no price
//! gives `k` edges, because several numbers of clusters tie, layers of row minima of a totally monotone matrix decide (SMAWK:
//! Aggarwal, Klawe, Moran, Shor, Wilber, Algorithmica 2, 1987; used for k-means by Wu, Journal of Algorithms 12, 1991).

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

    /// The price of a cluster if the values were spread evenly: what one more of `k` would save of the error.
    fn first_price(&self, h: &Histogram, k: usize) -> f64 {
        let squares: f64 = h.values.iter().zip(&h.counts).map(|(v, c)| (v - self.mean).powi(2) * c).sum();
        (2.0 * squares / (k as f64).powi(3)).max(f64::MIN_POSITIVE)
    }

    fn centroid(&self, from: usize, to: usize) -> f64 {
        let (a, b) = (self.sums[from], self.sums[to + 1]);
        (b.1 - a.1) / (b.0 - a.0) + self.mean
    }
}

/// The centroids of the best `k` clusters, ascending; fewer when there are fewer values.
pub(crate) fn centroids(h: &Histogram, k: usize) -> Vec<f64> {
    if h.values.len() <= k {
        return h.values.clone();
    }
    if k == 1 {
        return vec![Runs::of(h).centroid(0, h.values.len() - 1)];
    }
    by_price(h, k).unwrap_or_else(|| by_layers(h, k))
}

/// Most prices that are tried.
const PRICES: usize = 48;
/// Classes of values on which a price is looked for first, at least, and per cluster.
const CLASSES: (usize, usize) = (256, 16);

/// The best clusters, where a price is found at which there are `k` of them.
fn by_price(h: &Histogram, k: usize) -> Option<Vec<f64>> {
    let runs = Runs::of(h);
    let n = h.values.len();
    let classes = CLASSES.0.max(CLASSES.1 * k);
    let mut chain = Chain::default();
    let mut guess = runs.first_price(h, k);
    if n >= 4 * classes {
        let coarse = Runs { sums: every(&runs.sums, n.div_ceil(classes)), mean: runs.mean };
        guess = chain.price(&coarse, k, guess).1;
    }
    let found = chain.price(&runs, k, guess).0;
    found.then(|| chain.centroids(&runs))
}

/// Every `step`th of the sums, and the last one.
fn every(sums: &[(f64, f64)], step: usize) -> Vec<(f64, f64)> {
    let mut out: Vec<_> = sums.iter().copied().step_by(step).collect();
    if !(sums.len() - 1).is_multiple_of(step) {
        out.extend(sums.last());
    }
    out
}

/// Where a run may end.
#[derive(Clone, Copy, Debug, Default)]
struct Stop {
    /// Number of elements before it, and their sum.
    weight: f64,
    sum: f64,
    /// Least cost of the runs up to here, prices included.
    least: f64,
    /// Where the last of those runs begins, and how many there are.
    begin: u32,
    count: u32,
}

/// The best path of any number of runs.
#[derive(Default)]
struct Chain {
    stops: Vec<Stop>,
    /// Beginnings that are best for later ends: the beginning, and the first end that it is best for.
    queue: Vec<(u32, u32)>,
}

impl Chain {
    /// Looks for a price at which there are `k` runs; false, with the last price, when none was found.
    fn price(&mut self, runs: &Runs, k: usize, first: f64) -> (bool, f64) {
        let (mut price, mut low, mut high) = (first, 0.0, f64::INFINITY);
        for _ in 0..PRICES {
            let count = self.solve(runs, price);
            if count == k {
                return (true, price);
            }
            if count > k {
                low = price
            } else {
                high = price
            }
            // On smooth densities the number of clusters falls with the cube root of the price.
            let next = price * (count as f64 / k as f64).powi(3);
            let between = if high.is_finite() { (low + high) / 2.0 } else { low * 2.0 };
            price = if next > low && next < high { next } else { between };
            if !(price > low && price < high) {
                break;
            }
        }
        (false, price)
    }

    fn cost(&self, begin: usize, end: usize) -> f64 {
        let (a, b) = (&self.stops[begin], &self.stops[end]);
        let sum = b.sum - a.sum;
        a.least - sum * sum / (b.weight - a.weight)
    }

    /// The best runs at a price each; returns their number.
    fn solve(&mut self, runs: &Runs, price: f64) -> usize {
        let stop = |&(weight, sum): &(f64, f64)| Stop { weight, sum, ..Stop::default() };
        self.stops.clear();
        self.stops.extend(runs.sums.iter().map(stop));
        self.queue.clear();
        self.queue.push((0, 1));
        let n = self.stops.len() - 1;
        let mut head = 0;
        for end in 1..=n {
            while self.queue.get(head + 1).is_some_and(|next| next.1 as usize <= end) {
                head += 1;
            }
            let begin = self.queue[head].0;
            let least = self.cost(begin as usize, end) + price;
            let count = self.stops[begin as usize].count + 1;
            let slot = &mut self.stops[end];
            (slot.least, slot.begin, slot.count) = (least, begin, count);
            if end < n {
                self.enter(end, head, n);
            }
        }
        self.stops[n].count as usize
    }

    /// Puts a new beginning into the queue, from the first end on for which it is better than the last one there.
    fn enter(&mut self, new: usize, head: usize, n: usize) {
        let at = loop {
            let Some(&(last, first)) = self.queue.get(head..).and_then(<[_]>::last) else { break new + 1 };
            let (last, first) = (last as usize, (first as usize).max(new + 1));
            if self.cost(new, first) > self.cost(last, first) {
                break self.crossing(last, new, first, n);
            }
            self.queue.pop();
        };
        if at <= n {
            self.queue.push((new as u32, at as u32));
        }
    }

    /// The first end after `from` for which `new` is no worse than `old`; `n + 1` when there is none.
    fn crossing(&self, old: usize, new: usize, from: usize, n: usize) -> usize {
        let better = |end: usize| self.cost(new, end) <= self.cost(old, end);
        let (mut low, mut step) = (from, 1);
        let mut high = loop {
            if low + step > n {
                if low == n || !better(n) {
                    return n + 1;
                }
                break n;
            }
            if better(low + step) {
                break low + step;
            }
            low += step;
            step *= 2;
        };
        while high - low > 1 {
            let middle = (low + high) / 2;
            if better(middle) { high = middle } else { low = middle }
        }
        high
    }

    /// Centroids of the runs that were found last.
    fn centroids(&self, runs: &Runs) -> Vec<f64> {
        let mut found = Vec::new();
        let mut end = self.stops.len() - 1;
        while end > 0 {
            let begin = self.stops[end].begin as usize;
            found.push(runs.centroid(begin, end - 1));
            end = begin;
        }
        found.reverse();
        found
    }
}

/// The same by layers: the best clusters of every prefix, from one cluster up.
fn by_layers(h: &Histogram, k: usize) -> Vec<f64> {
    let n = h.values.len();
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
                for found in [centroids(&h, k), by_layers(&h, k.min(n))] {
                    let ours = error(&h, &found);
                    assert!(
                        ours <= best * (1.0 + 1e-9) + 1e-12,
                        "case {case}, {k} clusters: {ours} against {best}"
                    );
                }
            }
        }
    }

    /// Values of several shapes, also with ties: as good by price as by layers, which a test above holds against all cuts.
    #[test]
    fn both_ways_find_the_same_error_on_many_values() {
        let shape = |kind: usize, i: usize| {
            let t = (i as f64 + 0.5) / 1500.0;
            match kind {
                0 => t,
                1 => (t / (1.0 - t)).ln(),
                2 => (t * 9.0).floor() + t * 1e-3,
                3 => t.powi(8) * 100.0,
                _ => ((i % 3) as f64 - 1.0) * 50.0 + t,
            }
        };
        for kind in 0..5 {
            let mut values: Vec<f64> = (0..1500).map(|i| shape(kind, i)).collect();
            values.sort_by(f64::total_cmp);
            values.dedup();
            let counts = (0..values.len()).map(|i| 1.0 + (i * 7 % 5) as f64).collect();
            let h = Histogram { values, counts };
            for k in [2, 3, 8, 16, 64, 256] {
                let (ours, layers) = (error(&h, &centroids(&h, k)), error(&h, &by_layers(&h, k)));
                assert!(ours <= layers * (1.0 + 1e-9) + 1e-9, "shape {kind}, {k}: {ours} against {layers}");
            }
        }
    }

    #[test]
    fn fewer_values_than_clusters_are_all_kept() {
        let h = Histogram { values: vec![-1.0, 2.0], counts: vec![3.0, 1.0] };
        assert_eq!(centroids(&h, 4), [-1.0, 2.0]);
    }
}
