//! What a profiler is told of a run.

use anemone_exec::{Options, Profiler, Session, StepInfo};
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Level, Opset, Program, Tensor, TensorType, ValueId, Weight, verify};
use anemone_model::{Features, Predict};

#[derive(Default)]
struct Log {
    starts: usize,
    steps: Vec<(usize, StepInfo)>,
}

impl Profiler for Log {
    fn start(&mut self) {
        self.starts += 1;
    }

    fn step(&mut self, step: usize, describe: &dyn Fn() -> StepInfo) {
        self.steps.push((step, describe()));
    }
}

/// Runs the function of `build` on zeros, without and with a profiler; both must agree.
fn profile(build: impl FnOnce(&mut Builder) -> ValueId, input: [usize; 4]) -> Log {
    let mut b = Builder::new("main", Opset::Ios17);
    let y = build(&mut b);
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Canonical).expect("verifies");
    let function = verified.function(None).expect("has a function");
    let mut session = Session::new(function, &Options { threads: 1, ..Default::default() }).expect("loads");
    let x = Tensor::zeros(DType::F32, input).expect("fits");
    let inputs = Features::from_iter([("x", x)]);
    let mut log = Log::default();
    let profiled = session.predict_profiled(&inputs, &mut log).expect("runs");
    assert_eq!(profiled, session.predict(&inputs).expect("runs"));
    assert_eq!(log.starts, 1);
    log
}

#[test]
fn an_activation_belongs_to_the_step_of_its_convolution() {
    let log = profile(
        |b| {
            let x = b.input("x", TensorType::new(DType::F32, [1, 3, 6, 6]));
            let weight = b.constant("w", Weight::of(&Tensor::zeros(DType::F32, [8, 3, 3, 3]).expect("fits")));
            let y = b.op("conv").arg("x", x).arg("weight", weight);
            let y = y.str("pad_type", "valid").one("conv").expect("fits");
            b.op("relu").arg("x", y).one("relu").expect("fits")
        },
        [1, 3, 6, 6],
    );
    // The engine may put the dims of the result into their order in a step of its own.
    let steps: Vec<_> = log.steps.iter().filter(|(_, s)| s.kind != "transpose").collect();
    let [(0, step)] = steps.as_slice() else { panic!("{:?}", log.steps) };
    assert_eq!((step.kind.as_str(), step.name.as_str()), ("conv", "conv"));
    assert_eq!(step.fused, ["relu"]);
    assert_eq!(step.results, [(DType::F32, vec![1, 8, 4, 4])]);
    // 8 x 4 x 4 sums of 27 products, and one comparison each.
    assert_eq!(step.work.map(|w| w.flops), Some(128 * 27 * 2 + 128));
    // The picture, the weights and the result.
    assert_eq!(step.bytes, 4 * (108 + 216 + 128));
    assert_ne!(step.kernel, "reference");
}

#[test]
fn a_new_shape_costs_nothing_and_names_no_kernel() {
    let log = profile(
        |b| {
            let x = b.input("x", TensorType::new(DType::F32, [1, 2, 3, 4]));
            let y = b.op("reshape").arg("x", x).ints("shape", &[6, 4]);
            y.one("y").expect("fits")
        },
        [1, 2, 3, 4],
    );
    let [(0, step)] = log.steps.as_slice() else { panic!("{:?}", log.steps) };
    assert_eq!((step.kind.as_str(), step.kernel.as_str(), step.bytes), ("reshape", "alias", 0));
}

#[test]
fn functions_with_control_flow_tell_of_every_op_that_ran() {
    let log = profile(
        |b| {
            let x = b.input("x", TensorType::new(DType::F32, [1, 1, 2, 2]));
            let y = b.op("non_zero").arg("x", x).one("where").expect("fits");
            b.op("cast").arg("x", y).str("dtype", "fp32").one("y").expect("fits")
        },
        [1, 1, 2, 2],
    );
    let kinds: Vec<&str> = log.steps.iter().map(|(_, s)| s.kind.as_str()).collect();
    assert_eq!(kinds, ["non_zero", "cast"]);
}
