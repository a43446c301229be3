//! Counts over packages whose compression their name says; sizes are those of coremltools' own files.

mod common;

use anemone_package::{Encoding, Summary, read, summary};
use common::{corpus, load};

fn of(name: &str) -> Summary {
    summary(&read(&load(&corpus("packages").join(format!("{name}.mlpackage")))).expect("readable").program)
}

fn compressed(steps: &[&str], bits: usize) -> Encoding {
    Encoding::Compressed { steps: steps.iter().map(|s| (*s).to_owned()).collect(), bits }
}

#[test]
fn compressed_weights_are_grouped_by_ops_and_bits() {
    for (name, steps, bits) in [
        ("constexpr16-affine", &["affine_dequantize"][..], 8),
        ("constexpr16-lut", &["lut_to_dense"], 1),
        ("constexpr18-int4-blockwise", &["blockwise_shift_scale"], 4),
        ("constexpr18-lut-6bit", &["lut_to_dense"], 6),
        ("constexpr18-lut-vector-3bit", &["lut_to_dense"], 3),
        ("constexpr18-sparse-lut", &["lut_to_sparse", "sparse_to_dense"], 1),
    ] {
        let groups = of(name).weights;
        assert_eq!(groups.len(), 1, "{name}");
        assert_eq!((&groups[0].encoding, groups[0].tensors), (&compressed(steps, bits), 1), "{name}");
    }
}

#[test]
fn a_weight_that_three_functions_share_counts_once() {
    let summary = of("functions");
    assert_eq!((summary.parameters, summary.weight_bytes), (12, 48));
    assert_eq!(summary.functions.iter().map(|f| f.ops).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!(summary.ops, [("linear".into(), 7), ("add".into(), 2), ("identity".into(), 1)]);
}

#[test]
fn ops_of_nested_blocks_count() {
    assert_eq!(of("nested-cond").functions[0].ops, 12);
}
