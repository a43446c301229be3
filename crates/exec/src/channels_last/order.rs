//! Orders of dims.

/// Which dim of a tensor stands at each place of memory, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Order(Vec<usize>);

impl Order {
    pub(super) fn new(dims: Vec<usize>) -> Order {
        Order(dims)
    }

    /// Every dim in its own place.
    pub(super) fn plain(rank: usize) -> Order {
        Order((0..rank).collect())
    }

    /// Batch, spatial dims, channels.
    pub(super) fn channels_last(rank: usize) -> Order {
        Order(std::iter::once(0).chain(2..rank).chain([1]).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Where each dim stands.
    pub(super) fn back(&self) -> Vec<usize> {
        let mut back = vec![0; self.0.len()];
        self.0.iter().enumerate().for_each(|(at, &d)| back[d] = at);
        back
    }

    /// Where dim `d` stands.
    pub(super) fn place(&self, d: usize) -> Option<usize> {
        self.0.iter().position(|&own| own == d)
    }

    /// A list of one entry per dim in this order.
    pub(super) fn apply<T: Clone>(&self, list: &[T]) -> Vec<T> {
        self.0.iter().map(|&d| list[d].clone()).collect()
    }

    /// True when a tensor of that shape lies in memory in the same way in both orders.
    pub(super) fn same(&self, other: &Order, shape: &[usize]) -> bool {
        let long = |o: &Order| -> Vec<usize> { o.0.iter().copied().filter(|&d| shape[d] != 1).collect() };
        long(self) == long(other)
    }

    /// The order of the dims that are left when some are taken away.
    pub(super) fn without(&self, gone: &[bool]) -> Order {
        let rank_before = |d: usize| (0..d).filter(|&e| !gone[e]).count();
        Order(self.0.iter().filter(|&&d| !gone[d]).map(|&d| rank_before(d)).collect())
    }

    /// The order in which the dims of `to` lie, a reshape of a tensor of shape `from` that lies in this order; `None`
    /// when the reshape moves elements.
    pub(super) fn reshaped(&self, from: &[usize], to: &[usize]) -> Option<Order> {
        let groups = groups(from, to)?;
        let long: Vec<usize> = self.0.iter().copied().filter(|&d| from[d] != 1).collect();
        let mut order: Vec<usize> = (0..to.len()).filter(|&d| to[d] == 1).collect();
        let mut at = 0;
        while at < long.len() {
            let (own, new) = groups.iter().find(|(own, _)| own.first() == long.get(at))?;
            if long.get(at..at + own.len())? != own.as_slice() {
                return None;
            }
            at += own.len();
            order.extend(new);
        }
        Some(Order(order))
    }
}

/// Runs of dims of `from` and of `to` that hold the same elements, dims of one element left out.
fn groups(from: &[usize], to: &[usize]) -> Option<Vec<(Vec<usize>, Vec<usize>)>> {
    if from.contains(&0) || to.contains(&0) {
        return None;
    }
    let long = |shape: &[usize]| -> Vec<usize> { (0..shape.len()).filter(|&d| shape[d] != 1).collect() };
    let (from_dims, to_dims) = (long(from), long(to));
    let (mut i, mut j, mut groups) = (0, 0, Vec::new());
    while i < from_dims.len() || j < to_dims.len() {
        let (first_i, first_j) = (i, j);
        let (mut a, mut b) = (from[*from_dims.get(i)?], to[*to_dims.get(j)?]);
        (i, j) = (i + 1, j + 1);
        while a != b {
            if a < b {
                a *= from[*from_dims.get(i)?];
                i += 1;
            } else {
                b *= to[*to_dims.get(j)?];
                j += 1;
            }
        }
        groups.push((from_dims[first_i..i].to_vec(), to_dims[first_j..j].to_vec()));
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_that_move_nothing_keep_an_order() {
        let last = Order::channels_last(4);
        // A channel shuffle: channels split in two, positions become one.
        let split = last.reshaped(&[1, 48, 4, 6], &[24, 2, 24]);
        assert_eq!(split, Some(Order::new(vec![2, 0, 1])));
        // Positions become one only together.
        assert_eq!(last.reshaped(&[1, 8, 4, 6], &[1, 8, 24]), Some(Order::new(vec![0, 2, 1])));
        assert_eq!(last.reshaped(&[1, 8, 4, 6], &[1, 192]), None);
        assert_eq!(last.reshaped(&[1, 8, 1, 1], &[1, 8]), Some(Order::new(vec![0, 1])));
        assert_eq!(last.reshaped(&[2, 8, 4, 6], &[2, 32, 6]), None);
    }

    #[test]
    fn dims_that_go_leave_the_others_in_order() {
        let order = Order::new(vec![0, 2, 3, 1]);
        assert_eq!(order.without(&[false, false, true, false]), Order::new(vec![0, 2, 1]));
        assert_eq!(order.back(), [0, 3, 1, 2]);
        assert!(order.same(&Order::plain(4), &[1, 7, 1, 1]));
        assert!(!order.same(&Order::plain(4), &[1, 7, 2, 1]));
    }
}
