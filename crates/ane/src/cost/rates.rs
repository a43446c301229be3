//! Rates of the estimates, per device.

use super::Threshold;

/// One number per backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerBackend {
    /// The Neural Engine.
    pub ane: f64,
    /// The CPU through BNNS.
    pub bnns: f64,
    /// The older CPU backend.
    pub classic_cpu: f64,
}

const fn per(ane: f64, bnns: f64, classic_cpu: f64) -> PerBackend {
    PerBackend { ane, bnns, classic_cpu }
}

/// Every rate that the families use: bytes, operations or elements per second.
#[derive(Debug)]
pub struct Rates {
    /// Bytes per second of ops that the default formula covers.
    pub bandwidth: PerBackend,
    /// Operations per second of the default formula.
    pub peak: PerBackend,
    /// Bytes per second of `relu`.
    pub relu: PerBackend,
    /// FLOP per second of `conv` by FLOP per byte: below both thresholds, between them, above both.
    pub conv: [PerBackend; 3],
    /// FLOP per byte where the rate of `conv` changes.
    pub conv_steps: &'static [Threshold; 2],
    /// Operations per second of `linear` by output elements: below both thresholds, between them, above both.
    pub linear: [PerBackend; 3],
    /// Output elements where the rate of `linear` changes.
    pub linear_steps: &'static [Threshold; 2],
    /// FLOP per second of `conv_transpose`: below the threshold, above it.
    pub conv_transpose: [PerBackend; 2],
    /// FLOP where the rate of `conv_transpose` changes.
    pub conv_transpose_step: &'static Threshold,
    /// Elements per second of `add` and `sub`.
    pub add: PerBackend,
    /// Elements per second of `mul`.
    pub mul: PerBackend,
    /// Elements per second of `concat`.
    pub concat: PerBackend,
    /// Elements per second of `transpose` that leaves axis 0 where it is.
    pub transpose: PerBackend,
    /// Elements per second of `transpose` that moves axis 0.
    pub transpose_outer: PerBackend,
    /// Elements per second of `gather` on the CPU; `ane` is not used.
    pub gather: PerBackend,
    /// Output elements per second of `upsample_bilinear`.
    pub upsample_bilinear: PerBackend,
    /// FLOP per second of `gru` and `rnn`; `ane` is not used.
    pub recurrent: PerBackend,
    /// FLOP per second of `lstm`; `ane` is not used.
    pub lstm: PerBackend,
}

const GIB: f64 = 1_073_741_824.0;

static CONV_STEPS: [Threshold; 2] = [
    Threshold { what: "FLOP per byte of conv", below: 8.93, above: 12.76, used: 10.0 },
    Threshold { what: "FLOP per byte of conv", below: 56.2, above: 70.76, used: 64.0 },
];

static LINEAR_STEPS: [Threshold; 2] = [
    Threshold { what: "output elements of linear", below: 1024.0, above: 8192.0, used: 4096.0 },
    Threshold { what: "output elements of linear", below: 32768.0, above: 65536.0, used: 50000.0 },
];

static CONV_TRANSPOSE_STEP: Threshold =
    Threshold { what: "FLOP of conv_transpose", below: 16.85e6, above: 134.2e6, used: 47e6 };

/// The estimates of ANE target h16g on macOS 27.0.1.
///
/// Source: 751K/Apple-Neural-Engine-Microarchitecture-Study-M6, `data/03_compile/opdispatch/ana`, 97 ops; the rates of
/// `lstm`, `gru`, `rnn` and `upsample_bilinear` each rest on one size.
pub static H16G: Rates = Rates {
    bandwidth: per(68.0 * GIB, 170.0 / 3.0 * GIB, 170.0 / 3.0 * GIB),
    peak: per(f64::INFINITY, 754.5e9, 656e9),
    relu: per(100e9, 100e9, 100e9),
    conv: [
        per(0.4712e12, 0.02709e12, 0.02355e12),
        per(7.161e12, 0.388e12, 0.3374e12),
        per(16.15e12, 0.7545e12, 0.656e12),
    ],
    conv_steps: &CONV_STEPS,
    linear: [
        per(0.1070e12, 0.0689e12, 0.0599e12),
        per(0.5805e12, 0.02254e12, 0.0196e12),
        per(5.291e12, 0.16778e12, 0.14587e12),
    ],
    linear_steps: &LINEAR_STEPS,
    conv_transpose: [per(37.8e12, 0.2115e12, 0.1839e12), per(15.2e12, 0.06314e12, 0.0549e12)],
    conv_transpose_step: &CONV_TRANSPOSE_STEP,
    add: per(17.99e9, 10.56e9, 9.18e9),
    mul: per(21.5e9, 5.75e9, 5e9),
    concat: per(50e9, 5.75e9, 5e9),
    transpose: per(17.22e9, 21.87e9, 19.01e9),
    transpose_outer: per(11.43e9, 0.9378e9, 0.8153e9),
    gather: per(f64::NAN, 11.5e9, 10e9),
    upsample_bilinear: per(79.315e9, 0.524_666e9, 0.456_148e9),
    recurrent: per(f64::NAN, 23.115e9, 20.095e9),
    lstm: per(f64::NAN, 2.199_15e6, 1.911_93e6),
};
