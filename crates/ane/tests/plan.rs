//! Plans of small programs built by hand; expected numbers are those of the recorded estimates.

use anemone_ane::{Device, Plan, Unit, Units, plan};
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, DType, Function, Level, Opset, Program, Tensor, TensorType, ValueId, Weight, verify,
};

fn m4() -> std::sync::Arc<Device> {
    Device::named("m4").expect("known")
}

/// The plan of a function that the verifier has seen.
fn planned(function: Function, units: Units) -> Plan {
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("well formed");
    plan(verified.function(None).expect("one function"), &m4(), units)
}

/// One `relu` of the given type.
fn relu(dtype: DType, dims: &[usize]) -> Plan {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(dtype, dims.iter().copied()));
    let y: ValueId = b.op("relu").arg("x", x).one("relu_0").expect("any float");
    b.output(y);
    planned(b.finish(), Units::CpuAndNe)
}

#[test]
fn a_lone_relu_is_eligible_and_stays_on_the_cpu() {
    let plan = relu(DType::F16, &[1, 64, 32, 32]);
    let op = &plan.ops[0];
    assert_eq!((op.supported.as_slice(), op.preferred), (&[Unit::Cpu, Unit::Ane][..], Unit::Cpu));
    assert_eq!(op.reason, "eligible, but this op saves 0 ms and must save 0.25 ms");
    let estimate = op.estimate.expect("known op");
    assert!((estimate.bnns - 0.002_621_44).abs() < 1e-9, "{estimate:?}");
    assert_eq!((op.cost_share, plan.ane_share_by_count, plan.crossings), (Some(1.0), 0.0, 0));
}

#[test]
fn an_axis_of_65537_is_refused_with_its_fact() {
    let plan = relu(DType::F16, &[1, 1, 1, 65537]);
    let op = &plan.ops[0];
    assert_eq!(op.supported, [Unit::Cpu]);
    assert_eq!(op.facts[0].key, "ane-extent");
    assert_eq!(op.reason, "refused by the ANE: `x` has an axis of 65537, and 65536 is the longest");
    assert!(op.estimate.expect("known op").ane.is_none());
}

#[test]
fn fp32_is_refused_with_its_fact() {
    let op = &relu(DType::F32, &[1, 64, 32, 32]).ops[0];
    assert_eq!((&*op.facts[0].key, op.preferred), ("ane-fp32", Unit::Cpu));
}

#[test]
fn units_limit_what_is_listed() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, [1, 64, 32, 32]));
    let y = b.op("relu").arg("x", x).one("relu_0").expect("any float");
    b.output(y);
    let function = b.finish();
    let listed = |units| planned(function.clone(), units).ops[0].supported.clone();
    assert_eq!(listed(Units::All), [Unit::Cpu, Unit::Gpu, Unit::Ane]);
    assert_eq!(listed(Units::CpuAndGpu), [Unit::Cpu, Unit::Gpu]);
    assert_eq!(listed(Units::CpuOnly), [Unit::Cpu]);
    let notes = planned(function, Units::All).notes;
    assert!(notes.iter().any(|n| n.contains("GPU")), "{notes:?}");
}

/// Whether the ANE takes the one op that `build` makes, and the deciding fact.
fn taken(build: impl FnOnce(&mut Builder) -> ValueId) -> (bool, &'static str) {
    let mut b = Builder::new("main", Opset::Ios18);
    let y = build(&mut b);
    b.output(y);
    let plan = planned(b.finish(), Units::CpuAndNe);
    (plan.ops[0].supported.contains(&Unit::Ane), &*plan.ops[0].facts[0].key)
}

fn conv(height: usize, width: usize) -> (bool, &'static str) {
    taken(|b| {
        let x = b.input("x", TensorType::new(DType::F16, [1, 8, 96, 96]));
        let weight = Tensor::zeros(DType::F16, [8, 8, height, width]).expect("fits");
        let weight = b.constant("w", Weight::of(&weight));
        b.op("conv").arg("x", x).arg("weight", weight).one("y").expect("fits")
    })
}

#[test]
fn convolution_kernels_end_at_15_wide_and_31_high() {
    assert_eq!(conv(15, 15), (true, "ane-taken"));
    assert_eq!(conv(1, 15), (true, "ane-taken"));
    assert_eq!(conv(1, 16), (false, "ane-conv-width"));
    assert_eq!(conv(31, 1), (true, "ane-taken"));
    assert_eq!(conv(32, 1), (false, "ane-conv-height"));
    assert_eq!(conv(16, 16), (true, "ane-conv-16x16"));
    assert_eq!(conv(17, 17), (false, "ane-conv-width"));
}

#[test]
fn max_pool_kernels_are_1_to_8_or_32_wide() {
    let pool = |height: i32, width: i32| {
        taken(|b| {
            let x = b.input("x", TensorType::new(DType::F16, [1, 8, 96, 96]));
            let op = b.op("max_pool").arg("x", x).ints("kernel_sizes", &[height, width]);
            op.ints("strides", &[1, 1]).str("pad_type", "valid").one("y").expect("fits")
        })
    };
    assert!(pool(8, 8).0 && pool(9, 1).0 && pool(1, 32).0);
    assert_eq!(pool(1, 9), (false, "ane-max-pool-width"));
    assert_eq!(pool(33, 33), (false, "ane-max-pool-width"));
}

