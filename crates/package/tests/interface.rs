//! Interfaces say what coremltools' schema reads from the same files.

mod common;

use anemone_mil::DType;
use anemone_mil::interface::{
    ArrayFeature, ColorSpace, DefaultValue, FeatureKind, Flexibility, FunctionInterface, ImageFeature,
    ImageFlexibility, SizeRange,
};
use anemone_package::{overview, read};
use common::{corpus, load, packages};

fn main_of(name: &str) -> FunctionInterface {
    let package = read(&load(&corpus("packages").join(format!("{name}.mlpackage")))).expect("readable");
    package.program.interface.functions[0].clone()
}

fn array(dtype: DType, shape: &[i64]) -> ArrayFeature {
    ArrayFeature { dtype: Some(dtype), shape: shape.to_vec(), flexibility: Flexibility::Fixed, default: None }
}

#[test]
fn pictures_have_size_and_layout() {
    let picture = FeatureKind::Image(ImageFeature {
        width: 5,
        height: 3,
        color: ColorSpace::Rgb,
        flexibility: ImageFlexibility::Fixed,
    });
    assert_eq!(main_of("image-input").inputs[0].kind, picture);
    assert_eq!(main_of("image-output").outputs[0].kind, picture);
}

#[test]
fn ranges_and_enumerations_of_shapes_are_read() {
    let nine = SizeRange { lower: 1, upper: Some(9) };
    let three = SizeRange { lower: 3, upper: Some(3) };
    let ranged =
        ArrayFeature { flexibility: Flexibility::Ranges(vec![nine, three]), ..array(DType::F32, &[3, 3]) };
    let main = main_of("shape-range");
    assert_eq!(main.inputs[0].kind, FeatureKind::MultiArray(ranged));
    assert_eq!(main.outputs[0].kind, FeatureKind::MultiArray(array(DType::F32, &[])));
    let shapes = vec![vec![1, 4], vec![2, 4], vec![5, 4]];
    let listed = ArrayFeature { flexibility: Flexibility::Enumerated(shapes), ..array(DType::F32, &[1, 4]) };
    assert_eq!(main_of("shape-enumerated").inputs[0].kind, FeatureKind::MultiArray(listed));
}

#[test]
fn states_stand_apart_from_inputs() {
    let main = main_of("state");
    assert_eq!((main.inputs.len(), main.states.len()), (1, 1));
    assert_eq!(main.states[0].kind, FeatureKind::State(array(DType::F16, &[1, 3])));
}

#[test]
fn an_optional_input_has_its_default() {
    let y = main_of("optional-default").inputs[1].clone();
    let with_default = ArrayFeature { default: Some(DefaultValue::Float(2.5)), ..array(DType::F32, &[2, 3]) };
    assert_eq!((y.optional, y.kind), (true, FeatureKind::MultiArray(with_default)));
}

#[test]
fn a_classifier_names_label_and_probabilities() {
    let main = main_of("classifier");
    let named = (&*main.predicted_feature, &*main.predicted_probabilities);
    assert_eq!(named, ("classLabel", "classLabel_probs"));
    let kinds: Vec<_> = main.outputs.iter().map(|o| o.kind.clone()).collect();
    assert_eq!(kinds, [FeatureKind::String, FeatureKind::Dictionary { int_keys: false }]);
}

#[test]
fn functions_have_interfaces_of_their_own() {
    let package = read(&load(&corpus("packages/functions.mlpackage"))).expect("readable");
    let interface = package.program.interface;
    let names: Vec<&str> = interface.functions.iter().map(|f| &*f.name).collect();
    assert_eq!((names, &*interface.default_function), (vec!["plain", "alpha", "beta"], "plain"));
    assert!(interface.multi_function);
}

#[test]
fn the_overview_of_a_program_is_its_interface() {
    for path in packages("packages") {
        let files = load(&path);
        let overview = overview(&files).expect("readable");
        assert!(overview.is_program() && overview.stages.is_empty());
        assert_eq!(overview.interface, read(&files).expect("readable").program.interface);
    }
}
