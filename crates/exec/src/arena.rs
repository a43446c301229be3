//! One allocation for all intermediate tensors, and the plan of who lives where.

use crate::memory;
use anemone_model::PredictError;
use std::collections::BTreeSet;

/// A range of `f32` elements of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl Span {
    fn overlaps(self, other: Span) -> bool {
        self.len > 0
            && other.len > 0
            && self.offset < other.offset + other.len
            && other.offset < self.offset + self.len
    }
}

/// A buffer before it has a place: its size and the steps between which it must keep its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    /// Number of elements.
    pub len: usize,
    /// Step that writes it first.
    pub first: usize,
    /// Step that reads it last.
    pub last: usize,
}

/// Elements per cache line; buffers start on one.
const LINE: usize = 16;

/// Gives every buffer a span so that buffers alive at the same step never overlap.
///
/// Largest first, each at the lowest offset that is free during its lifetime ("greedy by size", Pisarchyk and Lee,
/// Efficient Memory Management for Deep Neural Net Inference, 2020). Returns the spans and the arena's size.
pub(crate) fn place(buffers: &[Lifetime]) -> (Vec<Span>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].len), i));
    let mut spans = vec![Span { offset: 0, len: 0 }; buffers.len()];
    let mut placed = Placed::new(buffers.iter().map(|b| b.last + 1).max().unwrap_or(0));
    let mut total = 0;
    for i in order {
        let b = buffers[i];
        let mut taken: Vec<Span> = placed.meeting(b).map(|j| spans[j]).collect();
        taken.sort_by_key(|s| s.offset);
        let mut offset = 0;
        for s in taken {
            if offset + b.len <= s.offset {
                break;
            }
            offset = offset.max((s.offset + s.len).next_multiple_of(LINE));
        }
        spans[i] = Span { offset, len: b.len };
        total = total.max(offset + b.len);
        placed.insert(b, i);
    }
    (spans, total)
}

/// Buffers that have a place, found by the steps at which they are alive without a look at every other one.
struct Placed {
    /// Number of leaves of a tree over the steps, a power of two.
    leaves: usize,
    /// Node `n` has the children `2 n` and `2 n + 1`; a buffer is held by the largest nodes within its lifetime.
    nodes: Vec<Vec<usize>>,
    /// By first step.
    starts: BTreeSet<(usize, usize)>,
}

impl Placed {
    fn new(steps: usize) -> Placed {
        let leaves = steps.next_power_of_two();
        Placed { leaves, nodes: vec![Vec::new(); 2 * leaves], starts: BTreeSet::new() }
    }

    fn insert(&mut self, life: Lifetime, buffer: usize) {
        self.starts.insert((life.first, buffer));
        let (mut low, mut high) = (life.first + self.leaves, life.last + self.leaves + 1);
        while low < high {
            if low % 2 == 1 {
                self.nodes[low].push(buffer);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                self.nodes[high].push(buffer);
            }
            (low, high) = (low / 2, high / 2);
        }
    }

    /// Every buffer that is alive at a step of `life`, once: alive at its first step, or written first later on.
    fn meeting(&self, life: Lifetime) -> impl Iterator<Item = usize> {
        let leaf = life.first + self.leaves;
        let above = std::iter::successors(Some(leaf), |n| Some(n / 2)).take_while(|&n| n > 0);
        let alive = above.flat_map(|n| self.nodes[n].iter().copied());
        alive.chain(self.starts.range((life.first + 1, 0)..(life.last + 1, 0)).map(|&(_, buffer)| buffer))
    }
}

/// The memory behind the spans.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: Vec<f32>,
}

impl Arena {
    /// An arena of `len` elements, which together with `beside` bytes may take at most `limit` bytes.
    pub(crate) fn new(len: usize, beside: usize, limit: u64) -> Result<Arena, PredictError> {
        let place = || "the function's intermediate tensors and what its kernels work in".to_owned();
        let elements = beside.div_ceil(size_of::<f32>()).saturating_add(len);
        memory::allowed(&[elements], size_of::<f32>(), limit, place)?;
        Ok(Arena { memory: memory::zeros(len, limit, place)? })
    }

    /// Copies one span to another of the same length.
    pub(crate) fn copy(&mut self, from: Span, to: Span) {
        self.memory.copy_within(from.offset..from.offset + from.len, to.offset);
    }

    pub(crate) fn read(&self, span: Span) -> &[f32] {
        &self.memory[span.offset..span.offset + span.len]
    }

    pub(crate) fn write(&mut self, span: Span) -> &mut [f32] {
        &mut self.memory[span.offset..span.offset + span.len]
    }

    /// Borrows `reads` shared and `writes` exclusively, all at once.
    ///
    /// # Panics
    /// When a written span overlaps another one or lies outside; [`place`] never makes such spans.
    pub(crate) fn split<'a>(
        &'a mut self,
        reads: &[Span],
        writes: &[Span],
    ) -> (Vec<&'a [f32]>, Vec<&'a mut [f32]>) {
        for (i, w) in writes.iter().enumerate() {
            let clash = reads.iter().chain(&writes[i + 1..]).any(|s| s.overlaps(*w));
            assert!(!clash, "arena spans overlap");
        }
        let in_range = |s: &Span| s.offset.checked_add(s.len).is_some_and(|end| end <= self.memory.len());
        assert!(reads.iter().chain(writes).all(in_range), "arena span out of range");
        let base = self.memory.as_mut_ptr();
        // SAFETY: every span lies within the allocation, and no written span overlaps any other (checked above);
        // the borrow of `self` lasts as long as the slices.
        unsafe {
            let shared =
                reads.iter().map(|s| std::slice::from_raw_parts(base.add(s.offset), s.len)).collect();
            let exclusive =
                writes.iter().map(|s| std::slice::from_raw_parts_mut(base.add(s.offset), s.len)).collect();
            (shared, exclusive)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_share_memory_only_when_their_lifetimes_do_not_meet() {
        let life = |len, first, last| Lifetime { len, first, last };
        let buffers = [life(100, 0, 1), life(50, 1, 2), life(100, 2, 3), life(10, 0, 3)];
        let (spans, total) = place(&buffers);
        for (i, a) in buffers.iter().enumerate() {
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                let meet = a.first <= b.last && b.first <= a.last;
                assert!(!(meet && spans[i].overlaps(spans[j])), "{i} and {j}");
            }
        }
        assert!(total < 260, "{total}");
    }

    /// As many buffers as layers of thousands of steps make, at most three alive at a time: a look at every pair takes
    /// minutes.
    #[test]
    fn many_buffers_are_placed_by_their_lifetimes_alone() {
        let life = |i: usize| Lifetime { len: 16, first: i, last: i + 1 + i % 3 };
        let buffers: Vec<Lifetime> = (0..200_000).map(life).collect();
        let (spans, total) = place(&buffers);
        assert_eq!(total, 16 * 3);
        for i in 0..buffers.len() {
            for j in i + 1..(i + 5).min(buffers.len()) {
                assert!(buffers[j].first > buffers[i].last || !spans[i].overlaps(spans[j]), "{i} and {j}");
            }
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the value is stored, not computed")]
    fn disjoint_spans_are_borrowed_together() {
        let mut arena = Arena::new(8, 0, 32).expect("small");
        arena.write(Span { offset: 0, len: 4 }).fill(2.0);
        let (r, mut w) = arena.split(&[Span { offset: 0, len: 4 }], &[Span { offset: 4, len: 4 }]);
        w[0].copy_from_slice(r[0]);
        assert_eq!(arena.read(Span { offset: 7, len: 1 })[0], 2.0);
    }
}