#[test]
fn a_row_of_matmul_ends_at_64_kib() {
    let matmul = |inner: usize| {
        taken(|b| {
            let x = b.input("x", TensorType::new(DType::F16, [1, 16, inner]));
            let y = b.input("y", TensorType::new(DType::F16, [1, inner, 16]));
            b.op("matmul").arg("x", x).arg("y", y).one("z").expect("fits")
        })
    };
    assert_eq!(matmul(32768), (true, "ane-taken"));
    assert_eq!(matmul(40000), (false, "ane-matmul-inner"));
}

#[test]
fn an_op_that_nothing_is_known_of_is_said_to_be_unknown() {
    let mut f = anemone_mil::Function::new("main", Opset::Ios18);
    let x = f.add_input("x", TensorType::new(DType::F16, [4]));
    let mut op = anemone_mil::Op::new(anemone_mil::OpKind::named("from_tomorrow"), "y");
    op.set_arg("x", vec![x]);
    let body = f.body();
    f.append(body, op, vec![("y".into(), TensorType::new(DType::F16, [4]).into())]);
    let plan = planned(f, Units::All);
    let op = &plan.ops[0];
    assert_eq!(
        (op.supported.as_slice(), op.unknown.as_slice()),
        (&[Unit::Cpu][..], &[Unit::Gpu, Unit::Ane][..])
    );
    assert!(op.uncertain && op.estimate.is_none());
    assert!(plan.notes.iter().any(|n| n.contains("from_tomorrow")), "{:?}", plan.notes);
}

#[test]
fn every_op_of_the_table_has_an_answer_for_each_unit_and_never_fails() {
    for def in anemone_mil::ops::table() {
        let mut f = Function::new("main", Opset::Ios26);
        let x = f.add_input("x", TensorType::new(DType::F16, [1, 8, 4, 4]));
        let mut op = anemone_mil::Op::new(anemone_mil::OpKind::named(def.name), "y");
        op.set_arg("x", vec![x]);
        let body = f.body();
        let id = f.append(body, op, vec![("y".into(), TensorType::new(DType::F16, [1, 8, 4, 4]).into())]);
        let Ok(site) = anemone_mil::ops::Site::new(&f, f.op(id)) else { continue };
        let rates = anemone_ane::cost::Rates::h16g();
        let estimate = anemone_ane::cost::estimate(&site, &anemone_mil::Uses::of(&f), rates);
        assert!(
            estimate.cpu() >= 0.0 && estimate.ane.is_some_and(|v| v >= 0.0),
            "{}: {estimate:?}",
            def.name
        );
        for unit in Unit::ALL {
            let verdict = anemone_ane::eligibility::verdict(&site, &m4(), unit);
            assert!(!verdict.why.is_empty(), "{} on the {unit}", def.name);
        }
    }
}

#[test]
fn what_is_unknown_comes_with_the_range_of_outcomes() {
    let mut f = Function::new("main", Opset::Ios18);
    let x = f.add_input("x", TensorType::new(DType::F16, [4]));
    let mut op = anemone_mil::Op::new(anemone_mil::OpKind::named("from_tomorrow"), "y");
    op.set_arg("x", vec![x]);
    let body = f.body();
    f.append(body, op, vec![("y".into(), TensorType::new(DType::F16, [4]).into())]);
    let plan = planned(f, Units::CpuAndNe);
    assert!(plan.if_taken.is_some(), "{plan:?}");
    assert!(relu(DType::F16, &[1, 64, 32, 32]).if_taken.is_none());
}

#[test]
fn crossings_say_where_what_they_cost_and_how_much_crosses() {
    let mut b = Builder::new("main", Opset::Ios18);
    let mut x = b.input("x", TensorType::new(DType::F16, [1, 64, 64, 64]));
    let mut pair = |b: &mut Builder, name: &str| {
        let weight = Tensor::zeros(DType::F16, [64, 64, 3, 3]).expect("fits");
        for i in 0..6 {
            let weight = b.constant("w", Weight::of(&weight));
            let op = b.op("conv").arg("x", x).arg("weight", weight).str("pad_type", "same");
            x = op.one(&format!("{name}{i}")).expect("fits");
        }
        x
    };
    pair(&mut b, "before");
    let y = pair(&mut b, "after");
    let z = b.op("tan").arg("x", y).one("z").expect("any float");
    b.output(z);
    let plan = planned(b.finish(), Units::CpuAndNe);
    assert_eq!(plan.convolutions, anemone_ane::Convolutions { all: 12, on_ane: 12 });
    assert_eq!((plan.boundaries.len(), plan.crossings), (1, 1));
    let boundary = plan.boundaries[0];
    assert_eq!((boundary.at, boundary.from, boundary.to), (12, Unit::Ane, Unit::Cpu));
    assert_eq!((boundary.ms, boundary.bytes), (0.125, 2 * 64 * 64 * 64));
}

#[test]
fn an_older_engine_has_shorter_axes_and_says_what_it_rests_on() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, [1, 1, 1, 20000]));
    let y = b.op("relu").arg("x", x).one("y").expect("any float");
    b.output(y);
    let function = b.finish();
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("well formed");
    let on = |name: &str| {
        let device = Device::named(name).expect("known");
        plan(verified.function(None).expect("one function"), &device, Units::CpuAndNe)
    };
    assert_eq!(on("m1").ops[0].supported, [Unit::Cpu]);
    assert_eq!(on("m1").ops[0].facts[0].key, "ane-extent-16k");
    assert_eq!(on("m4").ops[0].supported, [Unit::Cpu, Unit::Ane]);
    assert!(on("m1").notes.iter().any(|n| n.contains("derived")) && on("m1").ops[0].carried);
    assert_eq!(on("a11").ops[0].facts[0].key, "ane-a11");
}
