//! A persistent thread pool for kernels: workers spin shortly for the next job and then park.
//!
//! A job is a number of independent tasks; threads claim tasks by a shared counter, the calling thread among them,
//! so a worker that the operating system has not scheduled yet delays nobody.
//! A call from inside a task, or while another thread uses the pool, runs inline on the calling thread.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::kernels::simd::Isa;

/// Spins before a waiting thread parks: some tens of microseconds.
const SPINS: usize = 1000;

/// Is told when a thread begins to take part in a job of several tasks, and when it has nothing left to do there; each
/// time on that thread.
pub trait Watch: Send + Sync {
    /// Tasks may follow on this thread.
    fn enter(&self);

    /// No more tasks of the job follow on this thread.
    fn leave(&self);
}

/// The tasks of one call, borrowed from the caller's stack while it waits.
struct Job<'a> {
    task: &'a (dyn Fn(usize, usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    seats: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    watch: Option<&'a dyn Watch>,
}

impl Job<'_> {
    /// Takes part, and tells whoever watches.
    fn work(&self) {
        self.watch.inspect(|w| w.enter());
        self.run_tasks();
        self.watch.inspect(|w| w.leave());
    }

    /// Claims and runs tasks until none is left.
    fn run_tasks(&self) {
        let seat = self.seats.fetch_add(1, Ordering::Relaxed);
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.tasks {
                return;
            }
            if let Err(cause) = catch_unwind(AssertUnwindSafe(|| (self.task)(seat, i))) {
                self.next.store(self.tasks, Ordering::Relaxed);
                lock(&self.panic).get_or_insert(cause);
            }
        }
    }
}

/// What the mutex guards: the published job and how many workers are inside it.
struct Slot {
    job: Option<&'static Job<'static>>,
    sleepers: usize,
    caller_waits: bool,
    closed: bool,
}

struct Shared {
    slot: Mutex<Slot>,
    /// Counts published jobs; workers spin on it.
    epoch: AtomicUsize,
    /// Workers inside the current job; changed only under the mutex.
    inside: AtomicUsize,
    work: Condvar,
    done: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Waits for a job newer than `seen` and enters it; `None` when the pool closes.
    fn enter(&self, seen: &mut usize) -> Option<Option<&'static Job<'static>>> {
        for _ in 0..SPINS {
            if self.epoch.load(Ordering::Acquire) != *seen {
                break;
            }
            std::hint::spin_loop();
        }
        let mut slot = lock(&self.slot);
        while self.epoch.load(Ordering::Relaxed) == *seen && !slot.closed {
            slot.sleepers += 1;
            slot = self.work.wait(slot).unwrap_or_else(PoisonError::into_inner);
            slot.sleepers -= 1;
        }
        if slot.closed {
            return None;
        }
        *seen = self.epoch.load(Ordering::Relaxed);
        if slot.job.is_some() {
            self.inside.fetch_add(1, Ordering::Relaxed);
        }
        Some(slot.job)
    }

    fn leave(&self) {
        let slot = lock(&self.slot);
        if self.inside.fetch_sub(1, Ordering::Release) == 1 && slot.caller_waits {
            self.done.notify_one();
        }
    }

    fn serve(&self) {
        let mut seen = 0;
        while let Some(entered) = self.enter(&mut seen) {
            if let Some(job) = entered {
                job.work();
                self.leave();
            }
        }
    }

    fn publish(&self, job: &'static Job<'static>) {
        let mut slot = lock(&self.slot);
        slot.job = Some(job);
        self.epoch.fetch_add(1, Ordering::Release);
        let wake = slot.sleepers.min(job.tasks - 1);
        drop(slot);
        for _ in 0..wake {
            self.work.notify_one();
        }
    }

