//! Control flow.

use crate::onnx::graph::Branch;
use crate::onnx::node::{Done, Node};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, ValueId};

/// `If`: the branch taken, where the condition is constant; else both, nested in a `cond`.
///
/// A branch that no runtime could run for the shapes of the inputs is left out with a note: exporters write branches
/// for other input shapes, such as the frames of another sample rate.
pub(crate) fn branch(n: &mut Node<'_, '_>) -> Done {
    let (condition, name) = (n.input(0)?, n.name());
    let (yes, no) = (n.graph("then_branch")?, n.graph("else_branch")?);
    if let Some(known) = n.numbers(condition).filter(|t| t.len() == 1) {
        let (taken, what) = if known.to_bools()[0] { (yes, "then_branch") } else { (no, "else_branch") };
        let Some(outputs) = n.importer.inline(taken, what)? else { return skip(n) };
        return hand_out(n, outputs);
    }
    let (yes, no) = (n.importer.branch(yes, "then_branch")?, n.importer.branch(no, "else_branch")?);
    let (taken, left, why) = match (yes, no) {
        (Branch::Block(yes), Branch::Block(no)) => {
            let pred = predicate(n, condition)?;
            let outputs = n.op("cond").arg("pred", pred).block(yes).block(no).all(&name)?;
            return hand_out(n, outputs);
        }
        (Branch::Block(taken), Branch::Impossible(why)) => (taken, "else_branch", why),
        (Branch::Impossible(why), Branch::Block(taken)) => (taken, "then_branch", why),
        (yes, no) => {
            for failed in [yes, no] {
                if let Branch::Impossible(why) = failed {
                    n.importer.report(why);
                }
            }
            return skip(n);
        }
    };
    n.importer.note_left_out(left, &why);
    let outputs = n.importer.builder.dissolve(taken);
    hand_out(n, outputs)
}

/// One boolean without dims.
fn predicate(n: &mut Node<'_, '_>, condition: ValueId) -> Result<ValueId, Fault> {
    let names = [n.inner("pred"), n.inner("pred_bool")];
    let rank = n.rank(condition)?;
    let scalar = if rank == 0 { condition } else { n.op("squeeze").arg("x", condition).one(&names[0])? };
    n.cast(scalar, DType::Bool, &names[1])
}

fn hand_out(n: &mut Node<'_, '_>, outputs: Vec<ValueId>) -> Done {
    let wanted = n.proto.output.len();
    if outputs.len() < wanted {
        let actual = outputs.len();
        return Err(Fault::new(format!("has {wanted} outputs, but its branch hands out {actual}")));
    }
    outputs.into_iter().take(wanted).enumerate().try_for_each(|(i, v)| n.bind(i, v))
}

/// What failed within is reported already; the results are just not there.
fn skip(n: &mut Node<'_, '_>) -> Done {
    n.proto.output.iter().for_each(|o| n.importer.fail(o));
    Ok(())
}
