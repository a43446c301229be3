//! The figures of a device that a simulation needs, those that are not known carried over from a relative.

use super::coefficients::Coefficients;
use super::demand::Scheme;
use super::{Load, Route};
use crate::device::{Device, Strength};
use crate::units::Unit;

/// Multiply-adds of one core in one cycle, 751K/Apple-Neural-Engine-Microarchitecture-Study-M6 (`final_report/en.md`).
const MACS: f64 = 256.0;
/// Clock that on-chip rates are given at, in Hz.
pub(super) const CLOCK: f64 = 2.16e9;
/// Generation from which weights of every scheme are read compressed (figure `native_weight_streams` of A16).
const BROAD: u8 = 15;
/// Generation from which 8-bit numbers are multiplied faster (A17 Pro and M4, coremltools' guide `opt-whats-new`).
const EIGHT_BITS: u8 = 16;
/// System generation before which every weight is unpacked when a model is loaded (coremltools' guide `opt-whats-new`).
const UNPACKS_AT_LOAD: u16 = 17;

/// A device as the simulator sees it. Rates per second, times in ms.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub generation: u8,
    /// FLOP per second of the multiply-add array of one engine, fp16.
    pub peak: f64,
    /// Clock over the one that rates are given at.
    pub speed: f64,
    /// Bytes per second at which weights reach the engine.
    pub weights: f64,
    /// Starting a run of ops on the engine.
    pub dispatch_ms: f64,
    /// Bytes per second between units.
    pub handoff: f64,
    /// Bytes of the engine's own memory.
    pub on_chip: f64,
    /// Bytes of the largest operand that is taken in one piece.
    pub operand_cap: f64,
    /// FLOP per second of the GPU; `None` when the number of its cores is not known.
    pub gpu: Option<f64>,
    /// Bytes per second of the chip's memory.
    pub memory: f64,
    /// Power of the engine with fp16 and with 8-bit numbers, in W.
    pub watts: Option<f64>,
    pub watts_8: Option<f64>,
    /// True when the weight bandwidth, which most models wait for, was measured on this chip.
    pub measured: bool,
    /// True when weights of no scheme are read compressed.
    pub unpacks_at_load: bool,
    /// What was carried over or assumed, one sentence each.
    pub notes: Vec<String>,
}

/// A number and the device that it is from.
struct Carried<'d> {
    value: f64,
    from: &'d str,
}

impl Machine {
    pub(super) fn of(device: &Device, load: &Load, c: &Coefficients) -> Machine {
        let mut notes = Vec::new();
        let generation = device.generation().unwrap_or(13);
        let clock = clock(device, &mut notes);
        let cores = number(device, "cores").unwrap_or(16.0) / number(device, "engines").unwrap_or(1.0);
        let memory = memory(device, &mut notes);
        let (weights, weights_known) = weights(device, load.route, memory, c, &mut notes);
        let dispatch_ms = dispatch(device, &mut notes);
        let gpu = relative(device, gpu_cores, true).map(|g| {
            told("GPU cores", &g, device, &mut notes);
            g.value * c.gpu_core_tflops * 1e12
        });
        let power = |wanted: bool| power(device, wanted);
        let handoff = match load.route {
            Route::CoreMl => c.handoff_gb_s,
            Route::Direct => c.handoff_direct_gb_s,
        };
        Machine {
            generation,
            peak: cores * MACS * 2.0 * clock,
            speed: clock / CLOCK,
            weights,
            dispatch_ms,
            handoff: handoff * 1e9,
            on_chip: number(device, "on_chip_bytes").unwrap_or(2_097_152.0),
            operand_cap: number(device, "operand_cap_bytes").unwrap_or(2_097_152.0),
            gpu,
            memory,
            watts: power(false),
            watts_8: power(true),
            measured: weights_known,
            unpacks_at_load: device.os.is_some_and(|os| os.generation() < UNPACKS_AT_LOAD),
            notes,
        }
    }

    /// True when the engine reads weights of that scheme as they are stored (figure `native_weight_streams`: M1 4-bit
    /// palettes and sparse weights, M2 also 8-bit numbers, everything from the generation of the A16 on).
    pub(super) fn streams(&self, scheme: Scheme) -> bool {
        if self.unpacks_at_load {
            return false;
        }
        match scheme {
            Scheme::Plain => false,
            Scheme::Sparse | Scheme::Palette(..=4) => true,
            Scheme::Linear(_) => self.generation >= 14,
            Scheme::Palette(_) => self.generation >= BROAD,
        }
    }

    pub(super) fn doubles_eight_bits(&self) -> bool {
        self.generation >= EIGHT_BITS
    }

    /// Power of a unit, in W; `None` when no figure is published.
    pub(super) fn power(&self, unit: Unit, eight_bits: bool) -> Option<f64> {
        match (unit, eight_bits) {
            (Unit::Ane, true) => self.watts_8.or(self.watts),
            (Unit::Ane, false) => self.watts,
            _ => None,
        }
    }
}

