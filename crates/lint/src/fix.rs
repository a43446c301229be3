//! Fixes: what mends the findings of a rule.

use anemone_ane::{Device, Plan};
use anemone_mil::{Function, OpId, Program};
use anemone_passes::pipeline::{Run, pass};
use anemone_passes::{Limits, Miss, OpRef, Patch, drive};
use std::fmt;

/// How a rule is mended.
#[derive(Clone, Copy, Debug)]
pub enum Fix {
    /// By hand: the rule's help says how.
    Manual,
    /// By a rewrite.
    Automatic(Automatic),
}

/// A fix that a program does by itself.
#[derive(Clone, Copy)]
pub struct Automatic {
    /// How far results may move.
    pub exactness: Exactness,
    /// What decides whether it stays.
    pub keep: Keep,
    /// Mends what it can in one function of the program; returns how many ops it changed. Cleaning up is the
    /// caller's work.
    pub run: fn(&mut Program, &Case<'_>) -> usize,
}

/// How far a fix may move results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exactness {
    /// Not at all.
    Identical,
    /// By rounding, by as much as is said.
    Rounding(&'static str),
    /// By more, as weights are stored otherwise: by as much as is said, and on the example of the rule's page by at
    /// most this share of the largest output.
    Within(&'static str, f64),
}

/// What decides whether a fix stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The plan: a fix that makes it worse is undone.
    IfNotWorse,
    /// Nothing: the rule is about what no plan shows, such as wrong values or a compiler that does not end.
    Always,
}

/// What a fix is told.
pub struct Case<'a> {
    /// Position of the function in the program.
    pub function: usize,
    /// The device that was planned for.
    pub device: &'a Device,
    /// The plan of the function as it is.
    pub plan: &'a Plan,
    /// Ops that break the rule, in program order; none where the function as a whole does.
    pub hits: &'a [OpId],
    /// What the user decided.
    pub choices: &'a Choices,
}

/// Decisions that no rule can make by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Shapes of inputs, by name.
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Give every input its default shape.
    pub fixed: bool,
    /// Leave look-ups in tables to the host.
    pub host: bool,
}

impl Fix {
    /// A fix that moves no result.
    pub const fn identical(run: fn(&mut Program, &Case<'_>) -> usize) -> Fix {
        Fix::Automatic(Automatic { exactness: Exactness::Identical, keep: Keep::IfNotWorse, run })
    }

    /// A fix that rounds otherwise; `bound` says by how much.
    pub const fn rounding(bound: &'static str, run: fn(&mut Program, &Case<'_>) -> usize) -> Fix {
        Fix::Automatic(Automatic { exactness: Exactness::Rounding(bound), keep: Keep::IfNotWorse, run })
    }

    /// A fix that stores weights otherwise; on the page's example results move by at most `share` of the largest.
    pub const fn within(bound: &'static str, share: f64, run: fn(&mut Program, &Case<'_>) -> usize) -> Fix {
        Fix::Automatic(Automatic { exactness: Exactness::Within(bound, share), keep: Keep::IfNotWorse, run })
    }

    /// The same, kept whatever the plan says.
    #[must_use]
    pub const fn always(self) -> Fix {
        match self {
            Fix::Manual => Fix::Manual,
            Fix::Automatic(a) => Fix::Automatic(Automatic { keep: Keep::Always, ..a }),
        }
    }

    /// The fix, unless it is one by hand.
    pub const fn automatic(&self) -> Option<&Automatic> {
        match self {
            Fix::Manual => None,
            Fix::Automatic(a) => Some(a),
        }
    }
}

impl fmt::Debug for Automatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Automatic({:?}, {:?})", self.exactness, self.keep)
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.automatic().map(|a| a.exactness) {
            None => "by hand",
            Some(Exactness::Identical) => "identical",
            Some(Exactness::Rounding(_) | Exactness::Within(..)) => "rounding",
        })
    }
}

impl Case<'_> {
    /// The limits of the device, as rewrites take them.
    pub fn limits(&self) -> Limits {
        let own = self.device.limits;
        Limits {
            extent: own.extent,
            extent_nc: own.extent_nc,
            conv_width: own.conv_width,
            conv_height: own.conv_height,
            max_pool_width: own.max_pool_width,
            max_pool_wide: own.max_pool_wide,
            matmul_row_bytes: own.matmul_row_bytes,
            rank: own.rank,
            ..Limits::default()
        }
    }

    /// The function.
    pub fn of<'p>(&self, program: &'p mut Program) -> &'p mut Function {
        &mut program.functions[self.function]
    }

    /// Runs a rewrite of `anemone_passes::engine` on the whole function, with the limits of the device.
    pub fn everywhere(&self, program: &mut Program, name: &'static str) -> usize {
        self.with(program, name, self.limits(), |_| true)
    }

    /// The same on the ops that break the rule alone.
    pub fn at_hits(&self, program: &mut Program, name: &'static str) -> usize {
        self.with(program, name, self.limits(), |id| self.hits.contains(&id))
    }

    /// The same where `wanted`, with other limits.
    pub fn with(
        &self,
        program: &mut Program,
        name: &'static str,
        limits: Limits,
        wanted: impl Fn(OpId) -> bool,
    ) -> usize {
        let Some(Run::Limited(rewrite)) = pass(name).map(|p| p.run) else { return 0 };
        let look = |op: OpRef<'_>| -> Result<Patch, Miss> {
            if wanted(op.id) { rewrite(op, &limits) } else { Err(Miss::OtherKind) }
        };
        drive(self.of(program), look, name)
    }
}
