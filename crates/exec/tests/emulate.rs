//! The Neural Engine's arithmetic: every vector that was published of it by name, and every form of product against a
//! model of the accumulator in whole numbers.
//!
//! Published in `751K/Apple-Neural-Engine-Microarchitecture-Study-M6`, notes/numerics.md: measured on an M6, the part on
//! the accumulator repeated on an M4 with equal results.

use anemone_exec::{Arithmetic, EmulatedOp, Emulation, How, Options, Session};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Level, Opset, Program, Tensor, TensorType, ValueId, Weight, verify};
use anemone_model::{Feature, Features, Predict};
use half::f16;

/// Whole numbers that look random (SplitMix64: Steele, Lea, Flood, 2014).
fn noise(i: u64) -> u64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `fp16` numbers of exponents from `low` to `high`, some of them 0.
fn halves(seed: u64, count: usize, low: i32, high: i32) -> Vec<f16> {
    let one = |i: u64| {
        let n = noise(seed.wrapping_mul(1_000_003).wrapping_add(i));
        let exponent = low + (n >> 32) as i32 % (high - low + 1);
        let size = (1.0 + (n & 0x3ff) as f64 / 1024.0) * 2f64.powi(exponent);
        match n >> 60 {
            0 => f16::ZERO,
            s if s & 1 == 1 => f16::from_f64(-size),
            _ => f16::from_f64(size),
        }
    };
    (0..count as u64).map(one).collect()
}

fn tensor(shape: &[usize], values: &[f16]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
    Tensor::new(DType::F16, shape, bytes).expect("shape fits")
}

fn numbers(t: &Tensor) -> Vec<f16> {
    t.bytes().as_chunks::<2>().0.iter().map(|c| f16::from_bits(u16::from_le_bytes(*c))).collect()
}

type Made = Result<ValueId, Fault>;

/// A function of `fp16` inputs with every op of it emulated.
struct Emulated {
    outputs: Features,
    ops: Vec<EmulatedOp>,
}

impl Emulated {
    fn run(
        arithmetic: Arithmetic,
        inputs: &[Tensor],
        threads: usize,
        build: impl FnOnce(&mut Builder, &[ValueId]) -> Made,
    ) -> Emulated {
        let mut b = Builder::new("main", Opset::Ios18);
        let named = |i: usize| format!("x{i}");
        let ids: Vec<ValueId> = (inputs.iter().enumerate())
            .map(|(i, t)| b.input(&named(i), TensorType::new(t.dtype(), t.shape().iter().copied())))
            .collect();
        let y = build(&mut b, &ids).expect("builds");
        b.output(y);
        let function = b.finish();
        let ops = function.walk().into_iter().filter_map(|(_, id)| function.op(id).outputs.first().copied());
        let ops = ops.map(|v| function.value(v).name.to_string()).collect();
        let interface = plain_interface(std::slice::from_ref(&function));
        let program = Program::new(function, interface);
        let verified = verify(&program, Level::Imported).expect("is legal");
        let options = Options { threads, ..Options::default() };
        let emulation = Emulation { ops, arithmetic, measure: true };
        let mut session =
            Session::emulating(verified.function(None).expect("one"), &options, &emulation).expect("loads");
        let features: Features = inputs.iter().enumerate().map(|(i, t)| (named(i), t.clone())).collect();
        let outputs = session.predict(&features).expect("runs");
        Emulated { outputs, ops: session.emulated() }
    }

    fn of(inputs: &[Tensor], build: impl FnOnce(&mut Builder, &[ValueId]) -> Made) -> Emulated {
        Emulated::run(Arithmetic::ALL, inputs, 1, build)
    }

    fn result(&self) -> Vec<f16> {
        numbers(self.outputs.find("y").and_then(Feature::tensor).expect("a tensor"))
    }

    fn op(&self, name: &str) -> &EmulatedOp {
        self.ops.iter().find(|op| op.name == name).expect("is emulated")
    }
}

/// The accumulator in whole numbers, as the page describes it.
struct Accumulator {
    steps: i64,
    /// Sign of the end of the range that was met.
    out: Option<i64>,
    largest: i64,
}

