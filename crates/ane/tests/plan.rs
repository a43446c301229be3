//! Plans of small programs built by hand; expected numbers are those of the recorded estimates.

use anemone_ane::{Device, Plan, Unit, Units, plan};
use anemone_mil::{Builder, DType, Opset, TensorType, ValueId};

fn m4() -> &'static Device {
    Device::named("m4").expect("known")
}

/// One `relu` of the given type.
fn relu(dtype: DType, dims: &[usize]) -> Plan {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(dtype, dims.iter().copied()));
    let y: ValueId = b.op("relu").arg("x", x).one("relu_0").expect("any float");
    b.output(y);
    plan(&b.finish(), m4(), Units::CpuAndNe)
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
    assert_eq!(op.facts[0].id, "ane-extent");
    assert_eq!(op.reason, "refused by the ANE: `x` has an axis of 65537, and 65536 is the longest");
    assert!(op.estimate.expect("known op").ane.is_none());
}

#[test]
fn fp32_is_refused_with_its_fact() {
    let op = &relu(DType::F32, &[1, 64, 32, 32]).ops[0];
    assert_eq!((op.facts[0].id, op.preferred), ("ane-fp32", Unit::Cpu));
}

#[test]
fn units_limit_what_is_listed() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, [1, 64, 32, 32]));
    let y = b.op("relu").arg("x", x).one("relu_0").expect("any float");
    b.output(y);
    let function = b.finish();
    let listed = |units| plan(&function, m4(), units).ops[0].supported.clone();
    assert_eq!(listed(Units::All), [Unit::Cpu, Unit::Gpu, Unit::Ane]);
    assert_eq!(listed(Units::CpuAndGpu), [Unit::Cpu, Unit::Gpu]);
    assert_eq!(listed(Units::CpuOnly), [Unit::Cpu]);
    let notes = plan(&function, m4(), Units::All).notes;
    assert!(notes.iter().any(|n| n.contains("GPU")), "{notes:?}");
}
