//! The weights and states of a model that is there.

use super::subject::{Cache, Group, Origin, Part, Piece, StateSize, Subject};
use crate::open::open_to_look;
use crate::{Container, Error, convert};
use anemone_mil::interface::{ArrayFeature, Feature, FeatureKind};
use anemone_mil::{DType, Program};
use anemone_package::{WeightShape, summary};
use std::path::Path;

/// A package, compiled model or ONNX file.
pub(super) fn of(path: &Path) -> Result<Subject, Error> {
    let onnx = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
    let (program, what) = if onnx {
        (convert::imported(path)?, "ONNX model")
    } else {
        let opened = open_to_look(path)?;
        let what = match opened.container {
            Container::Package => "package",
            Container::Compiled => "compiled model",
            Container::Text => {
                return Err(Error::new("MIL text holds no weights, so there is nothing to size").at(path));
            }
        };
        (opened.program, what)
    };
    Ok(measured(&program, what))
}

fn measured(program: &Program, what: &str) -> Subject {
    let summary = summary(program);
    let pieces = summary.shapes.iter().flat_map(pieces).collect();
    let functions = summary.functions.len();
    let several = if functions > 1 { format!(" of {functions} functions") } else { String::new() };
    let cache = cache(program);
    let mut notes = Vec::new();
    if let Cache::States(states) = &cache {
        notes.extend(states.iter().filter_map(|s| {
            let positions = s.positions?;
            Some(format!("state `{}` holds {positions} positions, its last extent but one", s.name))
        }));
        notes.truncate(MOST_NOTES);
    }
    Subject {
        origin: Origin::Model,
        what: format!("{what}{several}, {} weights", summary.shapes.iter().map(|s| s.tensors).sum::<usize>()),
        pieces,
        meant: None,
        stored: Some(summary.weight_bytes),
        cache,
        positions: None,
        notes,
    }
}

/// Notes on states before the rest is left out.
const MOST_NOTES: usize = 4;

/// One piece per weight, so that programs may be cut between them.
fn pieces(shape: &WeightShape) -> impl Iterator<Item = Piece> {
    let extent = |n: &usize| u64::try_from(*n).unwrap_or(u64::MAX);
    let elements = shape.shape.iter().map(extent).fold(1, u64::saturating_mul);
    // Whole numbers and the like are not compressed: as vectors they count 2 B an element.
    let rows = match shape.shape.first() {
        Some(rows) if shape.shape.len() > 1 && matches!(shape.dtype, DType::F16 | DType::F32) => extent(rows),
        _ => 1,
    };
    let group = Group::new(rows, elements.checked_div(rows).unwrap_or(0), 1);
    std::iter::repeat_n(Piece { part: Part::Other, groups: vec![group] }, shape.tensors)
}

fn cache(program: &Program) -> Cache {
    let default = program.interface.function(&program.interface.default_function);
    let function = default.or(program.interface.functions.first());
    let states: Vec<StateSize> = function.into_iter().flat_map(|f| &f.states).filter_map(state).collect();
    if states.is_empty() { Cache::None } else { Cache::States(states) }
}

fn state(feature: &Feature) -> Option<StateSize> {
    let (FeatureKind::State(array) | FeatureKind::MultiArray(array)) = &feature.kind else { return None };
    let ArrayFeature { dtype, shape, .. } = array;
    let extents: Vec<u64> = shape.iter().map(|&n| u64::try_from(n).unwrap_or(0)).collect();
    let elements = extents.iter().copied().fold(1, u64::saturating_mul);
    let bits = u64::try_from(dtype.unwrap_or(DType::F16).bits()).unwrap_or(16);
    let positions = (extents.len() > 2).then(|| extents[extents.len() - 2]).filter(|n| *n > 0);
    Some(StateSize {
        name: feature.name.clone(),
        bytes: elements.saturating_mul(bits).div_ceil(8),
        positions,
    })
}
