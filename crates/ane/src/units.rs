//! Compute units, and the settings that allow them.

use std::fmt;

/// A compute unit that Core ML can place an op on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// The CPU, through either of its two backends.
    Cpu,
    /// The GPU.
    Gpu,
    /// The Neural Engine.
    Ane,
}

impl Unit {
    /// Every unit, in the order in which Core ML lists them.
    pub const ALL: [Unit; 3] = [Unit::Cpu, Unit::Gpu, Unit::Ane];
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Cpu => "CPU",
            Unit::Gpu => "GPU",
            Unit::Ane => "ANE",
        })
    }
}

/// The compute units that a model may use (`MLComputeUnits`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Units {
    /// Everything; `all`.
    #[default]
    All,
    /// No GPU; `cpu-and-ne`.
    CpuAndNe,
    /// No Neural Engine; `cpu-and-gpu`.
    CpuAndGpu,
    /// `cpu-only`.
    CpuOnly,
}

impl Units {
    /// Every setting.
    pub const ALL: [Units; 4] = [Units::All, Units::CpuAndNe, Units::CpuAndGpu, Units::CpuOnly];

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Units::All => "all",
            Units::CpuAndNe => "cpu-and-ne",
            Units::CpuAndGpu => "cpu-and-gpu",
            Units::CpuOnly => "cpu-only",
        }
    }

    /// The setting of that name.
    pub fn named(name: &str) -> Option<Units> {
        Units::ALL.into_iter().find(|u| u.name() == name)
    }

    /// True when the setting allows `unit`.
    pub const fn allows(self, unit: Unit) -> bool {
        match unit {
            Unit::Cpu => true,
            Unit::Gpu => matches!(self, Units::All | Units::CpuAndGpu),
            Unit::Ane => matches!(self, Units::All | Units::CpuAndNe),
        }
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
