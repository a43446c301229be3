//! A decoder of so many parameters, where nothing else is known.

use super::decoder;
use super::subject::{Origin, Subject};
use crate::Error;
use anemone_formats::hf_config::Config;

/// Tokens of the assumed decoder, as Llama 3 has them.
const VOCABULARY: u64 = 128_256;
/// Parameters from which the output has a table of its own, as in Llama 3.
const UNTIED: u64 = 5_000_000_000;
/// Channels per layer that decoders of 1 to 70 billion parameters have, roughly: Llama 3.2 3B has 110.
const CHANNELS_PER_LAYER: u64 = 110;
/// Fewest and most parameters that a decoder is worked out for.
const LIMITS: (u64, u64) = (1_000_000, 10_000_000_000_000);

/// The number that a text such as `3B` or `350M` stands for; `None` when it is none.
pub(super) fn parse(text: &str) -> Option<Result<u64, Error>> {
    let (number, unit) = text.split_at(text.len().checked_sub(1).filter(|i| text.is_char_boundary(*i))?);
    let unit = match unit {
        "M" | "m" => 1e6,
        "B" | "b" | "G" | "g" => 1e9,
        "T" | "t" => 1e12,
        _ => return None,
    };
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value = number.parse::<f64>().ok()? * unit;
    let (least, most) = LIMITS;
    // In range, a whole number below 2^53.
    let parameters = format!("{value:.0}").parse().ok().filter(|n| (least..=most).contains(n));
    Some(parameters.ok_or_else(|| Error::new(format!("`{text}` must be from 1M to 10T parameters"))))
}

/// The decoder.
pub(super) fn of(parameters: u64) -> Subject {
    let config = shaped(parameters);
    let mut subject = decoder::of(&config);
    let what = subject.what.replacen("llama: ", "", 1);
    subject.origin = Origin::Count;
    subject.meant = Some(parameters);
    subject.positions = None;
    subject.notes = vec![format!(
        "only the number of parameters is given: a decoder shaped like Llama 3 is assumed ({what}) and its bytes are \
         scaled to that number; a config.json says it exactly"
    )];
    subject.what = "decoder of an assumed shape".into();
    subject
}

/// The shape of Llama 3 nearest to that number, with the usual ratio of channels to layers.
fn shaped(parameters: u64) -> Config {
    let tables = if parameters < UNTIED { 1 } else { 2 };
    let mut best: Option<(u64, Config)> = None;
    let (small, large) = ((1..=16).map(|n| n * 128), (5..=64).map(|n| n * 512));
    for hidden in small.chain(large) {
        let config = decoder_of(hidden, parameters < UNTIED);
        let rest = parameters.saturating_sub(tables * VOCABULARY.min(parameters / hidden / 4) * hidden);
        let per_layer = decoder::of(&Config { layers: 1, vocabulary: 1, ..config.clone() }).parameters();
        let layers = ((rest + per_layer / 2) / per_layer).clamp(1, 1 << 14);
        let off = (hidden / CHANNELS_PER_LAYER).max(1).abs_diff(layers);
        if best.as_ref().is_none_or(|(least, _)| off < *least) {
            let vocabulary = VOCABULARY.min(parameters / hidden / 4).max(1);
            best = Some((off, Config { layers, vocabulary, ..config }));
        }
    }
    best.map_or_else(|| decoder_of(128, true), |(_, config)| config)
}

fn decoder_of(hidden: u64, tied: bool) -> Config {
    let head_dim = if hidden < 3072 { 64 } else { 128 };
    let heads = hidden / head_dim;
    Config {
        model_type: "llama".into(),
        hidden,
        layers: 1,
        heads,
        kv_heads: if heads.is_multiple_of(8) {
            8
        } else {
            (1..=heads.min(8)).rev().find(|n| heads.is_multiple_of(*n)).unwrap_or(1)
        },
        head_dim,
        // As Llama 3.2 3B below, and as Llama 3 8B from there on.
        intermediate: if hidden < 4096 { (hidden * 8 / 3).next_multiple_of(256) } else { hidden * 7 / 2 },
        vocabulary: VOCABULARY,
        tied: Some(tied),
        positions: None,
        activation: "silu".into(),
        attention_bias: None,
        mlp_bias: None,
        window: None,
        experts: None,
    }
}
