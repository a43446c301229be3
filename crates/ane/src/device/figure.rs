//! Figures of a device: one number, how it is known, and who says so.

use crate::source::Source;
use serde::Deserialize;
use std::fmt;

/// How a figure is known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// Somebody says so, without data.
    Claimed,
    /// Computed from other figures, or carried over from a related chip.
    Derived,
    /// The vendor says so.
    Published,
    /// Somebody observed it on the device and published the observation.
    Measured,
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strength::Measured => "measured",
            Strength::Published => "published",
            Strength::Derived => "derived",
            Strength::Claimed => "claimed",
        })
    }
}

/// What a figure says.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum Amount {
    /// One number.
    Number(f64),
    /// From one number to another.
    Range([f64; 2]),
    /// Something that is no number.
    Text(String),
}

impl Amount {
    /// The number, or the smaller end of a range.
    pub fn least(&self) -> Option<f64> {
        match self {
            Amount::Number(v) | Amount::Range([v, _]) => Some(*v),
            Amount::Text(_) => None,
        }
    }

    /// The number, or the larger end of a range.
    pub fn most(&self) -> Option<f64> {
        match self {
            Amount::Number(v) | Amount::Range([_, v]) => Some(*v),
            Amount::Text(_) => None,
        }
    }
}

/// One figure of one device.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What it is about: a key of [`QUANTITIES`].
    pub what: String,
    /// The figure, in the unit of its quantity.
    pub value: Amount,
    /// How it is known.
    pub strength: Strength,
    /// Who says so.
    pub source: Source,
    /// What to know about it; empty when nothing.
    #[serde(default)]
    pub note: String,
}

impl Figure {
    /// The quantity that the figure is of.
    pub fn quantity(&self) -> Option<&'static Quantity> {
        QUANTITIES.iter().find(|q| q.key == self.what)
    }
}

/// Something that devices have a figure of.
#[derive(Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Name in device files.
    pub key: &'static str,
    /// Name for people.
    pub label: &'static str,
    /// Unit of the number; empty for counts.
    pub unit: &'static str,
    /// True when every device should have one, so that its absence is worth saying.
    pub expected: bool,
}

const fn always(key: &'static str, label: &'static str, unit: &'static str) -> Quantity {
    Quantity { key, label, unit, expected: true }
}

const fn some(key: &'static str, label: &'static str, unit: &'static str) -> Quantity {
    Quantity { key, label, unit, expected: false }
}

/// Every quantity, in the order in which people are shown them.
pub static QUANTITIES: &[Quantity] = &[
    always("engines", "engines", ""),
    always("cores", "cores", ""),
    some("cores_per_engine", "cores per engine", ""),
    some("gpu_cores", "GPU cores", ""),
    some("compiler_cores", "cores in the compiler's table", ""),
    always("tops", "marketed rate", "TOPS"),
    always("fp16_tflops", "fp16 rate", "TFLOPS"),
    always("w8a8_tops", "rate with 8-bit weights and activations", "TOPS"),
    some("macs_per_core_cycle", "multiply-adds per core and cycle", ""),
    always("clock_table_hz", "clock in the compiler's table", "Hz"),
    some("clock_running_hz", "clock when running", "Hz"),
    always("weight_bandwidth_gb_s", "weight bandwidth that the engine sees", "GB/s"),
    some("activation_gb_s", "activation bandwidth per engine", "GB/s"),
    some("transpose_gb_s", "rate of transposes", "GB/s"),
    some("elementwise_per_s", "elementwise results per second", ""),
    always("dram_gb_s", "bandwidth of the chip's memory", "GB/s"),
    always("on_chip_bytes", "on-chip memory per engine", "B"),
    always("operand_cap_bytes", "largest operand kept on chip", "B"),
    some("residency_threshold_bytes", "results kept on chip from", "B"),
    some("weight_buffer_bytes", "weight buffer per core", "B"),
    some("weight_stream_bytes", "weights streamed up to", "B"),
    some("system_cache_bytes", "system cache", "B"),
    always("dispatch_us", "dispatch of one call", "µs"),
    some("task_cost", "cost of a task", ""),
    some("layer_overhead_ns", "overhead per layer, at most", "ns"),
    some("first_call_ms", "first call after power-off", "ms"),
    some("clock_ramp_ms", "clock ramp", "ms"),
    some("power_off_after_s", "powers off after", "s"),
    always("ram_gb", "RAM of its products", "GB"),
    always("power_w", "power", "W"),
    some("energy_mj", "energy of an inference", "mJ"),
    some("accumulator", "accumulator", ""),
    some("accumulator_limit", "sums overflow from", ""),
    some("native_weight_formats", "weight formats read compressed", ""),
    some("native_weight_streams", "weight streams", ""),
    some("zero_skipping", "skips zeros", ""),
    some("double_int8", "doubled 8-bit rate", ""),
    some("slice_clamp", "slices are clamped at", ""),
    some("private_min_width", "least width on the private path", ""),
    some("virtual_memory_bytes", "address space of all programs", "B"),
    always("planner_launch_ms", "planner: entering the ANE", "ms"),
    always("planner_change_ms", "planner: changing backends", "ms"),
    always("planner_tail_ms", "planner: ending on the ANE", "ms"),
    always("limit_extent", "longest height, width or depth", ""),
    always("limit_extent_nc", "longest batch or channels", ""),
    always("limit_rank", "most axes", ""),
    always("limit_conv_width", "widest convolution kernel", ""),
    always("limit_conv_height", "highest convolution kernel", ""),
    always("limit_conv_square", "square kernel taken beyond that", ""),
    always("limit_max_pool_width", "widest max pool kernel", ""),
    always("limit_max_pool_wide", "max pool kernel taken beyond that", ""),
    always("limit_matmul_row_bytes", "longest row of matmul", "B"),
    some("limit_transpose_elements", "elements of a transpose", ""),
    some("limit_depth", "layers in a chain", ""),
    always("limit_program_mb", "largest program", "MB"),
    some("limit_states", "most states", ""),
];
