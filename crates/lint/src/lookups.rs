//! Look-ups in tables that are left to the host.

use crate::fix::Case;
use anemone_mil::interface::{ArrayFeature, Feature, FeatureKind, Flexibility};
use anemone_mil::{Const, DType, Function, OpId, Opset, Program};
use anemone_passes::engine::hand_in_rows;
use anemone_tensor::num;

/// A look-up that the host does now.
#[derive(Clone, Debug)]
pub struct LookUp {
    /// The function.
    pub function: String,
    /// The input that held the numbers of rows.
    pub numbers: String,
    /// The input that holds the rows.
    pub rows: String,
    /// The table.
    pub table: Const,
}

/// Makes the function take rows instead of their numbers, where that was asked for.
pub(crate) fn hand_in_rows(program: &mut Program, case: &Case<'_>) -> usize {
    if !case.choices.host {
        return 0;
    }
    case.hits.iter().filter(|&&id| hand_in(program, case.function, id).is_some()).count()
}

fn hand_in(program: &mut Program, at: usize, id: OpId) -> Option<()> {
    let mut function = program.functions[at].clone();
    if !function.walk().iter().any(|&(_, op)| op == id) {
        return None;
    }
    let numbers = function.value(hand_in_rows::found(&function, id).ok()?.0).name.to_string();
    let handed = hand_in_rows::run(&mut function, id).ok()?;
    let feature = rows(&function, handed.rows)?;
    let interface = program.interface.functions.iter_mut().find(|f| f.name == *function.name)?;
    if !function.inputs.contains(&handed.numbers) {
        interface.inputs.retain(|f| f.name != numbers);
    }
    interface.inputs.push(feature);
    program.functions[at] = function;
    Some(())
}

/// The description of the new input; `None` where no feature can be of its type.
fn rows(function: &Function, v: anemone_mil::ValueId) -> Option<Feature> {
    let value = function.value(v);
    let ty = value.ty.tensor()?;
    let described = ty.dtype == DType::F32 || ty.dtype == DType::F16 && function.opset >= Opset::Ios16;
    if !described {
        return None;
    }
    let shape = ty.known_shape()?.into_iter().map(num::i64_of).collect();
    let array = ArrayFeature { dtype: Some(ty.dtype), shape, flexibility: Flexibility::Fixed, default: None };
    Some(Feature {
        name: value.name.to_string(),
        description: "Rows of the table that was taken out of the model".into(),
        kind: FeatureKind::MultiArray(array),
        optional: false,
    })
}

/// The look-ups that the host does since a program was mended: inputs that were results of look-ups before.
pub fn look_ups(before: &Program, after: &Program) -> Vec<LookUp> {
    let mut found = Vec::new();
    for (old, new) in before.functions.iter().zip(&after.functions) {
        for &v in &new.inputs {
            let rows = &new.value(v).name;
            let made = |id: &OpId| old.op(*id).outputs.iter().any(|&o| old.value(o).name == *rows);
            let Some(id) = old.walk().into_iter().map(|(_, id)| id).find(made) else { continue };
            let Ok((numbers, table)) = hand_in_rows::found(old, id) else { continue };
            let Some(table) = old.constant(table) else { continue };
            found.push(LookUp {
                function: old.name.to_string(),
                numbers: old.value(numbers).name.to_string(),
                rows: rows.to_string(),
                table: table.clone(),
            });
        }
    }
    found
}