    /// Takes the job back and returns when no worker is inside it any more.
    fn retract(&self) {
        let mut slot = lock(&self.slot);
        slot.job = None;
        drop(slot);
        for _ in 0..SPINS {
            if self.inside.load(Ordering::Acquire) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        slot = lock(&self.slot);
        slot.caller_waits = true;
        while self.inside.load(Ordering::Acquire) != 0 {
            slot = self.done.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        slot.caller_waits = false;
    }
}

/// The threads kernels run on, and the instruction set they use.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    busy: AtomicBool,
    isa: Isa,
    watch: Option<Arc<dyn Watch>>,
}

impl Pool {
    /// A pool of `threads` threads, the caller's included; 0 means 1.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(threads, Isa::best())
    }

    /// As [`Pool::new`], with the instruction set given, so that tests reach every variant.
    pub fn with_isa(threads: usize, isa: Isa) -> Self {
        let shared = Arc::new(Shared {
            slot: Mutex::new(Slot { job: None, sleepers: 0, caller_waits: false, closed: false }),
            epoch: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let start = |i| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("anemone-{i}")).spawn(move || shared.serve()).ok()
        };
        let workers = (1..threads).map_while(start).collect();
        Self { shared, workers, busy: AtomicBool::new(false), isa, watch: None }
    }

    /// Number of threads that work on a job, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Tells `watch` of every thread that takes part in a job from now on; `None` ends that.
    pub fn watch(&mut self, watch: Option<Arc<dyn Watch>>) {
        self.watch = watch;
    }

    /// The instruction set of the kernels that run here.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `task(i)` for every `i` below `tasks`, in any order, and returns when all are done.
    ///
    /// # Panics
    /// With the first panic of a task; the tasks not yet begun are then left out.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.run_seated(tasks, |_, i| task(i));
    }

    /// As [`Pool::run`] with `task(seat, i)`: `seat` is below [`Pool::threads`] and no two tasks that run
    /// at the same time within this call share one, so it can index scratch memory.
    pub fn run_seated(&self, tasks: usize, task: impl Fn(usize, usize) + Sync) {
        if tasks <= 1 || self.workers.is_empty() || self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(|i| task(0, i));
            return;
        }
        let job = Job {
            task: &task,
            tasks,
            next: AtomicUsize::new(0),
            seats: AtomicUsize::new(0),
            panic: Mutex::new(None),
            watch: self.watch.as_deref(),
        };
        // SAFETY: the reference outlives its use: workers enter a job only while it is published, and `retract`
        // returns only when it is not and no worker is inside. Nothing between the two can unwind, since
        // `Job::work` catches the panics of tasks.
        self.shared.publish(unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(&job) });
        job.work();
        self.shared.retract();
        self.busy.store(false, Ordering::Release);
        if let Some(cause) = lock(&job.panic).take() {
            resume_unwind(cause);
        }
    }

    /// Cuts `0..len` into even ranges of at least `grain` and runs `f` on each.
    pub fn parallel_for(&self, len: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
        let parts = (len / grain.max(1)).clamp(1, self.threads() * 2);
        self.run(parts, |i| f(len * i / parts..len * (i + 1) / parts));
    }

    /// Runs `f(i, chunk)` on every chunk of `chunk` elements of `out` (the last may be shorter).
    pub fn chunks_mut<T: Send>(&self, out: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let (len, chunk) = (out.len(), chunk.max(1));
        let out = Disjoint::new(out);
        self.run(len.div_ceil(chunk), |i| {
            let range = i * chunk..len.min((i + 1) * chunk);
            // SAFETY: every task has its own `i`, so the ranges never overlap.
            f(i, unsafe { out.slice(range) });
        });
    }

    /// As [`Pool::chunks_mut`] over whole rows of `row` elements, several rows to a task so that a task holds at
    /// least `grain` elements: `f(first_row, rows)`.
    pub fn rows_mut<T: Send>(
        &self,
        out: &mut [T],
        row: usize,
        grain: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let row = row.max(1);
        let rows = out.len().div_ceil(row);
        let per_task = rows.div_ceil(self.threads() * 4).max(grain.div_ceil(row)).max(1);
        self.chunks_mut(out, per_task * row, |i, chunk| f(i * per_task, chunk));
    }
}