/// Sign, significand and exponent: the number is `significand * 2^(exponent - 10)`.
fn parts(x: f16) -> (i64, i64, i32) {
    let bits = x.to_bits();
    let (field, fraction) = (i32::from(bits >> 10 & 0x1f), i64::from(bits & 0x3ff));
    let sign = if bits & 0x8000 == 0 { 1 } else { -1 };
    if field == 0 { (sign, fraction, -14) } else { (sign, fraction + 1024, field - 15) }
}

/// `value * 2^shift` rounded half away from zero, for values that are not negative.
fn shifted(value: i64, shift: i32) -> i64 {
    match shift {
        0.. => value << shift,
        -62..0 => (value + (1 << (-shift - 1))) >> -shift,
        _ => 0,
    }
}

impl Accumulator {
    fn starting(bias: f16) -> Accumulator {
        let (sign, size, exponent) = parts(bias);
        let mut sum = Accumulator { steps: 0, out: None, largest: 0 };
        sum.add(sign * shifted(size, exponent - 10 + 16));
        sum
    }

    fn add(&mut self, steps: i64) {
        self.steps += steps;
        self.largest = self.largest.max(self.steps.abs());
        if self.steps.abs() >= 1 << 31 {
            self.out.get_or_insert(self.steps.signum());
        }
    }

    fn product(&mut self, w: f16, x: f16) {
        let ((sw, w, ew), (sx, x, ex)) = (parts(w), parts(x));
        if ew + ex >= -16 {
            self.add(sw * sx * shifted(w * x, ew + ex - 20 + 16));
        }
    }

    fn result(&self) -> f16 {
        if let Some(sign) = self.out {
            return if sign > 0 { f16::INFINITY } else { f16::NEG_INFINITY };
        }
        let (sign, size) = (self.steps.signum(), self.steps.abs());
        // 11 digits are kept; a step of 2^-16 is coarser than the least fp16 number.
        let spare = (64 - size.leading_zeros() as i32 - 11).max(0);
        let kept = shifted(size, -spare) << spare;
        f16::from_f64((sign * kept) as f64 / 65536.0)
    }
}

/// The result of a sum: bias, and weights with inputs.
fn sum(bias: f16, terms: impl Iterator<Item = (f16, f16)>) -> Accumulator {
    let mut sum = Accumulator::starting(bias);
    terms.for_each(|(w, x)| sum.product(w, x));
    sum
}

