//! What the fuzz targets share: a limit on memory, inputs of several files, and what must hold of every program.

mod memory;

pub use memory::within_limit;

use anemone_ane::{Device, Units};
use anemone_formats::Bytes;
use anemone_mil::verify::{Level, verify};
use anemone_mil::{DType, Dim, Program, Type, ValueId, difference};
use anemone_package::{Files, Kept};

/// Most elements that the canonical passes may meet in a program before the fuzzer leaves it alone: larger tensors are
/// legal, and folding them is slow with every check switched on.
const MAX_ELEMENTS: usize = 1 << 16;

/// The parts of an input: each a length in 4 bytes, lowest first, and that many bytes; the last may be cut off.
pub fn sections(data: &[u8]) -> Vec<Bytes> {
    let mut rest = data;
    let mut parts = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).min(tail.len());
        let (part, next) = tail.split_at(length);
        parts.push(Bytes::copy_from_slice(part));
        rest = next;
    }
    parts
}

/// Whatever a reader gave: once it is verified, every later stage succeeds or returns an error.
///
/// # Panics
/// When one of them panics, or when text or package come back as another program.
pub fn judge(program: &Program, kept: &Kept) {
    let Ok(verified) = verify(program, Level::Imported) else { return };
    let device = Device::named("m4").expect("a device that is known");
    for function in program.functions.iter().filter_map(|f| verified.function(Some(&f.name))) {
        let _ = anemone_ane::plan(function, &device, Units::CpuAndNe);
    }
    if let Some(difference) = anemone_testkit::text::difference_after_text(program) {
        panic!("comes back from text as another program: {difference}");
    }
    let named = nameless_dims(program);
    let Ok(verified) = verify(&named, Level::Imported) else { return };
    let mut files = Files::new();
    if anemone_package::write(verified, kept, &mut files).is_ok() {
        let again = anemone_package::read(&files).expect("what was written can be read");
        let other = difference(&named, &again.program);
        assert_eq!(other, None, "comes back from its package as another program");
    }
    rewrite(program);
}

/// The program with every symbol an unknown dim: a package has no names for dims.
fn nameless_dims(program: &Program) -> Program {
    let mut program = program.clone();
    for function in &mut program.functions {
        let ids: Vec<ValueId> = function.values().map(|(id, _)| id).collect();
        for id in ids {
            forget(&mut function.value_mut(id).ty);
        }
    }
    program
}

fn forget(ty: &mut Type) {
    match ty {
        Type::Tensor(t) | Type::State(t) => {
            for dim in t.dims.iter_mut().filter(|d| d.known().is_none()) {
                *dim = Dim::Unknown;
            }
        }
        Type::List { elem, .. } => forget(elem),
        Type::Tuple(items) => items.iter_mut().for_each(forget),
        Type::Dict(key, value) => [key, value].into_iter().for_each(|t| forget(t)),
    }
}

/// Runs the passes over a verified program; what they leave must verify again.
fn rewrite(program: &Program) {
    if largest(program) > MAX_ELEMENTS || verify(program, Level::Canonical).is_err() {
        return;
    }
    let mut program = program.clone();
    for function in &mut program.functions {
        anemone_passes::canonicalize(function);
    }
    verify(&program, Level::Canonical).expect("the canonical passes leave a legal program");
    for function in &mut program.functions {
        anemone_passes::legalize(function, DType::F16);
    }
    verify(&program, Level::Canonical).expect("lower precision leaves a legal program");
}

/// Elements of the largest tensor whose shape is known.
fn largest(program: &Program) -> usize {
    let values = program.functions.iter().flat_map(|f| f.values());
    values.filter_map(|(_, value)| value.ty.tensor()?.element_count()).max().unwrap_or(0)
}
