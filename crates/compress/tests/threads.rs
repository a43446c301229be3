//! What is made does not depend on the number of threads.

use anemone_compress::{PaletteMode, PaletteSpec, palettize};
use anemone_tensor::{DType, Tensor};

/// Numbers that look like a weight's, more than one thread takes at a time.
fn weight() -> Tensor {
    let wave = |i: u32| (f64::from(i) * 0.37).sin() * (f64::from(i) * 0.001_3).cos();
    let values: Vec<f64> = (0..3 * 300_000).map(wave).collect();
    Tensor::from_f64s(DType::F16, [3, 300_000], &values).expect("fits")
}

#[test]
fn palettes_are_the_same_for_any_number_of_threads() {
    let weight = weight();
    for (group, cluster_dim) in [(0, 1), (1, 1)] {
        let spec = PaletteSpec { mode: PaletteMode::Kmeans, bits: Some(4), axis: 0, group, cluster_dim };
        let made = |workers: usize| palettize(&weight, &spec, workers).expect("palettises");
        let one = made(1);
        for workers in [2, 5] {
            let many = made(workers);
            assert_eq!(one.indices.bytes(), many.indices.bytes(), "{workers} threads");
            assert_eq!(one.lut.bytes(), many.lut.bytes(), "{workers} threads");
            assert_eq!(one.fit, many.fit, "{workers} threads");
        }
    }
}
