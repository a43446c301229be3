//! Simulations of small programs whose answer can be computed by hand from the figures of a device.

use anemone_ane::simulate::{Bound, Class, Coefficients, Load, Route, Timeline, simulate, simulate_with};
use anemone_ane::{Device, Plan, Unit, Units, plan};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, Const, DType, Level, Opset, Program, TensorType, ValueId, VerifiedFunction, Weight, WeightData,
    verify,
};
use std::sync::Arc;

/// 100 µs to start, 100 GB/s for weights, a peak of 16 cores x 256 multiply-adds x 2 x 2.16 GHz.
fn device() -> Arc<Device> {
    let figure = |what: &str, value: &str| {
        format!("[[figures]]\nwhat = \"{what}\"\nvalue = {value}\nstrength = \"measured\"\nsource = \"me\"\n")
    };
    let text = String::from("chip = \"Mine\"\nbased_on = \"m4\"\n")
        + &figure("dispatch_us", "100")
        + &figure("weight_bandwidth_gb_s", "100")
        + &figure("clock_table_hz", "2160000000")
        + &figure("power_w", "5");
    Arc::new(Device::read(&text).expect("a device"))
}

fn weight(b: &mut Builder, shape: &[usize]) -> ValueId {
    let weight = Weight { dtype: DType::F16, shape: shape.to_vec(), data: WeightData::Missing, origin: None };
    b.constant("w", Const::Weight(weight))
}

/// A 1 x 1 convolution, followed by relu when asked for.
fn conv(b: &mut Builder, x: ValueId, channels: [usize; 2], relu: bool) -> Result<ValueId, Fault> {
    let w = weight(b, &[channels[1], channels[0], 1, 1]);
    let op = b.op("conv").arg("x", x).arg("weight", w).ints("strides", &[1, 1]).str("pad_type", "valid");
    let y = op.ints("pad", &[0, 0, 0, 0]).ints("dilations", &[1, 1]).int("groups", 1).one("conv")?;
    if relu { b.op("relu").arg("x", y).one("relu") } else { Ok(y) }
}

fn program(dims: [usize; 4], build: impl FnOnce(&mut Builder, ValueId) -> Result<ValueId, Fault>) -> Program {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, dims));
    let y = build(&mut b, x).expect("well typed");
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    Program::new(function, interface)
}

/// The plan with every op on one unit.
fn on(unit: Unit, function: VerifiedFunction<'_>) -> Plan {
    let mut plan = plan(function, &device(), Units::CpuAndNe);
    plan.ops.iter_mut().for_each(|op| op.preferred = unit);
    plan
}

fn timeline(program: &Program, unit: Unit) -> Timeline {
    let verified = verify(program, Level::Imported).expect("well formed");
    let function = verified.function(None).expect("one function");
    simulate(function, &on(unit, function), &Load::default())
}

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn a_product_of_one_row_takes_as_long_as_its_weights() {
    // 4096 x 4096 fp16 weights are 32 MiB, 335.5 µs at 100 GB/s.
    let t = timeline(&program([1, 4096, 1, 1], |b, x| conv(b, x, [4096, 4096], false)), Unit::Ane);
    let op = &t.ops[0];
    close(op.parts.weights, 33_554_432.0 / 100e9 * 1e3);
    close(op.parts.dispatch, 0.1);
    assert_eq!((op.bound, op.class), (Bound::Weights, Class::Conv));
    let c = Coefficients::known();
    close(op.parts.handoff, 2.0 * 8192.0 / (c.handoff_gb_s * 1e9) * 1e3);
    close(op.parts.activations, 2.0 * 8192.0 / (c.on_chip_gb_s * 1e9) * 1e3);
    close(t.latency.ms, op.parts.weights + op.parts.dispatch + op.parts.handoff);
}

#[test]
fn arithmetic_takes_its_share_of_the_peak() {
    let t = timeline(&program([1, 512, 64, 64], |b, x| conv(b, x, [512, 512], true)), Unit::Ane);
    let (c, peak) = (Coefficients::known(), 16.0 * 256.0 * 2.0 * 2.16e9);
    let flop = 2.0 * 512.0 * 512.0 * 4096.0;
    close(t.ops[0].parts.compute, (flop + c.half_rate_flop) / (peak * c.conv_share) * 1e3);
    // Operands of 4 MiB do not stay in 2 MiB, and are taken in two pieces.
    assert_eq!((t.ops[0].spilled_bytes, t.ops[0].tiles), (2.0 * 4_194_304.0, 2));
    assert!(t.ops[1].fused && t.ops[1].parts.compute == 0.0, "relu is done while the convolution writes");
    close(t.energy.millijoules.expect("a published power"), 5.0 * t.latency.ms);
}

