//! Where the time of a prediction goes.

use anemone_exec::StepInfo;

/// One step of a prediction and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// What it is.
    pub info: StepInfo,
    /// Time in one prediction, in milliseconds; all rounds of a loop together.
    pub time: f64,
    /// How often it runs in one prediction.
    pub calls: f64,
}

/// The steps of a prediction, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Every step that ran.
    pub steps: Vec<StepTime>,
    /// Predictions that the times are medians of.
    pub runs: usize,
}

/// All steps of one kind of op.
#[derive(Clone, Debug, PartialEq)]
pub struct KindTime {
    /// The kind.
    pub kind: String,
    /// How many steps there are.
    pub steps: usize,
    /// Their time together, in milliseconds.
    pub time: f64,
    /// Floating-point operations of those whose arithmetic is known.
    pub flops: f64,
    /// Bytes that they read and write.
    pub bytes: f64,
}

impl StepTime {
    /// Floating-point operations of one prediction, transcendental functions as one each; `None` where unknown.
    pub fn flops(&self) -> Option<f64> {
        self.info.work.map(|w| (w.flops as f64 + w.transcendental as f64) * self.calls)
    }

    /// Bytes that it reads and writes in one prediction.
    pub fn bytes(&self) -> f64 {
        self.info.bytes as f64 * self.calls
    }

    /// Kind of the op and of those computed along with it: `conv + relu`.
    pub fn label(&self) -> String {
        let fused = self.info.fused.iter().map(|f| format!(" + {f}")).collect::<String>();
        format!("{}{fused}", self.info.kind)
    }
}

impl Profile {
    /// Time of all steps together, in milliseconds.
    pub fn time(&self) -> f64 {
        self.steps.iter().map(|s| s.time).sum()
    }

    /// Floating-point operations of one prediction, as far as known.
    pub fn flops(&self) -> f64 {
        self.steps.iter().filter_map(StepTime::flops).sum()
    }

    /// Bytes that one prediction reads and writes.
    pub fn bytes(&self) -> f64 {
        self.steps.iter().map(StepTime::bytes).sum()
    }

    /// The share of a time, from 0 to 1.
    pub fn share(&self, time: f64) -> f64 {
        let all = self.time();
        if all > 0.0 { time / all } else { 0.0 }
    }

    /// By kind of op, the slowest kind first.
    pub fn kinds(&self) -> Vec<KindTime> {
        let mut kinds: Vec<KindTime> = Vec::new();
        for step in &self.steps {
            let at = kinds.iter().position(|k| k.kind == step.info.kind).unwrap_or_else(|| {
                let kind = step.info.kind.clone();
                kinds.push(KindTime { kind, steps: 0, time: 0.0, flops: 0.0, bytes: 0.0 });
                kinds.len() - 1
            });
            let kind = &mut kinds[at];
            kind.steps += 1;
            kind.time += step.time;
            kind.flops += step.flops().unwrap_or(0.0);
            kind.bytes += step.bytes();
        }
        kinds.sort_by(|a, b| b.time.total_cmp(&a.time));
        kinds
    }

    /// The steps, the slowest first.
    pub fn slowest(&self) -> Vec<&StepTime> {
        let mut steps: Vec<&StepTime> = self.steps.iter().collect();
        steps.sort_by(|a, b| b.time.total_cmp(&a.time));
        steps
    }
}
