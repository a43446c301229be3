//! How near numbers are to what they were.

/// Sums over pairs of numbers: what was, and what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fit {
    signal: f64,
    product: f64,
    made: f64,
    noise: f64,
    /// Largest difference.
    pub largest: f64,
    /// Number of pairs.
    pub count: f64,
}

impl Fit {
    /// Takes in pairs; both slices are equally long.
    pub fn add(&mut self, was: &[f32], is: &[f32]) {
        const LANES: usize = 8;
        for (was, is) in was.chunks(256).zip(is.chunks(256)) {
            let mut sums = [[0f32; LANES]; 4];
            let mut largest = [0f32; LANES];
            let (a, a_rest) = was.as_chunks::<LANES>();
            let (b, b_rest) = is.as_chunks::<LANES>();
            for (a, b) in a.iter().zip(b) {
                for i in 0..LANES {
                    let gap = a[i] - b[i];
                    sums[0][i] += a[i] * a[i];
                    sums[1][i] += a[i] * b[i];
                    sums[2][i] += b[i] * b[i];
                    sums[3][i] += gap * gap;
                    largest[i] = if gap.abs() > largest[i] { gap.abs() } else { largest[i] };
                }
            }
            let total = |s: [f32; LANES]| s.iter().map(|&x| f64::from(x)).sum::<f64>();
            self.signal += total(sums[0]);
            self.product += total(sums[1]);
            self.made += total(sums[2]);
            self.noise += total(sums[3]);
            self.largest = largest.iter().fold(self.largest, |l, &x| l.max(f64::from(x)));
            a_rest.iter().zip(b_rest).for_each(|(&a, &b)| self.one(f64::from(a), f64::from(b)));
        }
        self.count += was.len() as f64;
    }

    /// Takes in a pair that occurs `count` times.
    pub(crate) fn add_times(&mut self, was: f64, is: f64, count: f64) {
        self.signal += was * was * count;
        self.product += was * is * count;
        self.made += is * is * count;
        self.noise += (was - is) * (was - is) * count;
        self.largest = self.largest.max((was - is).abs());
        self.count += count;
    }

    fn one(&mut self, was: f64, is: f64) {
        self.signal += was * was;
        self.product += was * is;
        self.made += is * is;
        self.noise += (was - is) * (was - is);
        self.largest = self.largest.max((was - is).abs());
    }

    /// Both together.
    pub fn and(self, other: Fit) -> Fit {
        Fit {
            signal: self.signal + other.signal,
            product: self.product + other.product,
            made: self.made + other.made,
            noise: self.noise + other.noise,
            largest: self.largest.max(other.largest),
            count: self.count + other.count,
        }
    }

    /// Signal-to-noise ratio in dB: `10 log10(sum was^2 / sum (was - is)^2)`; infinite when nothing changed.
    pub fn snr(&self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.noise).log10() }
    }

    /// Relative error: `||was - is|| / ||was||`; 0 when nothing changed, infinite when only zeros did.
    pub fn relative(&self) -> f64 {
        if self.noise == 0.0 { 0.0 } else { (self.noise / self.signal).sqrt() }
    }

    /// Cosine between both, 1 when both are zero.
    pub fn cosine(&self) -> f64 {
        let norms = (self.signal * self.made).sqrt();
        if norms == 0.0 {
            f64::from(u8::from(self.noise == 0.0))
        } else {
            (self.product / norms).clamp(-1.0, 1.0)
        }
    }

    /// Mean squared difference.
    pub fn mean_squared_error(&self) -> f64 {
        self.noise / self.count.max(1.0)
    }
}
