//! The library behind `anemone`: one function per verb, plain data out.
//!
//! This is the only room that opens files and chooses an engine. Nothing here knows about terminals, colours or
//! JSON; the rooms above do.

mod advise;
pub mod bench;
mod check;
pub mod compare;
mod compress;
mod convert;
pub mod data;
mod emulate;
mod error;
mod extents;
mod features;
pub mod files;
mod fix;
mod inspect;
pub mod lint;
mod model;
mod nearest;
mod open;
mod overflow;
pub mod picture;
mod plan;
pub mod report;
mod run;
mod show;
mod simulate;
pub mod size;
mod sweep;
pub mod trace;
mod verify;

pub use advise::{About, Advised, Counsel, advise};
pub use anemone_ane as ane;
pub use anemone_compress as schemes;
pub use anemone_exec::{EmulatedOp, How, Precision, Profiler, StepInfo, SumRange};
pub use anemone_lint as rules;
pub use anemone_lint::{Step, Totals};
pub use anemone_mil as mil;
pub use anemone_mil::Opset;
pub use anemone_model::{DictKey, Feature, Features, Predict};
pub use anemone_package as package;
pub use anemone_tensor::{DType, Tensor, num};
pub use check::{Check, GROWTH_LIMIT, Growth};
pub use compress::{
    CompressOptions, Compression, DeviceWarning, Effect, Found, Goal, Layer, Point, SampleOptions,
    SearchOptions, activation_dtype, compress, decompress, linear_dtype, linear_mode, palette_mode,
    read_config, search, write_config,
};
pub use convert::{Conversion, ConvertOptions, Stage, convert};
pub use emulate::{Emulate, Emulated, Scope, SumLayer, verify_emulated};
pub use error::{Error, ErrorKind};
pub use fix::{FixOptions, Fixed, FixedFunction, Left, Why, fix};
pub use inspect::{Inspection, inspect};
pub use model::{Detection, LoadOptions, Model, State};
pub use open::{Container, Opened, left_out, open};
pub use overflow::{Advice, Fault, Finding, Overflow, Range, find_overflow};
pub use plan::{device_named, plan, target};
pub use run::{Ran, Ranked, Statistics, best_labels, read_labels, run, statistics};
pub use show::show;
pub use simulate::{SimulateOptions, Simulated, simulate, simulated};
pub use sweep::{Sweep, SweepPoint, SweepSpec, SweepValues, sweep};
pub use verify::{Expected, verify};
