//! Loads a package, says what it takes and gives, and runs it on zeros.
//!
//! `cargo run -p anemone --example predict -- model.mlpackage`; without an argument, a model of the corpus that counts.

use anemone::mil::interface::FeatureKind;
use anemone::{Error, Feature, Features, Model, Tensor};

fn main() -> Result<(), Error> {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../corpus/packages/state.mlpackage");
    let path = std::env::args().nth(1).unwrap_or_else(|| corpus.to_owned());
    let mut model = Model::options().threads(2).load(&path)?;
    println!("{path}: functions {:?}", model.functions());

    let mut inputs = Features::new();
    for input in model.inputs() {
        println!("takes {} {:?}", input.name, input.kind);
        if let FeatureKind::MultiArray(array) = &input.kind {
            let shape: Vec<usize> = array.shape.iter().filter_map(|&d| usize::try_from(d).ok()).collect();
            let zeros = Tensor::zeros(array.dtype.unwrap_or(anemone::DType::F32), shape);
            inputs.insert(input.name.as_str(), zeros.map_err(Error::from_cause)?);
        }
    }

    // A state of zeros; models without states take one, too, and leave it alone.
    let mut state = model.new_state()?;
    for step in 0..2 {
        let outputs = model.predict_with_state(&inputs, &mut state)?;
        for (name, feature) in outputs.iter() {
            match feature {
                Feature::Tensor(t) => println!("step {step}: {name} is {} {:?}", t.dtype(), t.shape()),
                other => println!("step {step}: {name} is {other:?}"),
            }
        }
    }
    for name in state.names() {
        println!("state {name} is {:?}", state.read(name)?.shape());
    }
    Ok(())
}