fn number(device: &Device, what: &str) -> Option<f64> {
    let value = &device.figure(what)?.value;
    Some((value.least()? + value.most()?) / 2.0)
}

/// What sets the sizes of a family apart: `Pro`, `Max`, `Ultra` or nothing; phones are a family of their own.
fn variant(device: &Device) -> (bool, &str) {
    let size = device.chip.rsplit(' ').next().filter(|w| matches!(*w, "Pro" | "Max" | "Ultra"));
    (device.is_phone(), if device.is_phone() { "" } else { size.unwrap_or("") })
}

/// A figure of the device itself, or of the nearest generation of its relatives (of the same variant, if asked for).
fn relative(
    device: &Device,
    figure: impl Fn(&Device) -> Option<f64>,
    same_variant: bool,
) -> Option<Carried<'_>> {
    if let Some(value) = figure(device) {
        return Some(Carried { value, from: &device.chip });
    }
    let generation = i16::from(device.generation().unwrap_or(13));
    let mut best: Option<(i16, Carried<'_>)> = None;
    for other in Device::known() {
        let Some(value) = figure(other) else { continue };
        if same_variant && variant(other) != variant(device) {
            continue;
        }
        let far = (i16::from(other.generation().unwrap_or(13)) - generation).abs();
        if best.as_ref().is_none_or(|(f, _)| far < *f) {
            best = Some((far, Carried { value, from: &other.chip }));
        }
    }
    best.map(|(_, carried)| carried)
}

fn told(what: &str, carried: &Carried<'_>, device: &Device, notes: &mut Vec<String>) {
    if carried.from != device.chip {
        notes.push(format!("No {what} of {} is published: that of {} is used.", device.chip, carried.from));
    }
}

fn clock(device: &Device, notes: &mut Vec<String>) -> f64 {
    let own = |d: &Device| number(d, "clock_running_hz").or_else(|| number(d, "clock_table_hz"));
    let Some(found) = relative(device, own, false) else { return CLOCK };
    told("clock", &found, device, notes);
    found.value
}

fn gpu_cores(device: &Device) -> Option<f64> {
    number(device, "gpu_cores")
}

fn memory(device: &Device, notes: &mut Vec<String>) -> f64 {
    let found = relative(device, |d| number(d, "dram_gb_s"), true);
    if let Some(found) = &found {
        told("memory bandwidth", found, device, notes);
    }
    found.map_or(60e9, |f| f.value * 1e9)
}

/// Weight bandwidth by route: measured through Core ML where that was done, the best one otherwise.
fn weight_figure(device: &Device, route: Route) -> Option<f64> {
    let all = || device.figures_of("weight_bandwidth_gb_s");
    match route {
        Route::Direct => all().filter_map(|f| f.value.most()).reduce(f64::max),
        Route::CoreMl => {
            let measured = || all().filter(|f| f.strength == Strength::Measured);
            let through_core_ml = measured().find(|f| f.source.name.contains("anemll-bench"));
            through_core_ml
                .and_then(|f| f.value.least())
                .or_else(|| measured().filter_map(|f| f.value.least()).reduce(f64::min))
        }
    }
}

fn weights(
    device: &Device,
    route: Route,
    memory: f64,
    c: &Coefficients,
    notes: &mut Vec<String>,
) -> (f64, bool) {
    if let Some(own) = weight_figure(device, route) {
        return (own * 1e9, true);
    }
    let base = |d: &Device| weight_figure(d, Route::CoreMl).filter(|_| !d.is_phone());
    let same = |d: &Device| base(d).filter(|_| device.is_phone() && variant(d).1.is_empty());
    let found = if device.is_phone() { relative(device, same, false) } else { relative(device, base, true) };
    let limit = found.as_ref().map_or(60.0, |f| f.value) * 1e9;
    let value = limit.min(memory * c.memory_share);
    let from = found.map_or_else(String::new, |f| format!(" at most that of {},", f.from));
    notes.push(format!(
        "No weight bandwidth of {} is published:{from} and at most {:.0} % of its memory's, {:.0} GB/s, is used.",
        device.chip,
        c.memory_share * 100.0,
        value / 1e9
    ));
    (value, false)
}

fn dispatch(device: &Device, notes: &mut Vec<String>) -> f64 {
    let own = |d: &Device| {
        // The one figure of the private guide includes marshalling by its caller.
        let found = d.figure("dispatch_us").filter(|f| !f.source.name.contains("private"))?;
        Some((found.value.least()? + found.value.most()?) / 2.0)
    };
    let Some(found) = relative(device, own, false) else { return 0.1 };
    told("dispatch time", &found, device, notes);
    found.value / 1e3
}

/// The figure whose note names 8-bit work, or the first that does not.
fn power(device: &Device, eight_bits: bool) -> Option<f64> {
    let names_8 = |note: &str| note.to_ascii_lowercase().contains("w8a8");
    device.figures_of("power_w").find(|f| names_8(&f.note) == eight_bits).and_then(|f| f.value.least())
}
