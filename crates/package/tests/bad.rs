//! Every package under `corpus/bad/packages` is refused with the place of its fault and what to do.

mod common;

use anemone_package::{ErrorKind, model_overview, overview, read};
use common::{corpus, load, packages};

fn message(name: &str) -> (ErrorKind, String) {
    let path = corpus("bad/packages").join(format!("{name}.mlpackage"));
    let error = read(&load(&path)).expect_err(name);
    (error.kind(), error.to_string())
}

macro_rules! refused {
    ($($test:ident: $name:literal, $kind:ident, $text:literal;)*) => {
        $( #[test]
        fn $test() {
            assert_eq!(message($name), (ErrorKind::$kind, $text.to_owned()));
        } )*

        #[test]
        fn every_bad_package_has_its_test() {
            let tested = [$( $name ),*];
            for path in packages("bad/packages") {
                let name = path.file_stem().and_then(|s| s.to_str()).expect("UTF-8");
                assert!(tested.contains(&name), "{name} has no test");
            }
        }
    };
}

refused! {
    a_missing_weight_file: "weights-missing", MissingFile,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 64 of @model_path/weights/weight.bin: \
         Data/com.apple.CoreML/weights/weight.bin is missing from the package; copy the weights of the model there";
    an_offset_beyond_the_weight_file: "weight-offset-beyond-file", Format,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 4096 of @model_path/weights/weight.bin: \
         Data/com.apple.CoreML/weights/weight.bin: weight file: no metadata record fits at 4096 of a file of 192 bytes \
         (at byte 4096)";
    a_weight_file_that_is_cut_off: "weight-file-cut-off", Format,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 64 of @model_path/weights/weight.bin: \
         Data/com.apple.CoreML/weights/weight.bin: weight file: 64 bytes at 128 end beyond the file of 150 bytes; \
         is it cut off? (at byte 72)";
    a_weight_of_another_type: "weight-of-other-type", Weight,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 64 of @model_path/weights/weight.bin: \
         the record holds 64 bytes of fp16; the program and its weight file do not belong together";
    a_weight_of_another_size: "weight-of-other-size", Weight,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 64 of @model_path/weights/weight.bin: \
         the record holds 48 bytes of fp32; the program and its weight file do not belong together";
    an_absolute_weight_file: "weight-file-absolute", Path,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 64 of /etc/hostname: weight file \
         \"/etc/hostname\" must be named relative to the model, as @model_path/...";
    a_weight_file_outside_of_the_package: "weight-file-outside", Path,
        "function main, op 0 const \"w\", weight fp32 [16] (64 bytes) at offset 64 of @model_path/../../../weight.bin: \
         weight file \"@model_path/../../../weight.bin\": path \"../../../weight.bin\" leaves its folder through `..`; \
         only relative paths inside the package are allowed";
    dims_whose_product_overflows: "weight-dims-overflow", Weight,
        "function main, op 0 const \"w\", weight fp32 [1099511627776, 1099511627776] (more bytes than can be addressed) \
         at offset 64 of @model_path/weights/weight.bin: the record holds 64 bytes of fp32; the program and its \
         weight file do not belong together";
    a_constant_with_too_few_elements: "constant-too-short", Length,
        "function main, op 0 const \"w\": is tensor<fp32, [16]> with 2 elements; its dims ask for 16";
    a_constant_whose_rank_is_not_its_dims: "constant-rank-differs", Type,
        "function main, op 0 const \"w\": says rank 3, but has 1 dims";
    a_constant_without_a_value: "constant-without-value", Missing,
        "function main, op 0 const \"w\": has no attribute `val`, which holds a constant's value";
    a_cycle: "cycle", Order,
        "function main, op 0 relu \"a\", argument x: takes \"b\", which is only defined by itself or further down; \
         ops must stand in the order of their data, without cycles";
    a_name_defined_twice: "name-defined-twice", Duplicate,
        "function main, op 1 relu \"a\": the name \"a\" is defined twice; names must be unique";
    a_name_that_nothing_defines: "name-undefined", Undefined,
        "function main, op 0 add \"y\", argument y: takes \"nowhere\", which nothing defines";
    a_name_used_outside_of_its_block: "name-leaves-its-block", Undefined,
        "function main, op 1 add \"y\", argument y: takes \"inner\", which nothing defines";
    an_output_that_nothing_defines: "output-undefined", Undefined,
        "function main, outputs: takes \"y\", which nothing defines";
    an_unknown_op_set: "opset-unknown", Unsupported,
        "function main: op set \"CoreML77\" is not known; known are CoreML3, CoreML4, CoreML5, CoreML6, CoreML7, CoreML8, \
         CoreML9";
    an_op_set_without_a_body: "opset-without-body", Missing,
        "function main: has no body for its op set CoreML8, only for [\"CoreML7\"]";
    an_unknown_element_type: "type-unknown", Type,
        "function main, op 0 relu \"y\", result \"y\": has element type code 99, which MIL.proto does not define";
    a_missing_model_file: "model-missing", MissingFile,
        "Data/com.apple.CoreML/model.mlmodel is missing, which the manifest names as the model";
    a_model_file_that_is_cut_off: "model-cut-off", Format,
        "Data/com.apple.CoreML/model.mlmodel: Core ML model: a field announces 120 bytes, but only 113 are left in its \
         message (at byte 38, in kind)";
    a_missing_manifest: "manifest-missing", MissingFile,
        "Manifest.json is missing; a package is a folder with Manifest.json and Data/ in it";
    a_manifest_path_outside_of_the_package: "manifest-path-outside", Format,
        "Manifest.json: package manifest: path \"../com.apple.CoreML/model.mlmodel\" leaves its folder through `..`; \
         only relative paths inside the package are allowed \
         (in itemInfoEntries[\"00000000-0000-4000-8000-000000000001\"])";
    an_absolute_manifest_path: "manifest-path-absolute", Format,
        "Manifest.json: package manifest: path \"/com.apple.CoreML/model.mlmodel\" is absolute; \
         only relative paths inside the package are allowed \
         (in itemInfoEntries[\"00000000-0000-4000-8000-000000000001\"])";
    a_model_that_is_no_program: "not-a-program", ModelType,
        "the model is a neuralNetwork; only ML programs can be opened. Convert its source again with a target of iOS 15 \
         or newer and the type mlProgram";
    a_pipeline: "pipeline", ModelType,
        "the model is a pipeline; open one of its models on its own, or convert them; only ML programs can be opened. \
         Convert its source again with a target of iOS 15 or newer and the type mlProgram";
}

#[test]
fn a_source_that_fails_is_named() {
    let error = read(&common::Broken).expect_err("no file");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, "Manifest.json: the disk is gone".into()));
}

#[test]
fn the_interface_of_a_model_that_is_no_program_is_still_read() {
    let path = corpus("bad/packages/not-a-program.mlpackage");
    let overview = overview(&load(&path)).expect("readable");
    assert_eq!((overview.kind.as_str(), overview.interface.spec_version), ("neuralNetwork", 4));
    let main = overview.interface.function("main").expect("described");
    assert_eq!((&*main.inputs[0].name, &*main.outputs[0].name), ("x", "y"));
    let alone = load(&path)["Data/com.apple.CoreML/model.mlmodel"].clone();
    assert_eq!(model_overview(&alone).expect("the same model"), overview);
}

#[test]
fn a_pipeline_lists_its_models() {
    let overview = overview(&load(&corpus("bad/packages/pipeline.mlpackage"))).expect("readable");
    let stages: Vec<_> = overview.stages.iter().map(|s| (&*s.name, &*s.overview.kind)).collect();
    assert_eq!(
        (&*overview.kind, stages),
        ("pipeline", vec![("body", "mlProgram"), ("head", "neuralNetwork")])
    );
}
