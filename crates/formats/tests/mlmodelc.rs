//! A model compiled by coremlc; the expected values are read off its files.

use anemone_formats::coreml::{ArrayDataType, FeatureKind};
use anemone_formats::mlmodelc::{CoreMlData, Feature, Metadata};
use anemone_testkit::corpus;

const MODEL: &str = "mlmodelc/silero-int8.mlmodelc";

#[test]
fn metadata_says_what_the_model_takes_gives_and_consists_of() {
    let all = Metadata::read(&corpus::bytes(&format!("{MODEL}/metadata.json"))).expect("metadata");
    let [model] = &all[..] else { panic!("one model, not {}", all.len()) };
    assert_eq!((model.specification_version, model.metadata_version.as_str()), (7, "3.0"));
    assert_eq!(model.storage_precision, "Mixed (Float16, Float32, Int8)");
    assert_eq!(model.compute_precision, "Mixed (Float16, Float32, Int32)");
    assert_eq!(model.model_type, "MLModelType_mlProgram");
    assert_eq!(model.op_histogram.get("Ios16.conv"), Some(&6));
    assert_eq!(model.availability.get("iOS").map(String::as_str), Some("16.0"));
    assert_eq!(model.user_defined.len(), 4);
    assert_eq!(model.generated_class_name, "unified_int8");
    assert_eq!((model.outputs.len(), model.states.len()), (3, 0));
    let expected = Feature {
        name: "audio_input".into(),
        feature_type: "MultiArray".into(),
        data_type: "Float32".into(),
        shape: vec![1, 576],
        formatted_type: "MultiArray (Float32 1 × 576)".into(),
        ..Feature::default()
    };
    assert_eq!(model.inputs.first(), Some(&expected));
}

#[test]
fn the_interface_is_inside_the_data() {
    let data = CoreMlData::read(&corpus::bytes(&format!("{MODEL}/coremldata.bin"))).expect("data");
    assert_eq!((data.model_type, data.specification_version), (502, 7));
    let names: Vec<_> = data.description.output.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["vad_output", "new_hidden_state", "new_cell_state"]);
    let input = data.description.input.first().and_then(|f| f.feature_type.as_ref()?.kind.as_ref());
    let Some(FeatureKind::MultiArray(array)) = input else { panic!("an array") };
    assert_eq!(array.shape, [1, 576]);
    assert_eq!(ArrayDataType::from_code(array.data_type), Some(ArrayDataType::Float32));
}
