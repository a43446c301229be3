//! Programs to packages.

mod function;
mod plan;
mod value;

use crate::container::{Kept, MANIFEST, in_data};
use crate::{Error, Sink, interface};
use anemone_formats::coreml::{self, ModelKind, mil};
use anemone_formats::manifest::{Item, Manifest};
use anemone_mil::{Function, Program, Verified};
use plan::Plan;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Path and size in bytes of every file, in the order of writing.
    pub files: Vec<(String, u64)>,
}

impl Written {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, f| sum.saturating_add(f.1))
    }
}

/// Writes a package.
///
/// The same program and the same `kept` always give the same bytes. Weights are streamed one by one, those that are
/// computed are made when their turn comes; the largest of them is what this takes of memory. Symbolic dims are written
/// as unknown ones.
///
/// # Errors
/// When a weight is not at hand, several functions stand in an interface for one, an operand is computed that must be
/// constant, or the sink fails.
pub fn write(program: Verified<'_>, kept: &Kept, sink: &mut dyn Sink) -> Result<Written, Error> {
    let program = program.program();
    let mut plan = Plan::new(program.interface.spec_version);
    let model = model(program, kept, &mut plan)?.write();
    let manifest = manifest(&model, kept, !plan.is_empty());
    let mut written = Written { files: Vec::new() };
    let model_path = manifest.model().map(|item| in_data(&item.path)).unwrap_or_default();
    if !plan.is_empty() {
        let path = format!("{}/weight.bin", beside(&model_path, "weights"));
        let mut file = sink.create(&path).map_err(|e| Error::io(&path, e))?;
        plan.stream(&mut file)?;
        drop(file);
        written.files.push((path, plan.file_len()));
    }
    for (path, bytes) in &kept.files {
        put(sink, path, bytes, &mut written)?;
    }
    put(sink, &model_path, &model, &mut written)?;
    put(sink, MANIFEST, &manifest.write(), &mut written)?;
    Ok(written)
}

fn put(sink: &mut dyn Sink, path: &str, bytes: &[u8], written: &mut Written) -> Result<(), Error> {
    let store = |sink: &mut dyn Sink| {
        let mut file = sink.create(path)?;
        file.write_all(bytes)?;
        file.flush()
    };
    store(sink).map_err(|e| Error::io(path, e))?;
    written.files.push((path.to_owned(), u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
    Ok(())
}

fn beside(path: &str, name: &str) -> String {
    path.rsplit_once('/').map_or_else(|| name.to_owned(), |(folder, _)| format!("{folder}/{name}"))
}

fn model(program: &Program, kept: &Kept, plan: &mut Plan) -> Result<coreml::Model, Error> {
    let interface = &program.interface;
    let old = kept.model.description.clone().unwrap_or_default();
    let description = interface::description(interface, &old)?;
    Ok(coreml::Model {
        specification_version: interface.spec_version,
        description: Some(description),
        is_updatable: interface.updatable,
        kind: Some(ModelKind::MlProgram(Box::new(message(program, plan)?))),
        unknown: kept.model.unknown.clone(),
    })
}

fn message(program: &Program, plan: &mut Plan) -> Result<mil::Program, Error> {
    let function = |f: &Function| Ok((f.name.to_string(), function::function(f, plan)?));
    let functions = program.functions.iter().map(function).collect::<Result<_, _>>()?;
    Ok(mil::Program {
        version: program.version,
        functions,
        doc_string: program.doc.clone(),
        attributes: value::attributes(&program.attributes, None)?,
        unknown: program.unknown.clone().into(),
    })
}

/// The manifest: fresh, with what was kept in place of it.
fn manifest(model: &[u8], kept: &Kept, with_weights: bool) -> Manifest {
    let mut manifest = Manifest::for_model(model, with_weights);
    let Some(model_item) = &kept.model_item else { return manifest };
    let folder = model_item.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut items = vec![model_item.clone()];
    if let Some(fresh) = manifest.items.get(1) {
        let (old, path) = (kept.weights_item.as_ref(), format!("{folder}/weights"));
        items.push(match old {
            Some(old) if old.path == path => old.clone(),
            _ => Item { path, author: model_item.author.clone(), ..fresh.clone() },
        });
    }
    let has_files = |item: &&Item| {
        let path = in_data(&item.path);
        let in_item = |p: &str| p.strip_prefix(&*path).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        kept.files.iter().any(|(p, _)| in_item(p))
    };
    items.extend(kept.items.iter().filter(has_files).cloned());
    manifest.root = model_item.id.clone();
    manifest.items = items;
    manifest
}
