//! A compressed weight takes about its packed size in memory, whatever products it is used in.

use anemone_exec::{Options, Session};
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Level, Opset, Program, Tensor, TensorType, Weight, verify};
use anemone_model::{Features, Predict};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is allocated, and the most that ever was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the contract of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the contract of the caller.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INPUTS: usize = 2048;
const OUTPUTS: usize = 2048;

/// A layer of 4-bit indices, 2 MB of them.
fn program(rows: usize) -> Program {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, [rows, INPUTS]));
    let indices = Tensor::new(DType::U4, [OUTPUTS, INPUTS], vec![0x5a; OUTPUTS * INPUTS / 2]).expect("fits");
    let lut: Vec<f64> = (0..16).map(f64::from).collect();
    let lut = Tensor::from_f64s(DType::F16, [1, 1, 16, 1], &lut).expect("fits");
    let indices = b.constant("indices", Weight::of(&indices));
    let op = b.op("constexpr_lut_to_dense").arg("indices", indices).literal("lut", lut);
    let weight = op.one("weight").expect("fits");
    let y = b.op("linear").arg("x", x).arg("weight", weight).one("y").expect("fits");
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    Program::new(function, interface)
}

/// One test, since the count is of the whole process.
#[test]
fn peak_memory_of_a_palettised_layer_is_near_its_packed_size() {
    for rows in [1, 4, 64] {
        let program = program(rows);
        let verified = verify(&program, Level::Imported).expect("is valid");
        let x = Tensor::from_f64s(DType::F16, [rows, INPUTS], &vec![1.0; rows * INPUTS]).expect("fits");
        let features: Features = [("x".to_owned(), x)].into_iter().collect();
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let mut session =
            Session::new(verified.function(None).expect("one"), &Options::default()).expect("loads");
        let result = session.predict(&features).expect("runs");
        let peak = PEAK.load(Ordering::Relaxed) - before;
        // 0x5a is 10 and 5 in turn.
        assert_eq!(result.tensor("y").expect("is there").f64_at(0), 15.0 * INPUTS as f64 / 2.0);
        // Activations, results and their copies, and blocks of a matrix product.
        let working = 16 * rows * (INPUTS + OUTPUTS) + (1 << 20);
        let packed = OUTPUTS * INPUTS / 2;
        assert!(peak < packed / 8 + working, "{rows} rows: {peak} bytes beside {packed} of the package");
    }
}
