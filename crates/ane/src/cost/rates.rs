//! Rates of the estimates, per device.

use super::Threshold;
use serde::Deserialize;

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
#[derive(Clone, Debug)]
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
    /// What estimates of some families are multiplied by.
    pub times: Times,
}

impl Rates {
    /// The rates with other factors.
    #[must_use]
    pub fn times(self, times: Times) -> Rates {
        Rates { times, ..self }
    }
}

/// Factors by which the estimates of a chip differ from those of its rates, per family; 1 where nothing is known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Times {
    /// Of convolutions that mix channels.
    pub conv: f64,
    /// Of convolutions with one channel per group.
    pub depthwise: f64,
    /// Of `add` and `sub`.
    pub add: f64,
    /// Of `mul`.
    pub mul: f64,
    /// Of `linear`.
    pub linear: f64,
}

impl Default for Times {
    fn default() -> Times {
        Times { conv: 1.0, depthwise: 1.0, add: 1.0, mul: 1.0, linear: 1.0 }
    }
}

impl Times {
    /// The factor of a family.
    pub(crate) fn of(&self, family: &str) -> f64 {
        match family {
            "conv" => self.conv,
            "depthwise" => self.depthwise,
            "add" => self.add,
            "mul" => self.mul,
            "linear" => self.linear,
            _ => 1.0,
        }
    }

    /// # Errors
    /// When a factor is not a positive number.
    pub(crate) fn check(&self) -> Result<(), String> {
        let all = [
            ("conv", self.conv),
            ("depthwise", self.depthwise),
            ("add", self.add),
            ("mul", self.mul),
            ("linear", self.linear),
        ];
        match all.iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            Some((name, v)) => Err(format!("`times.{name}` is {v}, but must be a number above 0")),
            None => Ok(()),
        }
    }
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
/// Source: 751K/Apple-Neural-Engine-Microarchitecture-Study-M6, `data/03_compile/opdispatch/ana`, 97 ops, to the digits
/// given there; the rates of `lstm`, `gru`, `rnn` and `upsample_bilinear` each rest on one size.
pub static H16G: Rates = Rates {
    bandwidth: per(68.0 * GIB, 56.666_664_123_535_16 * GIB, 56.666_664_123_535_16 * GIB),
    peak: per(f64::INFINITY, 754.543_334_960_937_5e9, 656e9),
    relu: per(100e9, 100e9, 100e9),
    conv: [
        per(471.180_908_203_125e9, 27.085_212_707_519_53e9, 23.547_885_894_775_39e9),
        per(7_160.830_078_125e9, 388.061_431_884_765_6e9, 337.380_615_234_375e9),
        per(16_151.676_757_812_5e9, 754.492_736_816_406_2e9, 655.955_993_652_343_8e9),
    ],
    conv_steps: &CONV_STEPS,
    linear: [
        per(106.973_114_013_671_88e9, 68.870_582_580_566_4e9, 59.876_087_374_023_43e9),
        per(580.450_378_417_968_8e9, 22.544_456_481_933_594e9, 19.600_151_062_011_72e9),
        per(5_290.789_550_781_25e9, 167.758_300_781_25e9, 145.849_075_317_382_8e9),
    ],
    linear_steps: &LINEAR_STEPS,
    conv_transpose: [
        per(37_831.957_031_25e9, 211.660_354_614_257_8e9, 184.017_517_089_843_7e9),
        per(15_205.035_156_25e9, 63.142_517_089_843_75e9, 54.896_102_905_273_44e9),
    ],
    conv_transpose_step: &CONV_TRANSPOSE_STEP,
    add: per(17.990_264_892_578_125e9, 10.561_096_191_406_25e9, 9.181_818_008_422_852e9),
    mul: per(21.5e9, 5.751_092_433_929_443e9, 5e9),
    concat: per(50e9, 5.751_092_433_929_443e9, 5e9),
    transpose: per(17.218_671_798_706_055e9, 21.871_580_123_901_367e9, 19.015_151_977_539_062e9),
    transpose_outer: per(11.428_275_108_337_4e9, 0.937_736_034_393_310_5e9, 0.815_267_741_680_145_3e9),
    gather: per(f64::NAN, 11.502_184_867_858_887e9, 10e9),
    upsample_bilinear: per(79.314_171_714_551_62e9, 0.524_670_902_058_316_5e9, 0.456_148_933_030_333_1e9),
    recurrent: per(f64::NAN, 23.1135e9, 20.0948e9),
    lstm: per(f64::NAN, 2.199_151_030e6, 1.911_941_886e6),
    times: Times { conv: 1.0, depthwise: 1.0, add: 1.0, mul: 1.0, linear: 1.0 },
};
