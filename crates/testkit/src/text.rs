//! Programs through MIL text and back.

use anemone_mil::text::{ConstOrder, Dialect, PrintOptions, parse, print_with};
use anemone_mil::{BlobRef, Bytes, Const, DType, Def, Function, Program, Weight, difference};
use std::collections::HashMap;

/// Prints and parses the program in every dialect and order; what differs first afterwards, in words.
///
/// The interface, documentation and unknown protobuf fields are no part of the text; they do not count.
pub fn difference_after_text(program: &Program) -> Option<String> {
    let program = &written(program);
    let ways = [None, Some(Dialect::V1_0), Some(Dialect::V1_3)];
    let orders = [ConstOrder::FirstUse, ConstOrder::AsMade];
    let all = ways.into_iter().flat_map(|dialect| orders.map(|order| (dialect, order)));
    all.into_iter().find_map(|(dialect, order)| {
        let options = PrintOptions { dialect, order, ..PrintOptions::default() };
        let found = after(program, &options)?;
        Some(format!("{found} (dialect {dialect:?}, order {order:?})"))
    })
}

/// The program without what text cannot say.
fn written(program: &Program) -> Program {
    let mut program = program.clone();
    program.doc.clear();
    program.unknown = Bytes::new();
    for function in &mut program.functions {
        function.unknown = Bytes::new();
        let mut blocks = vec![function.body()];
        for (_, id) in function.walk() {
            let op = function.op_mut(id);
            op.unknown = Bytes::new();
            blocks.extend(&op.blocks);
        }
        for block in blocks {
            function.block_mut(block).unknown = Bytes::new();
        }
    }
    program
}

/// A weight's place in the text, and what tells apart two weights at one place.
type Key = (BlobRef, DType, Vec<usize>);

fn after(program: &Program, options: &PrintOptions) -> Option<String> {
    let mut stored: HashMap<Key, Bytes> = HashMap::new();
    for weight in weights(program) {
        if let (Some(at), Ok(tensor)) = (weight.origin.clone(), weight.tensor()) {
            stored.insert((at, tensor.dtype(), tensor.shape().to_vec()), tensor.bytes().clone());
        }
    }
    let mut next = 0;
    let text = print_with(program, options, &mut |weight| {
        next += 64;
        let at = BlobRef { path: "@model_path/weights/new.bin".into(), offset: next };
        if let Ok(tensor) = weight.tensor() {
            stored.insert((at.clone(), tensor.dtype(), tensor.shape().to_vec()), tensor.bytes().clone());
        }
        at
    });
    let resolve = |at: &BlobRef, dtype: DType, shape: &[usize]| {
        stored.get(&(at.clone(), dtype, shape.to_vec())).cloned()
    };
    match parse(&text, &resolve) {
        Ok(mut back) => {
            back.interface = program.interface.clone();
            difference(program, &back)
        }
        Err(error) => Some(format!("the printed text does not parse: {error}")),
    }
}

fn weights(program: &Program) -> impl Iterator<Item = &Weight> {
    program.functions.iter().flat_map(Function::values).filter_map(|(_, value)| match &value.def {
        Def::Const(Const::Weight(weight)) => Some(weight),
        _ => None,
    })
}
