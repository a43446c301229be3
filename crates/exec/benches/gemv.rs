//! Matrix-vector products from memory against a plain read loop: `cargo bench -p anemone-exec --bench gemv`.
//!
//! Weights of 256 MB (`-- --megabytes N` for another size), far beyond the caches, are cut into pieces of 8 MB. Round after
//! round (`-- --rounds N`) the read loop and every product take a piece in turn, each one that nobody has touched for
//! long, on the same threads; a piece is done within a slice of the scheduler, so that the best tenth of the pieces
//! tells what the machine can do even while it is busy. Rates are packed bytes per second. Beside them stands the rate
//! over a piece that stays in the caches: what the kernel does when memory is no limit. `-- --only TEXT` takes the weights
//! and instruction sets whose names hold it, `-- --columns N` other rows.

use anemone_exec::kernels::Epilogue;
use anemone_exec::kernels::packed::{Code, Grid, PackedMatrix, PackedProduct};
use anemone_exec::kernels::simd::{Isa, Kernel, Simd};
use anemone_exec::pool::Pool;
use anemone_tensor::Bytes;
use std::hint::black_box;
use std::time::Instant;

/// Adds up a piece of memory as it is.
struct Read<'a>(&'a [u8]);

impl Kernel for Read<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let vector = 4 * S::LANES;
        let mut sums = [s.splat(0.0); 8];
        for line in self.0.chunks_exact(8 * vector) {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: eight vectors to a line.
                let v = unsafe { s.load(line.as_ptr().add(i * vector).cast()) };
                *sum = s.add(*sum, v);
            }
        }
        sums.into_iter().map(|v| s.sum(v)).sum()
    }
}

/// Reads all bytes on all threads.
fn read(bytes: &[u8], pool: &Pool) {
    let parts = pool.threads() * 4;
    let part = bytes.len() / parts;
    pool.run(parts, |i| {
        black_box(pool.isa().run(Read(&bytes[i * part..(i + 1) * part])));
    });
}

/// Bytes of a piece.
const PIECE: usize = 8 << 20;

/// Bytes of the piece that stays in the caches.
const NEAR: usize = 512 << 10;

struct Contender {
    name: &'static str,
    /// A matrix for every piece.
    pieces: Vec<PackedMatrix>,
    /// A matrix that stays in the caches.
    near: PackedMatrix,
    half: bool,
}

fn contenders(bytes: &Bytes, columns: usize) -> Vec<Contender> {
    let make = |name, half, code: Code, finish: &dyn Fn(PackedMatrix) -> PackedMatrix| {
        let matrix = |start: usize, len: usize| {
            let row_bits = columns * code.bits() as usize;
            let rows = (len * 8 / row_bits / 16 * 16).max(16);
            let bytes = bytes.slice(start..start + rows * row_bits / 8);
            finish(PackedMatrix::new(rows, columns, code, bytes).expect("fits"))
        };
        let pieces = (0..bytes.len() / PIECE).map(|i| matrix(i * PIECE, PIECE)).collect();
        Contender { name, pieces, near: matrix(0, NEAR), half }
    };
    let palette = |bits: u32, group: usize| {
        move |m: PackedMatrix| {
            let (width, down) = (1 << bits, m.rows().div_ceil(group));
            let values = (0..down * width).map(|i| (i % width) as f32 / width as f32 - 0.5).collect();
            m.with_tables(Grid { down, across: 1, width, values }).expect("fits")
        }
    };
    let scaled = |across: usize| {
        move |m: PackedMatrix| {
            let (rows, count) = (m.rows(), m.rows() * across);
            m.with_scales(Grid::scalars(rows, across, vec![0.01; count])).expect("fits")
        }
    };
    let (int, index) = (|bits: u32| Code::Int { bits, signed: true }, |bits: u32| Code::Index { bits });
    let plain = |m: PackedMatrix| m;
    vec![
        make("fp32", false, Code::F32, &plain),
        make("fp16", true, Code::F16, &plain),
        make("int8 per channel, fp16", true, int(8), &scaled(1)),
        make("int8 per channel, fp32", false, int(8), &scaled(1)),
        make("int4 per channel, fp16", true, int(4), &scaled(1)),
        make("int4 blocks of 32, fp16", true, int(4), &scaled(columns / 32)),
        make("4-bit palette, fp16", true, index(4), &palette(4, usize::MAX)),
        make("4-bit palettes of 16 rows, fp16", true, index(4), &palette(4, 16)),
        make("4-bit palette, fp32", false, index(4), &palette(4, usize::MAX)),
        make("2-bit palette", true, index(2), &palette(2, usize::MAX)),
        make("3-bit palette", true, index(3), &palette(3, usize::MAX)),
        make("6-bit palette", true, index(6), &palette(6, usize::MAX)),
        make("8-bit palette", true, index(8), &palette(8, usize::MAX)),
    ]
}

fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut args = std::env::args().skip_while(|a| a != name).skip(1);
    args.next().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Bytes per second of the best tenth.
fn rate(bytes: usize, seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    bytes as f64 / seconds[seconds.len() / 10]
}

fn main() {
    let (megabytes, rounds, columns): (usize, usize, usize) =
        (option("--megabytes", 256), option("--rounds", 6), option("--columns", 4096));
    let only: String = option("--only", String::new());
    // Finite numbers in every type, and every code.
    let noise = |i: usize| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8 & 0xbf;
    let bytes: Bytes = (0..(megabytes << 20).max(PIECE)).map(noise).collect::<Vec<u8>>().into();
    let mut contenders = contenders(&bytes, columns);
    let isas: Vec<Isa> = Isa::available().into_iter().filter(|i| i.name().contains(&only)).collect();
    let isas = if isas.is_empty() { Isa::available() } else { isas };
    if contenders.iter().any(|c| c.name.contains(&only)) {
        contenders.retain(|c| c.name.contains(&only));
    }
    println!("{megabytes} MB of weights, {columns} columns, {rounds} rounds, best tenth of the pieces\n");
    println!(
        "{:<34}{:>8}{:>10}{:>14}{:>10}{:>12}",
        "weight", "threads", "GB/s", "plain read", "share", "in cache"
    );
    for (isa, threads) in isas.into_iter().flat_map(|i| [(i, 1), (i, 2)]) {
        let pool = Pool::with_isa(threads, isa);
        table(&contenders, &bytes, rounds, &pool);
    }
}

/// Seconds that a product takes.
fn time(weight: &PackedMatrix, half: bool, x: &[f32], pool: &Pool) -> f64 {
    let product = PackedProduct::new(weight, 1, half, pool);
    let (mut out, mut scratch) = (vec![0.0; weight.rows()], vec![0.0; product.scratch()]);
    let start = Instant::now();
    product.run(x, Epilogue::default(), &mut out, &mut scratch, pool);
    let seconds = start.elapsed().as_secs_f64();
    black_box(out);
    seconds
}

fn table(contenders: &[Contender], bytes: &[u8], rounds: usize, pool: &Pool) {
    let x: Vec<f32> = (0..contenders[0].near.columns()).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let pieces = bytes.len() / PIECE;
    let mut plain = Vec::new();
    let mut times = vec![Vec::new(); contenders.len()];
    for i in 0..rounds * pieces {
        let at = i % pieces;
        let start = Instant::now();
        read(&bytes[at * PIECE..(at + 1) * PIECE], pool);
        plain.push(start.elapsed().as_secs_f64());
        for (c, (contender, times)) in contenders.iter().zip(&mut times).enumerate() {
            // Seven pieces on from contender to contender: none comes back before the caches have forgotten it.
            let weight = &contender.pieces[(i + 7 * (c + 1)) % pieces];
            times.push(time(weight, contender.half, &x, pool));
        }
    }
    let plain = rate(PIECE, &mut plain);
    println!("{}", pool.isa().name());
    for (contender, times) in contenders.iter().zip(&mut times) {
        let Contender { name, pieces, near, half } = contender;
        let mut cached: Vec<f64> = (0..200).map(|_| time(near, *half, &x, pool)).collect();
        let rate_far = rate(pieces[0].byte_len(), times);
        println!(
            "{name:<34}{:>8}{:>10.1}{:>14.1}{:>8.0} %{:>12.1}",
            pool.threads(),
            rate_far / 1e9,
            plain / 1e9,
            100.0 * rate_far / plain,
            rate(near.byte_len(), &mut cached) / 1e9
        );
    }
}
