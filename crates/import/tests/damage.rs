//! Damaged models are refused or imported, never a panic.

mod common;

use anemone_formats::Bytes;
use anemone_formats::onnx::ModelProto;
use anemone_formats::safetensors::SafeTensors;
use anemone_mil::Opset;

/// A small generator of pseudo-random numbers (Marsaglia, Xorshift RNGs, 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n.max(1)).expect("fits")).expect("fits")
    }
}

fn try_import(data: Vec<u8>) {
    if let Ok(model) = ModelProto::read(&Bytes::from(data)) {
        let _ = common::import(&model, Opset::Ios17, &[]);
    }
}

/// Up to three flipped bits.
fn flipped(data: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = data.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(out.len());
        if let Some(byte) = out.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    out
}

#[test]
fn flipped_bits_in_small_models_never_panic() {
    let cases = SafeTensors::read(&common::bytes("import/cases.safetensors")).expect("recorded cases");
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for (_, t) in cases.tensors.iter().filter(|(name, _)| name.ends_with("/model")) {
        for _ in 0..24 {
            try_import(flipped(t.bytes(), &mut random));
        }
    }
}

#[test]
fn truncated_and_flipped_real_models_never_panic() {
    let data = common::bytes("models/mnist.onnx");
    let mut random = Random(7);
    for i in 0..60 {
        try_import(data[..data.len() * i / 60].to_vec());
        try_import(flipped(&data, &mut random));
    }
}
