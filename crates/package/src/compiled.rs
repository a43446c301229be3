//! Compiled models (`.mlmodelc`): MIL text, weights, and the interface beside them.

use crate::read::weights::Weights;
use crate::{Error, ErrorKind, Kept, Package, Source, interface};
use anemone_formats::coreml;
use anemone_formats::mlmodelc::{CoreMlData, Metadata};
use anemone_mil::{BlobRef, DType, Program, text};
use anemone_tensor::Bytes;
use std::cell::RefCell;

const TEXT: &str = "model.mil";
const DATA: &str = "coremldata.bin";
const METADATA: &str = "metadata.json";

/// Reads a compiled model whose text is MIL.
///
/// The interface comes from `coremldata.bin`; where that is missing or of an unknown form, the plainest interface of
/// the functions takes its place, with the metadata of `metadata.json`, and a note says so. A weight file that is not
/// there leaves its weights [missing](anemone_mil::WeightData::Missing), also with a note.
///
/// # Errors
/// When there is no `model.mil`, when it is no program, or when a weight is not where the text says.
pub fn read_compiled(source: &dyn Source) -> Result<Package, Error> {
    let file = |path: &str| source.read(path).map_err(|e| Error::io(path, e));
    let bytes = file(TEXT)?.map_or_else(|| Err(no_text(source)), Ok)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| Error::new(ErrorKind::Format, TEXT).caused_by(e))?;
    let mut notes = Vec::new();
    let mut program = parse(text, source, &mut notes)?;
    let mut kept = Kept::default();
    match file(DATA)?.map(|b| CoreMlData::read(&b)) {
        Some(Ok(data)) => describe(&mut program, data, &mut kept),
        found => {
            let reason = found
                .and_then(Result::err)
                .map_or_else(|| "is missing".into(), |e| format!("is not readable: {e}"));
            notes.push(format!("{DATA} {reason}; inputs and outputs are those of the program text"));
            let metadata = file(METADATA)?.and_then(|b| Metadata::read(&b).ok());
            metadata.into_iter().flatten().take(1).for_each(|m| name(&mut program, m));
        }
    }
    Ok(Package { program, kept, notes })
}

fn parse(text: &str, source: &dyn Source, notes: &mut Vec<String>) -> Result<Program, Error> {
    let state = RefCell::new((Weights::beside(source, String::new()), None, Vec::new()));
    let resolve = |place: &BlobRef, dtype: DType, shape: &[usize]| -> Option<Bytes> {
        let (weights, failure, missing) = &mut *state.borrow_mut();
        match weights.weight(&place.path, place.offset, dtype, shape.to_vec()) {
            Ok(weight) => weight.tensor().ok().map(|t| t.bytes().clone()),
            Err(e) if e.kind() == ErrorKind::MissingFile => {
                if !missing.contains(&place.path) {
                    missing.push(place.path.clone());
                }
                None
            }
            Err(e) => {
                failure.get_or_insert(e);
                None
            }
        }
    };
    let program =
        text::parse(text, &resolve).map_err(|e| Error::new(ErrorKind::Format, TEXT).caused_by(e))?;
    let (_, failure, missing) = state.into_inner();
    if let Some(failure) = failure {
        return Err(failure);
    }
    let note = |path| format!("{path} is missing; the program can be shown, but neither run nor written");
    notes.extend(missing.into_iter().map(note));
    Ok(program)
}

fn describe(program: &mut Program, data: CoreMlData, kept: &mut Kept) {
    kept.model = coreml::Model {
        specification_version: i32::try_from(data.specification_version).unwrap_or(0),
        description: Some(data.description),
        ..coreml::Model::default()
    };
    let only = program.functions.first().filter(|_| program.functions.len() == 1);
    program.interface = interface::interface(&kept.model, only.map(|f| &*f.name));
}

fn name(program: &mut Program, metadata: Metadata) {
    let interface = &mut program.interface;
    if let Ok(version) = i32::try_from(metadata.specification_version)
        && version > 0
    {
        interface.spec_version = version;
    }
    interface.updatable = metadata.is_updatable;
    interface.metadata = anemone_mil::interface::Metadata {
        description: metadata.short_description,
        version: metadata.version,
        author: metadata.author,
        license: metadata.license,
        user: metadata.user_defined.into_iter().collect(),
    };
}

/// Why a compiled model has no text.
fn no_text(source: &dyn Source) -> Error {
    let has = |path: &str| matches!(source.read(path), Ok(Some(_)));
    let message = if has("model.espresso.net") {
        "the compiled model is a neural network (model.espresso.net); only ML programs can be opened. \
         Convert its source again with a target of iOS 15 or newer and the type mlProgram"
    } else if has("model0/coremldata.bin") {
        "the compiled model is a pipeline; open one of its models on its own, such as its folder model0"
    } else {
        "model.mil is missing; a compiled model is a folder with model.mil and coremldata.bin in it"
    };
    let kind = if message.starts_with("model.mil") { ErrorKind::MissingFile } else { ErrorKind::ModelType };
    Error::new(kind, message)
}
