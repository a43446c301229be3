//! What the writer makes of programs that were never in a package.

mod common;

use anemone_formats::coreml::{Model, ModelKind, mil};
use anemone_mil::text::plain_interface;
use anemone_mil::{
    BlobRef, Builder, DType, Level, Opset, Program, Tensor, TensorType, Verified, Weight, WeightData,
    difference, verify,
};
use anemone_package::{ErrorKind, Files, Kept, Sink, read, write};
use std::io;

/// y = x + w0 + w1 + ...
fn sum(opset: Opset, weights: Vec<Weight>) -> Program {
    let mut b = Builder::new("main", opset);
    let ty = TensorType::new(weights[0].dtype, weights[0].shape.iter().copied());
    let mut y = b.input("x", ty);
    for w in weights {
        let w = b.constant("w", w);
        y = b.op("add").arg("x", y).arg("y", w).one("y").expect("the same types");
    }
    b.output(y);
    let interface = plain_interface(&[b.function().clone()]);
    Program::new(b.finish(), interface)
}

fn ticket(program: &Program) -> Verified<'_> {
    verify(program, Level::Legal(Opset::Ios18)).expect("no fault")
}

fn written(program: &Program) -> Files {
    let mut files = Files::new();
    write(ticket(program), &Kept::default(), &mut files).expect("writable");
    files
}

fn blob_count(files: &Files) -> u32 {
    let bytes = &files["Data/com.apple.CoreML/weights/weight.bin"];
    u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn body(files: &Files) -> mil::Block {
    let model = Model::read(&files["Data/com.apple.CoreML/model.mlmodel"]).expect("a model");
    let Some(ModelKind::MlProgram(program)) = model.kind else { panic!("a program") };
    program.functions["main"].body().expect("a body").clone()
}

fn ramp(dtype: DType, shape: [usize; 2]) -> Weight {
    let values: Vec<f64> = (0..u32::try_from(shape[0] * shape[1]).expect("small")).map(f64::from).collect();
    Weight::of(&Tensor::from_f64s(dtype, shape, &values).expect("fits"))
}

#[test]
fn equal_weights_share_one_place() {
    let program = sum(
        Opset::Ios17,
        vec![
            ramp(DType::F32, [4, 4]),
            ramp(DType::F32, [4, 4]),
            ramp(DType::F32, [4, 4]).transposed(&[1, 0]),
        ],
    );
    let files = written(&program);
    assert_eq!(blob_count(&files), 2);
    assert_eq!(difference(&program, &read(&files).expect("readable").program), None);
}

#[test]
fn weights_that_differ_in_one_element_do_not_share() {
    let weight = |changed: Option<usize>| {
        let mut values = vec![0.0f32; 1 << 14];
        changed.into_iter().for_each(|at| values[at] = 1.0);
        Weight::of(&Tensor::from_f32s([128, 128], &values).expect("fits"))
    };
    let places = (0..1 << 14).step_by(1000).map(|at| weight(Some(at)));
    let all: Vec<Weight> = places.chain([weight(None), weight(Some(3000)), weight(None)]).collect();
    let program = sum(Opset::Ios17, all);
    let files = written(&program);
    assert_eq!(blob_count(&files), 18);
    assert_eq!(difference(&program, &read(&files).expect("readable").program), None);
}

#[test]
fn the_same_recipe_is_written_once_and_evaluated() {
    let w = ramp(DType::F32, [3, 5]).transposed(&[1, 0]).cast(DType::F16);
    let files = written(&sum(Opset::Ios17, vec![w.clone(), w]));
    assert_eq!(blob_count(&files), 1);
    // numpy: np.arange(15, dtype=np.float16).reshape(3, 5).T.ravel().tobytes()[:8].hex() == '0000004500490000'...
    let weights = &files["Data/com.apple.CoreML/weights/weight.bin"];
    assert_eq!(weights[128..136], [0x00, 0x00, 0x00, 0x45, 0x00, 0x49, 0x00, 0x3c]);
    assert_eq!(weights.len(), 128 + 30);
}

#[test]
fn ten_elements_go_into_the_weight_file_and_nine_stay() {
    let ten = written(&sum(Opset::Ios17, vec![ramp(DType::F16, [2, 5])]));
    let nine = written(&sum(Opset::Ios17, vec![ramp(DType::F16, [3, 3])]));
    assert!(ten.contains_key("Data/com.apple.CoreML/weights/weight.bin"));
    assert_eq!(nine.keys().collect::<Vec<_>>(), ["Data/com.apple.CoreML/model.mlmodel", "Manifest.json"]);
}

#[test]
fn int32_goes_into_the_weight_file_from_ios18_on() {
    for (opset, blobs) in [(Opset::Ios17, false), (Opset::Ios18, true)] {
        let files = written(&sum(opset, vec![ramp(DType::I32, [4, 4])]));
        assert_eq!(files.contains_key("Data/com.apple.CoreML/weights/weight.bin"), blobs, "{opset}");
    }
}

#[test]
fn constants_stand_before_their_first_use() {
    let program = sum(Opset::Ios17, vec![ramp(DType::F32, [1, 2]), ramp(DType::F32, [1, 2])]);
    let kinds: Vec<String> = body(&written(&program)).operations.into_iter().map(|op| op.op_type).collect();
    assert_eq!(kinds, ["const", "add", "const", "add"]);
}

#[test]
fn a_weight_without_bytes_is_refused_by_name() {
    let origin = BlobRef { path: "@model_path/weights/weight.bin".into(), offset: 64 };
    let missing =
        Weight { dtype: DType::F32, shape: vec![4, 4], data: WeightData::Missing, origin: Some(origin) };
    let error = write(ticket(&sum(Opset::Ios17, vec![missing])), &Kept::default(), &mut Files::new());
    let error = error.expect_err("no bytes");
    assert_eq!(error.kind(), ErrorKind::Weight);
    assert_eq!(
        error.to_string(),
        "function main, op 0 add \"y\", constant \"w\": its bytes of @model_path/weights/weight.bin at offset 64 are not \
         at hand; open the program together with its weight file"
    );
}

struct Full;

impl Sink for Full {
    fn create(&mut self, _: &str) -> io::Result<Box<dyn io::Write + '_>> {
        Err(io::Error::other("no space left on device"))
    }
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    let program = sum(Opset::Ios17, vec![ramp(DType::F32, [4, 4])]);
    let error = write(ticket(&program), &Kept::default(), &mut Full).expect_err("full");
    let text = "Data/com.apple.CoreML/weights/weight.bin: no space left on device";
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, text.into()));
}
