//! Arithmetic on dims that may be unknown.

use crate::Dim;

/// Why two shapes do not broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Dim counted from the innermost, 0 first.
    pub axis_from_end: usize,
    /// Extent on the left.
    pub left: Dim,
    /// Extent on the right.
    pub right: Dim,
}

/// Broadcasts two shapes by NumPy's rule: align from the right, 1 stretches.
///
/// An unknown dim against a known one larger than 1 gives the known one.
///
/// # Errors
/// When two fixed extents differ and neither is 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Broadcast> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| if i < s.len() { s[s.len() - 1 - i].clone() } else { Dim::Known(1) };
    let mut out = Vec::with_capacity(rank);
    for i in 0..rank {
        out.push(match (at(a, i), at(b, i)) {
            (Dim::Known(1), d) | (d, Dim::Known(1)) => d,
            (x, y) if x == y => x,
            (Dim::Known(left), Dim::Known(right)) => {
                return Err(Broadcast { axis_from_end: i, left: left.into(), right: right.into() });
            }
            (Dim::Known(n), _) | (_, Dim::Known(n)) => Dim::Known(n),
            _ => Dim::Unknown,
        });
    }
    out.reverse();
    Ok(out)
}

impl Dim {
    /// Applies `f` to a fixed extent; anything else becomes unknown, and so does what `f` cannot compute.
    pub fn map(&self, f: impl FnOnce(usize) -> Option<usize>) -> Dim {
        self.known().and_then(f).map_or(Dim::Unknown, Dim::Known)
    }

    /// Combines two fixed extents; anything else becomes unknown.
    pub fn with(&self, other: &Dim, f: impl FnOnce(usize, usize) -> Option<usize>) -> Dim {
        match (self.known(), other.known()) {
            (Some(a), Some(b)) => f(a, b).map_or(Dim::Unknown, Dim::Known),
            _ => Dim::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_dims_yield_to_fixed_ones() {
        let a = [Dim::Unknown, Dim::Known(1), Dim::Known(4)];
        let b = [Dim::Known(3), Dim::Known(4)];
        assert_eq!(broadcast(&a, &b), Ok(vec![Dim::Unknown, Dim::Known(3), Dim::Known(4)]));
        assert!(broadcast(&[Dim::Known(2)], &[Dim::Known(3)]).is_err());
    }
}
