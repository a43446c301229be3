//! Times of many predictions.

/// Times of predictions, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    /// As they came.
    times: Vec<f64>,
    sorted: Vec<f64>,
}

/// Times from `from` up to `to`, both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Shortest time that counts.
    pub from: f64,
    /// Times below count; the last bin has its own end in it, and every longer time.
    pub to: f64,
    /// How many there are.
    pub count: usize,
}

impl Latencies {
    /// Of these times, in the order in which they came.
    pub fn of(times: Vec<f64>) -> Latencies {
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        Latencies { times, sorted }
    }

    /// All times as they came.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// The smallest time that at least `percent` % of the times do not exceed ("nearest rank"); 0 when there is none.
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil() as usize;
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(rank.saturating_sub(1).min(last)).copied().unwrap_or(0.0)
    }

    /// Arithmetic mean; 0 when there is none.
    pub fn mean(&self) -> f64 {
        self.times.iter().sum::<f64>() / self.times.len().max(1) as f64
    }

    /// Predictions a second, one after the other.
    pub fn per_second(&self) -> f64 {
        let mean = self.mean();
        if mean > 0.0 { 1e3 / mean } else { 0.0 }
    }

    /// `bins` of equal width from the shortest time to the 99th percentile.
    pub fn histogram(&self, bins: usize) -> Vec<Bin> {
        let (Some(&low), high) = (self.sorted.first(), self.percentile(99.0)) else { return Vec::new() };
        let width = (high - low) / bins.max(1) as f64;
        let edge = |i: usize| low + width * i as f64;
        let mut out: Vec<Bin> = (0..bins).map(|i| Bin { from: edge(i), to: edge(i + 1), count: 0 }).collect();
        for &t in &self.sorted {
            let at = if width > 0.0 { ((t - low) / width) as usize } else { 0 };
            if let Some(bin) = out.get_mut(at.min(bins.saturating_sub(1))) {
                bin.count += 1;
            }
        }
        out
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are picked or exact, not rounded")]
mod tests {
    use super::*;

    /// The example of the nearest-rank method in most textbooks; NumPy's `inverted_cdf` gives the same.
    #[test]
    fn percentiles_are_times_that_occurred() {
        let l = Latencies::of(vec![35.0, 20.0, 15.0, 50.0, 40.0]);
        let p = [5.0, 30.0, 40.0, 50.0, 95.0, 100.0].map(|p| l.percentile(p));
        assert_eq!(p, [15.0, 20.0, 20.0, 35.0, 50.0, 50.0]);
        assert_eq!((l.mean(), l.count(), l.times()[0]), (32.0, 5, 35.0));
        assert_eq!(l.per_second(), 31.25);
    }

    #[test]
    fn nothing_measured_gives_zeros() {
        let l = Latencies::of(Vec::new());
        assert_eq!((l.percentile(50.0), l.mean(), l.per_second()), (0.0, 0.0, 0.0));
        assert!(l.histogram(4).is_empty());
    }

    #[test]
    fn every_time_is_in_one_bin() {
        let l = Latencies::of(vec![1.0, 1.0, 2.0, 3.0, 5.0]);
        let bins = l.histogram(4);
        assert_eq!(bins.iter().map(|b| b.count).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!((bins[0].from, bins[3].to), (1.0, 5.0));
        let same = Latencies::of(vec![2.0; 3]).histogram(2);
        assert_eq!(same.iter().map(|b| b.count).collect::<Vec<_>>(), [3, 0]);
    }
}
