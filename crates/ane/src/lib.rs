//! What the Apple Neural Engine takes, what it would cost, and what Core ML would choose.
//!
//! Placement is three questions. *Eligible*: would the ANE compiler accept the op ([`eligibility`])?
//! *Preferred*: would the segmenter choose the ANE, given its estimates ([`cost`], [`segment`])? *Runs*: only the
//! device knows. [`plan`] answers the first two for a function, op by op, and names the [`Fact`]s behind each answer;
//! [`simulate`] says how long the plan would take, and what each op would wait for.
//!
//! The unit of knowledge is a [`Fact`]: a claim with its scope, its evidence and its source. What is not known is
//! said as such: [`Answer::Unknown`], [`OpPlan::uncertain`], [`Plan::notes`]. Nothing here changes a program.
#![forbid(unsafe_code)]

mod arithmetic;
pub mod cost;
pub mod device;
pub mod eligibility;
mod fact;
mod operands;
mod os;
mod plan;
mod reason;
pub mod segment;
pub mod simulate;
mod source;
mod units;

pub use arithmetic::{Arithmetic, SUM_LIMIT};
pub use cost::{Backend, Basis, Estimate, Threshold};
pub use device::{Device, ProfileError, UnknownDevice};
pub use eligibility::{Answer, Verdict};
pub use fact::{Evidence, Fact, Standing, Witness};
pub use os::{Os, UnknownOs};
pub use plan::{Boundary, Convolutions, OpPlan, Outlook, Plan, Segment, plan};
pub use source::Source;
pub use units::{Unit, Units};
