//! Which scheme for which weight: the path from a model left as it is to the smallest one.
//!
//! Errors of different weights hardly know of each other, so squared losses add up; then the best choice under a budget of
//! bytes takes steps of the lower convex hull of each weight, in the order of loss per byte saved (Everett, "Generalized
//! Lagrange multiplier method", Operations Research 11, 1963; for quantisers: Shoham and Gersho, "Efficient bit allocation
//! for an arbitrary set of quantizers", IEEE Trans. ASSP 36, 1988).

/// What one scheme does to one weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Bytes of the weight.
    pub bytes: u64,
    /// Squared loss of the model when this weight alone is so; 0 for a weight that is left as it is.
    pub loss: f64,
}

/// One step of the path: a weight takes one of its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the weight.
    pub weight: usize,
    /// Number of its choice.
    pub choice: usize,
}

/// The steps from every weight in its choice 0 to the smallest, cheapest loss per byte first; each prefix is on the hull.
///
/// Choices that are larger than choice 0, or lose more than a smaller one does, are never taken.
pub fn path(weights: &[Vec<Choice>]) -> Vec<Step> {
    let mut steps: Vec<(f64, Step)> = Vec::new();
    for (weight, choices) in weights.iter().enumerate() {
        let corners = hull(choices);
        for pair in corners.windows(2) {
            let (from, to) = (choices[pair[0]], choices[pair[1]]);
            let slope = (to.loss - from.loss) / (from.bytes - to.bytes) as f64;
            steps.push((slope, Step { weight, choice: pair[1] }));
        }
    }
    // Stable: steps of one weight have ascending slopes and stay in order.
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    steps.into_iter().map(|(_, s)| s).collect()
}

/// Corners of the lower convex hull from choice 0 on, bytes falling.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let Some(first) = choices.first() else { return Vec::new() };
    let smaller = |i: &usize| choices[*i].bytes < first.bytes && choices[*i].loss.is_finite();
    let mut order: Vec<usize> = (1..choices.len()).filter(smaller).collect();
    order.sort_by(|&a, &b| {
        choices[b].bytes.cmp(&choices[a].bytes).then(choices[b].loss.total_cmp(&choices[a].loss))
    });
    let slope = |a: usize, b: usize| {
        (choices[b].loss - choices[a].loss) / (choices[a].bytes - choices[b].bytes) as f64
    };
    let mut corners = vec![0];
    for i in order {
        while let Some(&last) = corners.last() {
            let before = corners.len().checked_sub(2).map(|at| corners[at]);
            let same = choices[last].bytes == choices[i].bytes;
            let above = same || before.is_some_and(|b| slope(b, i) <= slope(b, last));
            if last == 0 || !above {
                break;
            }
            corners.pop();
        }
        corners.push(i);
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(of: &[(u64, f64)]) -> Vec<Choice> {
        of.iter().map(|&(bytes, loss)| Choice { bytes, loss }).collect()
    }

    #[test]
    fn steps_come_in_the_order_of_loss_per_byte_and_skip_what_lies_above_the_hull() {
        let a = choices(&[(100, 0.0), (50, 1.0), (40, 9.0), (25, 2.0), (120, 0.0)]);
        let b = choices(&[(100, 0.0), (60, 0.1), (50, f64::INFINITY)]);
        let taken: Vec<(usize, usize)> = path(&[a, b]).iter().map(|s| (s.weight, s.choice)).collect();
        assert_eq!(taken, [(1, 1), (0, 1), (0, 3)]);
    }

    /// On random choices every prefix is as good as any combination of at most its bytes and of other corners.
    #[test]
    fn no_combination_beats_a_prefix_in_bytes_and_loss() {
        let mut seed = 3u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed >> 40
        };
        for _ in 0..50 {
            let mut weight = || {
                let one =
                    |i: u64, r: u64| Choice { bytes: 90 - 10 * i - r % 7, loss: (i * i + r % 5) as f64 };
                let mut all = vec![Choice { bytes: 100, loss: 0.0 }];
                all.extend((1..5).map(|i| one(i, random())));
                all
            };
            let weights: Vec<Vec<Choice>> = (0..3).map(|_| weight()).collect();
            let mut at = vec![0; 3];
            for step in path(&weights) {
                at[step.weight] = step.choice;
                let sum = |at: &[usize]| {
                    let each = || at.iter().zip(&weights).map(|(&c, w)| w[c]);
                    (each().map(|c| c.bytes).sum::<u64>(), each().map(|c| c.loss).sum::<f64>())
                };
                let (bytes, loss) = sum(&at);
                for other in 0..125 {
                    let (b, l) = sum(&[other % 5, other / 5 % 5, other / 25]);
                    assert!(b > bytes || l >= loss - 1e-9, "{other} beats {at:?}");
                }
            }
        }
    }
}