#[test]
fn units_wait_for_each_other_and_hand_tensors_over() {
    let program = program([1, 512, 64, 64], |b, x| {
        let y = conv(b, x, [512, 512], false)?;
        let z = conv(b, y, [512, 512], false)?;
        conv(b, z, [512, 512], false)
    });
    let verified = verify(&program, Level::Imported).expect("well formed");
    let function = verified.function(None).expect("one function");
    let mut plan = on(Unit::Ane, function);
    plan.ops[1].preferred = Unit::Cpu;
    let t = simulate(function, &plan, &Load::default());
    assert_eq!(t.lanes.iter().map(|l| l.unit).collect::<Vec<_>>(), [Unit::Ane, Unit::Cpu, Unit::Ane]);
    let crossing = 4_194_304.0 / (Coefficients::known().handoff_gb_s * 1e9) * 1e3;
    let handed: Vec<f64> = t.lanes.iter().map(|l| l.handoff).collect();
    // In from the caller; to the CPU; to the ANE and out to the caller.
    close(handed[0], crossing);
    close(handed[1], crossing);
    close(handed[2], 2.0 * crossing);
    close(t.lanes.last().map_or(0.0, |l| l.start + l.ms), t.latency.ms);
    let best = &t.changes[0];
    assert_eq!((best.key, best.what.as_str()), ("keep-on-ane", "keep conv \"conv_1\" on the ANE"));
    close(best.ms, t.latency.ms - best.saves);
}

#[test]
fn more_bytes_are_never_faster() {
    for unit in [Unit::Ane, Unit::Cpu, Unit::Gpu] {
        let mut before = 0.0;
        for extent in [8, 16, 31, 32, 33, 64, 128, 256] {
            let t = timeline(&program([1, 64, extent, extent], |b, x| conv(b, x, [64, 64], false)), unit);
            assert!(t.latency.ms >= before, "{unit}, extent {extent}: {} after {before}", t.latency.ms);
            before = t.latency.ms;
        }
        before = 0.0;
        for channels in [16, 64, 256, 1000, 1024, 4096, 8192] {
            let wide = program([1, 64, 8, 8], |b, x| conv(b, x, [64, channels], false));
            let t = timeline(&wide, unit);
            assert!(t.latency.ms >= before, "{unit}, {channels} channels: {} after {before}", t.latency.ms);
            before = t.latency.ms;
        }
    }
}

#[test]
fn calls_add_up_and_a_cold_one_comes_first() {
    let program = program([1, 512, 64, 64], |b, x| conv(b, x, [512, 512], false));
    let verified = verify(&program, Level::Imported).expect("well formed");
    let function = verified.function(None).expect("one function");
    let load = Load { iterations: 10, cold: true, batch: 4, ..Load::default() };
    let c = Coefficients::known().clone();
    let t = simulate_with(function, &on(Unit::Ane, function), &load, &c);
    let cold = t.cold.expect("asked for");
    close(cold.compile.ms, 524_288.0 / (c.compile_mb_s * 1e6) * 1e3);
    close(t.total.ms, 10.0 * t.latency.ms + cold.compile.ms + cold.first_call.ms);
    close(t.per_second.ms, 4.0 * 1e3 / t.latency.ms);
}

/// A row of `corpus/placement/latencies.jsonl` that is one op or a chain of it.
struct Published {
    id: &'static str,
    chip: &'static str,
    /// Channels in and out.
    channels: usize,
    /// Height and width.
    extent: usize,
    layers: usize,
    /// How the program reached the engine.
    route: Route,
}

const fn row(
    id: &'static str,
    chip: &'static str,
    channels: usize,
    extent: usize,
    layers: usize,
) -> Published {
    Published { id, chip, channels, extent, layers, route: Route::Direct }
}

const PUBLISHED: [Published; 6] = [
    row("L0239", "m5-pro", 1024, 1, 1),
    row("L0241", "m5-pro", 4096, 1, 1),
    row("L0242", "m5-pro", 6144, 1, 1),
    Published { route: Route::CoreMl, ..row("L0116", "m5-pro", 512, 64, 128) },
    row("L0127", "m4", 512, 64, 128),
    row("L0143", "m3-max", 2560, 1, 1),
];

#[test]
fn published_latencies_lie_in_their_intervals() {
    let text = include_str!("../../../corpus/placement/latencies.jsonl");
    let records: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    for Published { id, chip, channels, extent, layers, route } in PUBLISHED {
        let measured = records.iter().find(|r| r["id"] == id).and_then(|r| r["ms"].as_f64()).expect("a time");
        let program = program([1, channels, extent, extent], |b, x| {
            (0..layers).try_fold(x, |x, _| conv(b, x, [channels, channels], false))
        });
        let verified = verify(&program, Level::Imported).expect("well formed");
        let function = verified.function(None).expect("one function");
        let mut plan = plan(function, &Device::named(chip).expect("known"), Units::CpuAndNe);
        plan.ops.iter_mut().for_each(|op| op.preferred = Unit::Ane);
        let found = simulate(function, &plan, &Load { route, ..Load::default() }).latency;
        assert!(found.low <= measured && measured <= found.high, "{id}: {measured} is not in {found:?}");
    }
}
