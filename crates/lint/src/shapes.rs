//! Fixes of what a function takes and holds: shapes of inputs, widths of states. The interface follows.

use crate::fix::Case;
use anemone_mil::interface::{Feature, FeatureKind, Flexibility, ImageFlexibility};
use anemone_mil::{Function, Program, Type, ValueId};
use anemone_passes::engine::{fix_shapes, pad_states};
use anemone_tensor::num;

/// Gives inputs of several shapes the one that was chosen, or their default one when that was asked for.
pub(crate) fn fix_inputs(program: &mut Program, case: &Case<'_>) -> usize {
    let function = &program.functions[case.function];
    let name = function.name.to_string();
    let Some(interface) = program.interface.function(&name) else { return 0 };
    let mut shapes: Vec<(ValueId, Vec<usize>)> = Vec::new();
    for &v in &function.inputs {
        let value = function.value(v);
        let (Type::Tensor(ty), Some(feature)) =
            (&value.ty, interface.inputs.iter().find(|f| f.name == *value.name))
        else {
            continue;
        };
        let open = ty.known_shape().is_none() || is_flexible(&feature.kind);
        let given = case.choices.shapes.iter().find(|(n, _)| *n == *value.name).map(|(_, s)| s.clone());
        let usual = || if case.choices.fixed { default_shape(&feature.kind, ty.rank()) } else { None };
        match given.or_else(usual).filter(|_| open) {
            Some(shape) => shapes.push((v, shape)),
            None if open => return 0,
            None => {}
        }
    }
    let mut fixed = program.functions[case.function].clone();
    if shapes.is_empty() || fix_shapes::run(&mut fixed, &shapes).is_err() {
        return 0;
    }
    let count = shapes.len();
    program.functions[case.function] = fixed;
    describe(program, &name, &shapes, case.function);
    count
}

fn is_flexible(kind: &FeatureKind) -> bool {
    match kind {
        FeatureKind::MultiArray(a) => a.flexibility != Flexibility::Fixed,
        FeatureKind::Image(i) => i.flexibility != ImageFlexibility::Fixed,
        _ => false,
    }
}

/// The default shape of a feature, as its tensor has it.
fn default_shape(kind: &FeatureKind, rank: usize) -> Option<Vec<usize>> {
    match kind {
        FeatureKind::MultiArray(a) if a.shape.len() == rank => {
            a.shape.iter().map(|&n| num::usize_of(n).filter(|&n| n > 0)).collect()
        }
        _ => None,
    }
}

/// Writes the shapes of inputs and outputs into the interface.
fn describe(program: &mut Program, name: &str, shapes: &[(ValueId, Vec<usize>)], at: usize) {
    let function: &Function = &program.functions[at];
    let Some(interface) = program.interface.functions.iter_mut().find(|f| f.name == name) else { return };
    for (v, shape) in shapes {
        let input = &*function.value(*v).name;
        if let Some(feature) = interface.inputs.iter_mut().find(|f| f.name == input) {
            set_shape(feature, shape);
        }
    }
    for &v in function.outputs() {
        let value = function.value(v);
        let shape = value.ty.tensor().and_then(|t| t.known_shape()).filter(|s| !s.is_empty());
        let feature = interface.outputs.iter_mut().find(|f| f.name == *value.name);
        if let (Some(shape), Some(feature)) = (shape, feature) {
            set_shape(feature, &shape);
        }
    }
}

fn set_shape(feature: &mut Feature, shape: &[usize]) {
    if let FeatureKind::MultiArray(array) | FeatureKind::State(array) = &mut feature.kind {
        array.shape = shape.iter().map(|&n| num::i64_of(n)).collect();
        array.flexibility = Flexibility::Fixed;
    }
}

/// What the last dim of a state must be a multiple of (fact `ane-state-width`).
pub(crate) const STATE_STEP: usize = 32;

/// Widens states.
pub(crate) fn pad_states(program: &mut Program, case: &Case<'_>) -> usize {
    let mut function = program.functions[case.function].clone();
    let Ok(widened) = pad_states::run(&mut function, STATE_STEP) else { return 0 };
    let interface = program.interface.functions.iter_mut().find(|f| f.name == *function.name);
    for feature in interface.into_iter().flat_map(|i| i.states.iter_mut()) {
        let state = function.inputs.iter().find(|&&v| *function.value(v).name == *feature.name);
        if let Some(Type::State(ty)) = state.map(|&v| &function.value(v).ty)
            && let Some(shape) = ty.known_shape()
        {
            set_shape(feature, &shape);
        }
    }
    program.functions[case.function] = function;
    widened
}