impl Pool {
    /// Runs `f(row, offset, part)` on parts of the rows of `row` elements that `out` is made of, where `part` begins
    /// `offset` elements after the begin of its row; long rows are cut, several short ones make a task.
    pub fn row_parts_mut<T: Send>(
        &self,
        out: &mut [T],
        row: usize,
        grain: usize,
        f: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        self.rows_mut(out, 1, grain, |first, mut out| {
            let (mut at, mut offset) = (first / row, first % row);
            while !out.is_empty() {
                let (own, rest) = out.split_at_mut(out.len().min(row - offset));
                f(at, offset, own);
                (out, at, offset) = (rest, at + 1, 0);
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.slot).closed = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker cannot panic outside a task, and panics of tasks were handed to their caller.
            let _ = worker.join();
        }
    }
}

/// A mutable slice that tasks write in parts no two of them share.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: handing out parts is `unsafe` and the caller promises that they do not overlap, which is what
// `&mut [T]` split into parts and sent to threads would give.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of element 0.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.start
    }

    /// The part `range`.
    ///
    /// # Safety
    /// No part that is alive at the same time, whoever holds it, overlaps `range`.
    #[allow(clippy::mut_from_ref)] // the point of this type
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part outside of the slice");
        // SAFETY: in bounds by the check above, unaliased by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let pool = Pool::new(4);
        for tasks in [0, 1, 2, 3, 100] {
            for _ in 0..50 {
                let hits: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run_seated(tasks, |seat, i| {
                    assert!(seat < 4);
                    hits[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_watch_sees_every_thread_enter_and_leave() {
        #[derive(Default)]
        struct Count {
            inside: AtomicUsize,
            entered: AtomicUsize,
        }
        impl Watch for Count {
            fn enter(&self) {
                self.entered.fetch_add(1, Ordering::Relaxed);
                self.inside.fetch_add(1, Ordering::Relaxed);
            }

            fn leave(&self) {
                self.inside.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let (mut pool, count) = (Pool::new(2), Arc::new(Count::default()));
        pool.run(8, |_| {});
        pool.watch(Some(count.clone()));
        pool.run(8, |_| assert!((1..=2).contains(&count.inside.load(Ordering::Relaxed))));
        assert_eq!(count.inside.load(Ordering::Relaxed), 0);
        let entered = count.entered.load(Ordering::Relaxed);
        assert!((1..=2).contains(&entered), "{entered}");
        pool.watch(None);
        pool.run(8, |_| {});
        assert_eq!(count.entered.load(Ordering::Relaxed), entered);
    }

    #[test]
    fn nested_calls_run_inline() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        pool.run(5, |_| {
            pool.run(7, |_| {
                sum.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 35);
    }

    #[test]
    fn panic_of_a_task_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(8, |i| assert!(i != 5, "five"))));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(8, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 28);
    }

    #[test]
    fn threads_may_share_a_pool() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..100 {
                        pool.run(3, |_| {
                            sum.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 1200);
    }

    #[test]
    fn chunks_and_ranges_cover_everything() {
        let pool = Pool::new(2);
        let mut out = vec![0usize; 103];
        pool.chunks_mut(&mut out, 10, |i, chunk| chunk.iter_mut().for_each(|v| *v += i + 1));
        assert!(out.iter().enumerate().all(|(i, &v)| v == i / 10 + 1));
        pool.rows_mut(&mut out, 7, 1, |row, rows| {
            rows.iter_mut().enumerate().for_each(|(i, v)| *v = row * 7 + i)
        });
        assert!(out.iter().enumerate().all(|(i, &v)| v == i));
        let mut out = vec![usize::MAX; 50 * 7];
        pool.row_parts_mut(&mut out, 50, 8, |row, offset, part| {
            part.iter_mut().enumerate().for_each(|(i, v)| *v = row * 50 + offset + i);
        });
        assert!(out.iter().enumerate().all(|(i, &v)| v == i));
        let sum = AtomicUsize::new(0);
        pool.parallel_for(1000, 10, |r| {
            sum.fetch_add(r.sum(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 499_500);
    }
}