fn two(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

const INF: f64 = f64::INFINITY;

/// One row of the page's table.
struct Vector {
    name: &'static str,
    bias: f64,
    terms: Vec<(f64, f64)>,
    expected: f64,
}

fn vectors() -> Vec<Vector> {
    let plain = |name, bias, xs: &[f64], expected| {
        let terms = xs.iter().map(|&x| (1.0, x)).collect();
        Vector { name, bias, terms, expected }
    };
    let one = |name, w, x, expected| Vector { name, bias: 0.0, terms: vec![(w, x)], expected };
    let half = 16384.0;
    vec![
        plain("32752 stays", 0.0, &[32752.0], 32752.0),
        plain("32768 is infinite", 0.0, &[32768.0], INF),
        plain("16384 + 16376 rounds up to 32768", 0.0, &[half, 16376.0], 32768.0),
        plain("16384 + 16384 is infinite", 0.0, &[half, half], INF),
        plain("an infinite sum stays so", 0.0, &[half, half, -half, -half, 1.0], INF),
        plain("2^-16 survives beside 16384", 0.0, &[half, two(-16), -half], two(-16)),
        plain("2^-18 does not", 0.0, &[half, two(-18), -half], 0.0),
        plain("2^-17 rounds up to a step", 0.0, &[two(-17)], two(-16)),
        plain("2^-18 rounds to 0", 0.0, &[two(-18)], 0.0),
        plain("2048 + 1 rounds away from zero", 0.0, &[2048.0, 1.0], 2050.0),
        plain("-4096 - 2 rounds away from zero", 0.0, &[-4096.0, -2.0], -4100.0),
        plain("a bias makes room", -half, &[half, half], half),
        plain("a bias makes room for two, not three", -half, &[half, half, half], INF),
        plain("a bias counts towards the range", 32.0, &[32752.0], INF),
        plain("a bias counts exactly", 32.0, &[32736.0], INF),
        plain("a bias of 2^-20 rounds to 0", two(-20), &[0.0], 0.0),
        plain("a bias of 2^-17 rounds up to a step", two(-17), &[0.0], two(-16)),
        plain("bias and product round one by one", two(-17), &[two(-17)], two(-15)),
        one("exponents of -17 drop 1.76 steps", 1.875 * two(-3), 1.875 * two(-14), 0.0),
        one("exponents of -17 drop 1.43 steps", 1.5 * two(-4), 1.9 * two(-13), 0.0),
        one("exponents of -16 round 1.5 steps", 0.125, 1.5 * two(-13), two(-15)),
        one("a subnormal number counts as -14", 0.25, 0.5 * two(-14), two(-16)),
        plain("1 survives between +2048 and -2048, last", 0.0, &[2048.0, -2048.0, 1.0], 1.0),
        plain("1 survives between +2048 and -2048, in the middle", 0.0, &[2048.0, 1.0, -2048.0], 1.0),
        plain("1 survives between +2048 and -2048, first", 0.0, &[1.0, 2048.0, -2048.0], 1.0),
        plain("2049 -> 2050", 0.0, &[2048.0, 1.0], 2050.0),
        plain("-2049 -> -2050", 0.0, &[-2048.0, -1.0], -2050.0),
        plain("4098 -> 4100", 0.0, &[4096.0, 2.0], 4100.0),
        plain("1 + 2^-11 -> 1 + 2^-10", 0.0, &[1.0, two(-11)], 1.0 + two(-10)),
        plain("infinity is 2^16 and overflows", 0.0, &[INF], INF),
        plain("NaN is a number and overflows", 0.0, &[f64::NAN], INF),
        one("infinity is 2^16", 0.25, INF, 16384.0),
        one("NaN is 1.5 * 2^16", 0.25, f64::NAN, 24576.0),
    ]
}

/// `y = w * x + b` through one kind of op, with `count` equal results.
fn through(kind: &str, v: &Vector, count: usize) -> Emulated {
    let k = v.terms.len();
    let (w, x): (Vec<f16>, Vec<f16>) =
        v.terms.iter().map(|&(w, x)| (f16::from_f64(w), f16::from_f64(x))).unzip();
    let across = |values: &[f16]| values.iter().flat_map(|&v| vec![v; count]).collect::<Vec<f16>>();
    let bias = tensor(&[1], &[f16::from_f64(v.bias)]);
    match kind {
        "conv" => Emulated::of(&[tensor(&[1, k, 1, count], &across(&x))], |b, ids| {
            let w = b.constant("w", Weight::of(&tensor(&[1, k, 1, 1], &w)));
            b.op("conv")
                .arg("x", ids[0])
                .arg("weight", w)
                .literal("bias", bias)
                .str("pad_type", "valid")
                .one("y")
        }),
        "linear" => {
            let rows: Vec<f16> = (0..count).flat_map(|_| x.clone()).collect();
            Emulated::of(&[tensor(&[count, k], &rows)], |b, ids| {
                let w = b.constant("w", Weight::of(&tensor(&[1, k], &w)));
                b.op("linear").arg("x", ids[0]).arg("weight", w).literal("bias", bias).one("y")
            })
        }
        _ => Emulated::of(&[tensor(&[1, k], &w), tensor(&[k, count], &across(&x))], |b, ids| {
            b.op("matmul").arg("x", ids[0]).arg("y", ids[1]).one("y")
        }),
    }
}

#[test]
fn every_published_sum_comes_out() {
    for v in vectors() {
        for kind in ["conv", "linear", "matmul"] {
            for count in [1, 3, 40] {
                if kind == "matmul" && v.bias != 0.0 {
                    continue;
                }
                let result = through(kind, &v, count).result();
                let expected = f16::from_f64(v.expected);
                assert_eq!(result, vec![expected; count], "{}, {kind} {count} times", v.name);
            }
        }
    }
}

/// The model of the other tests gives what the page says, too.
#[test]
fn the_accumulator_in_whole_numbers_is_that_of_the_page() {
    for v in vectors() {
        let terms = v.terms.iter().map(|&(w, x)| (f16::from_f64(w), f16::from_f64(x)));
        assert_eq!(sum(f16::from_f64(v.bias), terms).result(), f16::from_f64(v.expected), "{}", v.name);
    }
}

#[test]
fn minus_zero_comes_out_as_zero() {
    let v = Vector { name: "", bias: 0.0, terms: vec![(-1.0, 0.0)], expected: 0.0 };
    for kind in ["conv", "linear", "matmul"] {
        assert_eq!(through(kind, &v, 1).result()[0].to_bits(), 0, "{kind}");
    }
}

#[test]
fn what_is_not_known_of_a_chip_is_computed_as_without_it() {
    let inputs = [tensor(&[1, 2], &[f16::from_f64(16384.0); 2])];
    let build = |b: &mut Builder, ids: &[ValueId]| {
        let w = b.constant("w", Weight::of(&tensor(&[1, 2], &[f16::ONE; 2])));
        b.op("linear").arg("x", ids[0]).arg("weight", w).one("y")
    };
    let run = Emulated::run(Arithmetic::default(), &inputs, 1, build);
    assert_eq!((run.result()[0].to_f32(), run.op("y").how), (32768.0, How::Unknown));
    assert_eq!(Emulated::of(&inputs, build).op("y").how, How::Sums);
}

/// Ranges of exponents: sums far below the limit, around it, far above it, and products around the least step.
const RANGES: [(i32, i32); 4] = [(-6, 2), (4, 8), (8, 15), (-20, -4)];

fn same(place: &str, actual: &[f16], expected: &[f16]) {
    let wrong = actual.iter().zip(expected).position(|(a, e)| a.to_bits() != e.to_bits());
    assert_eq!(actual.len(), expected.len(), "{place}");
    assert_eq!(wrong, None, "{place}: {:?}", wrong.map(|i| (actual[i], expected[i])));
}

#[test]
fn products_are_those_of_the_accumulator() {
    for (seed, (low, high)) in (0..).zip(RANGES) {
        for (m, k, n) in [(1, 70, 33), (5, 40, 3), (37, 19, 18), (2, 1, 1)] {
            let (x, y) = (halves(seed, m * k, low, high), halves(seed + 90, k * n, low, high));
            let expected: Vec<f16> = (0..m * n)
                .map(|i| sum(f16::ZERO, (0..k).map(|t| (x[i / n * k + t], y[t * n + i % n]))).result())
                .collect();
            let turned = |v: &[f16], rows: usize, columns: usize| -> Vec<f16> {
                (0..rows * columns).map(|i| v[i % rows * columns + i / rows]).collect()
            };
            for (tx, ty) in [(false, false), (true, false), (false, true), (true, true)] {
                let a = if tx { tensor(&[k, m], &turned(&x, m, k)) } else { tensor(&[m, k], &x) };
                let b = if ty { tensor(&[n, k], &turned(&y, k, n)) } else { tensor(&[k, n], &y) };
                let run = Emulated::run(Arithmetic::ALL, &[a, b], 1 + seed as usize % 3, |b, ids| {
                    let op = b.op("matmul").arg("x", ids[0]).arg("y", ids[1]);
                    op.bool("transpose_x", tx).bool("transpose_y", ty).one("y")
                });
                same(&format!("{m}x{k}x{n} of 2^{low} to 2^{high}, {tx} {ty}"), &run.result(), &expected);
            }
        }
    }
}

#[test]
fn batches_broadcast_and_einsum_sums_over_its_letter() {
    let (x, y) = (halves(1, 2 * 3 * 4 * 5, 0, 9), halves(2, 3 * 5 * 6, 0, 9));
    let run = Emulated::of(&[tensor(&[2, 3, 4, 5], &x), tensor(&[1, 3, 5, 6], &y)], |b, ids| {
        b.op("matmul").arg("x", ids[0]).arg("y", ids[1]).one("y")
    });
    let mut expected = Vec::new();
    for (i, m, n) in (0..6).flat_map(|i| (0..4).flat_map(move |m| (0..6).map(move |n| (i, m, n)))) {
        let terms = (0..5).map(|k| (x[(i * 4 + m) * 5 + k], y[(i % 3 * 5 + k) * 6 + n]));
        expected.push(sum(f16::ZERO, terms).result());
    }
    same("matmul", &run.result(), &expected);

    let (x, y) = (halves(3, 2 * 3 * 4 * 5, 0, 9), halves(4, 2 * 5 * 4 * 6, 0, 9));
    let run = Emulated::of(&[tensor(&[2, 3, 4, 5], &x), tensor(&[2, 5, 4, 6], &y)], |b, ids| {
        b.op("einsum").args("values", ids.to_vec()).str("equation", "nchw,nwhu->nchu").one("y")
    });
    let mut expected = Vec::new();
    for (n, c) in (0..2).flat_map(|n| (0..3).map(move |c| (n, c))) {
        for (h, u) in (0..4).flat_map(|h| (0..6).map(move |u| (h, u))) {
            let terms = (0..5).map(|w| (x[((n * 3 + c) * 4 + h) * 5 + w], y[((n * 5 + w) * 4 + h) * 6 + u]));
            expected.push(sum(f16::ZERO, terms).result());
        }
    }
    same("einsum", &run.result(), &expected);
}

/// A convolution: batch, input channels, output channels, groups, and per dim extent, kernel, stride, dilation, padding
/// before and after.
struct Geometry {
    channels: (usize, usize, usize, usize),
    dims: Vec<[usize; 6]>,
}

impl Geometry {
    fn output(&self, d: usize) -> usize {
        let [extent, kernel, stride, dilation, before, after] = self.dims[d];
        (extent + before + after - (kernel - 1) * dilation - 1) / stride + 1
    }

    /// Input positions that the window of an output position reads, tap by tap; `None` in the padding.
    fn taps(&self, position: usize) -> Vec<Option<usize>> {
        let mut rest = position;
        let mut at = vec![0; self.dims.len()];
        for d in (0..at.len()).rev() {
            (at[d], rest) = (rest % self.output(d), rest / self.output(d));
        }
        let mut all = vec![Some(0)];
        for (d, &[extent, kernel, stride, dilation, before, _]) in self.dims.iter().enumerate() {
            let inside =
                |k: usize| (at[d] * stride + k * dilation).checked_sub(before).filter(|&i| i < extent);
            all =
                all.iter().flat_map(|&p| (0..kernel).map(move |k| Some(p? * extent + inside(k)?))).collect();
        }
        all
    }

    /// In the stated order: taps, and all channels of a tap before the next.
    fn expected(&self, x: &[f16], w: &[f16], bias: &[f16]) -> Vec<f16> {
        let (batch, inputs, outputs, groups) = self.channels;
        let plane: usize = self.dims.iter().map(|d| d[0]).product();
        let taps: usize = self.dims.iter().map(|d| d[1]).product();
        let positions: usize = (0..self.dims.len()).map(|d| self.output(d)).product();
        let inner = inputs / groups;
        let mut out = Vec::new();
        for (n, o) in (0..batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
            for p in 0..positions {
                let first = n * inputs + o / (outputs / groups) * inner;
                let found = self.taps(p);
                let pairs = found.iter().enumerate().flat_map(|(t, place)| {
                    (0..inner).map(move |c| {
                        let x = place.map_or(f16::ZERO, |place| x[(first + c) * plane + place]);
                        (w[(o * inner + c) * taps + t], x)
                    })
                });
                out.push(sum(bias[o], pairs).result());
            }
        }
        out
    }
}

#[test]
fn convolutions_of_every_form_are_those_of_the_accumulator() {
    let forms = [
        Geometry { channels: (2, 3, 5, 1), dims: vec![[9, 3, 1, 1, 1, 1]] },
        Geometry { channels: (1, 4, 6, 2), dims: vec![[7, 3, 2, 1, 1, 0], [8, 2, 1, 3, 2, 1]] },
        Geometry { channels: (2, 6, 6, 6), dims: vec![[10, 3, 1, 1, 1, 1], [11, 3, 2, 1, 0, 1]] },
        Geometry { channels: (1, 3, 40, 1), dims: vec![[3, 2, 1, 1, 0, 0], [3, 2, 1, 1, 0, 0]] },
        Geometry { channels: (2, 70, 9, 1), dims: vec![[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0]] },
        Geometry {
            channels: (1, 2, 3, 1),
            dims: vec![[4, 2, 1, 1, 0, 1], [5, 3, 2, 1, 1, 1], [6, 2, 1, 2, 3, 0]],
        },
    ];
    for (seed, (low, high)) in (0..).zip(RANGES) {
        for (f, form) in forms.iter().enumerate() {
            let (batch, inputs, outputs, groups) = form.channels;
            let of = |column: usize| form.dims.iter().map(|d| d[column]).collect::<Vec<usize>>();
            let shape = [vec![batch, inputs], of(0)].concat();
            let kernel = [vec![outputs, inputs / groups], of(1)].concat();
            let size = |s: &[usize]| s.iter().product::<usize>();
            let (x, w) = (halves(seed, size(&shape), low, high), halves(seed + 7, size(&kernel), low, high));
            let bias = halves(seed + 9, outputs, low, high);
            let list = |v: Vec<usize>| v.into_iter().map(|n| n as i32).collect::<Vec<i32>>();
            let pads: Vec<usize> = form.dims.iter().flat_map(|d| [d[4], d[5]]).collect();
            let run = Emulated::run(Arithmetic::ALL, &[tensor(&shape, &x)], 1 + f % 2, |b, ids| {
                let weight = b.constant("w", Weight::of(&tensor(&kernel, &w)));
                let op = b
                    .op("conv")
                    .arg("x", ids[0])
                    .arg("weight", weight)
                    .literal("bias", tensor(&[outputs], &bias));
                let op = op
                    .ints("strides", &list(of(2)))
                    .ints("dilations", &list(of(3)))
                    .str("pad_type", "custom");
                op.ints("pad", &list(pads)).int("groups", groups as i32).one("y")
            });
            let expected = form.expected(&x, &w, &bias);
            same(&format!("form {f} of 2^{low} to 2^{high}"), &run.result(), &expected);
        }
    }
}

/// What is told of sums is what they come to one by one, and no order of addition gives more than the other figure.
#[test]
fn running_sums_are_measured() {
    for (seed, (low, high)) in (0..).zip(RANGES) {
        let (k, n) = (50, 20);
        let (x, w) = (halves(seed, k, low, high), halves(seed + 5, n * k, low, high));
        let run = Emulated::of(&[tensor(&[1, k], &x)], |b, ids| {
            let weight = b.constant("w", Weight::of(&tensor(&[n, k], &w)));
            b.op("linear").arg("x", ids[0]).arg("weight", weight).one("y")
        });
        let sums: Vec<Accumulator> =
            (0..n).map(|r| sum(f16::ZERO, (0..k).map(|t| (w[r * k + t], x[t])))).collect();
        let told = run.op("y").sums.expect("is measured");
        let largest = sums.iter().map(|s| s.largest).max().unwrap() as f64 / 65536.0;
        assert!(told.largest == largest, "{} and {largest}", told.largest);
        assert_eq!(told.infinite, sums.iter().filter(|s| s.out.is_some()).count() as u64);
        assert_eq!((told.results, told.limit), (n as u64, 32768.0));
        let size = |r: usize| (0..k).map(|t| w[r * k + t].to_f64().abs() * x[t].to_f64().abs()).sum::<f64>();
        let most = (0..n).map(size).fold(0.0, f64::max) + k as f64 / 131_072.0;
        assert!(told.any_order >= told.largest && told.any_order <= most, "{told:?}, {most}");
    }
}

/// A product is off by a step at most: half of one when it is rounded, less than two when it is dropped.
#[test]
fn small_sums_are_near_those_in_f32() {
    let (k, n) = (300, 64);
    let (x, w) = (halves(11, k, -8, 1), halves(12, n * k, -12, -2));
    let run = Emulated::of(&[tensor(&[1, k], &x)], |b, ids| {
        let weight = b.constant("w", Weight::of(&tensor(&[n, k], &w)));
        b.op("linear").arg("x", ids[0]).arg("weight", weight).one("y")
    });
    for (r, y) in run.result().iter().enumerate() {
        let exact: f64 = (0..k).map(|t| w[r * k + t].to_f64() * x[t].to_f64()).sum();
        let bound = 2.0 * k as f64 / 65536.0 + exact.abs() / 1024.0;
        assert!((y.to_f64() - exact).abs() <= bound, "row {r}: {y}, but {exact}");
    }
}

/// 8-bit activations of scale `scales.0` and weights of scale `scales.1`, `count` products of `x` and `w`.
fn whole(kind: &str, count: usize, (x, w): (i64, i64), scales: (f64, f64), offset: f64) -> Emulated {
    let scalar = |v: f64| Tensor::scalar_f64(DType::F16, v);
    let shape = if kind == "conv" { vec![1, count, 1, 1] } else { vec![1, count] };
    let input = tensor(&shape, &vec![f16::from_f64(x as f64 * scales.0); count]);
    Emulated::of(&[input], |b, ids| {
        let q = b
            .op("quantize")
            .arg("input", ids[0])
            .literal("scale", scalar(scales.0))
            .str("output_dtype", "int8")
            .one("q")?;
        let x = b.op("dequantize").arg("input", q).literal("scale", scalar(scales.0)).one("x")?;
        let codes = Tensor::from_i64s(DType::I8, shape.clone(), &vec![w; count]).expect("fits");
        let codes = b.constant("codes", Weight::of(&codes));
        let scale = Tensor::from_f64s(DType::F16, vec![1; shape.len()], &[scales.1]).expect("fits");
        let weight =
            b.op("constexpr_blockwise_shift_scale").arg("data", codes).literal("scale", scale).one("w")?;
        let bias = tensor(&[1], &[f16::from_f64(offset)]);
        b.op(kind).arg("x", x).arg("weight", weight).literal("bias", bias).one("y")
    })
}

#[test]
fn sums_of_8_bit_products_end_at_2_to_the_31() {
    for kind in ["linear", "conv"] {
        let (low, high) = (1 << 16, 1 << 17);
        let run = whole(kind, low, (-128, -128), (two(-10), two(-10)), 0.0);
        assert_eq!(
            (run.result()[0].to_f64(), run.op("y").how),
            (1024.0, How::WholeSums),
            "2^30 is exact, {kind}"
        );
        assert_eq!(run.op("y").sums.expect("is measured").largest, two(30));
        let run = whole(kind, high, (-128, -128), (two(-10), two(-10)), 0.0);
        assert_eq!(run.result()[0], f16::INFINITY, "2^31 is infinite whatever the scale, {kind}");
        let run = whole(kind, low, (-128, -128), (two(-10), 63.0 * two(-10)), 0.0);
        assert_eq!(run.result()[0].to_f64(), 64512.0, "outputs reach 64512, {kind}");
    }
}

#[test]
fn eight_bit_products_are_scaled_and_biased() {
    for kind in ["linear", "conv"] {
        let run = whole(kind, 5, (7, -3), (0.5, 0.25), 2.0);
        assert_eq!(run.result()[0].to_f64(), -105.0 * 0.125 + 2.0, "{kind}");
    }
}

/// Weights alone of 8 bits take the path in fixed point.
#[test]
fn weights_of_8_bits_alone_are_unpacked_first() {
    let run = Emulated::of(&[tensor(&[1, 2], &[f16::from_f64(16384.0); 2])], |b, ids| {
        let codes =
            b.constant("codes", Weight::of(&Tensor::from_i64s(DType::I8, [1, 2], &[2, 2]).expect("fits")));
        let scale = Tensor::from_f64s(DType::F16, [1, 1], &[0.5]).expect("fits");
        let weight =
            b.op("constexpr_blockwise_shift_scale").arg("data", codes).literal("scale", scale).one("w")?;
        b.op("linear").arg("x", ids[0]).arg("weight", weight).one("y")
    });
    assert_eq!((run.result()[0], run.op("y").how), (f16::INFINITY, How::Sums));
}

#[test]
fn every_published_elementwise_result_comes_out() {
    for (name, kind, a, b, expected) in [
        ("40000 + 1 is in range", "add", 40000.0, 1.0, 40000.0),
        ("256 * 256 is infinite", "mul", 256.0, 256.0, INF),
        ("subnormal numbers are kept", "add", two(-24), two(-24), two(-23)),
        ("2048 + 1 rounds away from zero", "add", 2048.0, 1.0, 2050.0),
        ("-2048 - 1 rounds away from zero", "sub", -2048.0, 1.0, -2050.0),
        ("NaN + 1 is infinite", "add", f64::NAN, 1.0, INF),
    ] {
        let scalar = |v: f64| tensor(&[1], &[f16::from_f64(v)]);
        let run = Emulated::of(&[scalar(a), scalar(b)], |builder, ids| {
            builder.op(kind).arg("x", ids[0]).arg("y", ids[1]).one("y")
        });
        assert_eq!(run.result()[0], f16::from_f64(expected), "{name}");
        assert_eq!(run.op("y").how, How::Elementwise);
    }
}

#[test]
fn functions_without_a_table_are_exact() {
    let x = [-3.0, -0.5, 0.0, 0.25, 5.0].map(f16::from_f64);
    for (kind, expected) in [
        ("relu", [0.0, 0.0, 0.0, 0.25, 5.0]),
        ("abs", [3.0, 0.5, 0.0, 0.25, 5.0]),
        ("sign", [-1.0, -1.0, 0.0, 1.0, 1.0]),
        ("square", [9.0, 0.25, 0.0, 0.0625, 25.0]),
    ] {
        let run = Emulated::of(&[tensor(&[5], &x)], |b, ids| b.op(kind).arg("x", ids[0]).one("y"));
        assert_eq!(run.result(), expected.map(f16::from_f64), "{kind}");
    }
}

/// The largest errors that the study saw; within the crate every `fp16` number is looked at.
#[test]
fn activations_are_read_from_tables() {
    let x: Vec<f16> = (-80..=80).map(|i| f16::from_f64(f64::from(i) / 10.0)).collect();
    let run = |kind: &str, how: How| {
        let run = Emulated::of(&[tensor(&[x.len()], &x)], |b, ids| match kind {
            "gelu" => b.op(kind).arg("x", ids[0]).str("mode", "EXACT").one("y"),
            _ => b.op(kind).arg("x", ids[0]).one("y"),
        });
        assert_eq!(run.op("y").how, how, "{kind}");
        run.result()
    };
    let error = |y: &[f16], f: fn(f64) -> f64| {
        y.iter().zip(&x).map(|(y, x)| (y.to_f64() - f(x.to_f64())).abs()).fold(0.0, f64::max)
    };
    let sigmoid = error(&run("sigmoid", How::Table), |x| 1.0 / (1.0 + (-x).exp()));
    let tanh = error(&run("tanh", How::Table), f64::tanh);
    let silu = error(&run("silu", How::Fitted), |x| x / (1.0 + (-x).exp()));
    assert!((1e-3..=3.45e-3).contains(&sigmoid), "{sigmoid}");
    assert!((5e-4..=1.65e-3).contains(&tanh), "{tanh}");
    assert!((5e-3..=1.55e-2).contains(&silu), "{silu}");
    assert_eq!(run("gelu", How::Fitted).len(), x.len());
}

/// Norms and softmax are computed in steps; what is known of a step is emulated.
#[test]
fn softmax_is_computed_in_steps() {
    let x = [0.5, 1.0, -2.0, 3.0].map(f16::from_f64);
    let run = Emulated::of(&[tensor(&[1, 4], &x)], |b, ids| {
        b.op("softmax").arg("x", ids[0]).int("axis", -1).one("y")
    });
    let kinds: Vec<(&str, How)> = run.ops.iter().map(|op| (op.kind.as_str(), op.how)).collect();
    assert_eq!(
        kinds,
        [
            ("reduce_max", How::Moves),
            ("sub", How::Elementwise),
            ("exp", How::Table),
            ("reduce_sum", How::Unknown),
            ("real_div", How::Elementwise)
        ]
    );
    let total: f64 = run.result().iter().map(|v| v.to_f64()).sum();
    assert!((total - 1.0).abs() < 4.0 / 1024.0, "{total}");
}

/// Extents that are known only while a model runs do not change the arithmetic.
#[test]
fn ops_planned_while_they_run_are_emulated() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, [4]));
    let w = b.input("w", TensorType::new(DType::F16, [4, 1]));
    let places = b.op("non_zero").arg("x", x).one("places").expect("builds");
    let kept = b.op("gather_nd").arg("x", x).arg("indices", places).one("kept").expect("builds");
    let twice = b.op("add").arg("x", kept).arg("y", kept).one("y").expect("builds");
    b.output(twice);
    let _ = w;
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("is legal");
    let emulation = Emulation { ops: ["y".to_owned()].into(), arithmetic: Arithmetic::ALL, measure: false };
    let mut session =
        Session::emulating(verified.function(None).expect("one"), &Options::default(), &emulation)
            .expect("loads");
    let inputs = Features::from_iter([
        ("x", tensor(&[4], &[f16::NAN, f16::ZERO, f16::ONE, f16::ZERO])),
        ("w", tensor(&[4, 1], &[f16::ONE; 4])),
    ]);
    let outputs = session.predict(&inputs).expect("runs");
    let y = numbers(outputs.find("y").and_then(Feature::tensor).expect("a tensor"));
    assert_eq!(y, [f16::INFINITY, f16::from_f64(2.0)]);
}
