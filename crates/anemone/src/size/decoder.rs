//! The weights of a decoder, from its `config.json`.
//!
//! Shapes after the `modeling_*.py` files of huggingface/transformers 5; the tests compare every family with the tensors
//! of a checkpoint that transformers wrote.

use super::subject::{Cache, Group, Origin, Part, Piece, Subject};
use anemone_formats::hf_config::{Config, Experts};

/// What families of decoders differ in.
#[derive(Clone, Copy, Debug)]
struct Family {
    /// Three matrices in the feed-forward part instead of two.
    gated: bool,
    /// Biases of queries, keys and values; and of the projection back.
    biases: (bool, bool),
    /// Biases of the feed-forward part.
    mlp_biases: bool,
    /// Norms of a layer, over all channels.
    norms: u64,
    /// Norms have a bias.
    norm_biases: bool,
    /// Queries and keys are normalised per head.
    head_norms: bool,
    /// Positions are looked up in a table.
    positions: bool,
    /// The output uses the table of embeddings when the file does not say.
    tied: bool,
    /// Biases, where the file may set them.
    known: bool,
}

const LLAMA: Family = Family {
    gated: true,
    biases: (false, false),
    mlp_biases: false,
    norms: 2,
    norm_biases: false,
    head_norms: false,
    positions: false,
    tied: false,
    known: true,
};

fn family(config: &Config) -> Family {
    match &*config.model_type {
        "llama" | "mistral" | "mixtral" | "phi3" | "smollm3" | "ministral" => LLAMA,
        "qwen2" | "qwen2_moe" => Family { biases: (true, false), ..LLAMA },
        "qwen3" | "qwen3_moe" => Family { head_norms: true, ..LLAMA },
        "gemma" => Family { tied: true, ..LLAMA },
        "gemma2" => Family { norms: 4, tied: true, ..LLAMA },
        "gemma3" | "gemma3_text" => Family { norms: 4, head_norms: true, tied: true, ..LLAMA },
        "gpt2" => Family {
            gated: false,
            biases: (true, true),
            mlp_biases: true,
            norm_biases: true,
            positions: true,
            tied: true,
            ..LLAMA
        },
        _ => Family {
            gated: matches!(&*config.activation, "silu" | "swish" | "swiglu"),
            known: false,
            ..LLAMA
        },
    }
}

/// The decoder that a configuration describes.
pub(super) fn of(config: &Config) -> Subject {
    let mut family = family(config);
    if let Some(bias) = config.attention_bias {
        family.biases = (bias, bias);
    }
    family.mlp_biases = config.mlp_bias.unwrap_or(family.mlp_biases);
    let tied = config.tied.unwrap_or(family.tied);
    let mut pieces = vec![embedding(config, &family, tied)];
    pieces.extend((0..count(config.layers)).map(|i| layer(config, &family, i)));
    let norm = Group::new(1, config.hidden, 1 + u64::from(family.norm_biases));
    pieces.push(Piece { part: Part::Other, groups: vec![norm] });
    if !tied {
        let head = Group::new(config.vocabulary, config.hidden, 1);
        pieces.push(Piece { part: Part::Head, groups: vec![head] });
    }
    Subject {
        origin: Origin::Config,
        what: describe(config, tied),
        pieces,
        meant: None,
        stored: None,
        cache: cache(config),
        positions: config.positions,
        notes: notes(config, &family),
    }
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

fn notes(config: &Config, family: &Family) -> Vec<String> {
    let mut notes = Vec::new();
    if !family.known {
        let name =
            if config.model_type.is_empty() { "a family it does not name" } else { &config.model_type };
        let parts = if family.gated { "three" } else { "two" };
        notes.push(format!(
            "layers of `{name}` are not known: counted as those of Llama, with {parts} matrices in the feed-forward part"
        ));
    }
    if let Some(window) = &config.window {
        let with = window.layers.iter().filter(|w| **w).count();
        notes.push(format!(
            "{with} of {} layers keep the last {} positions only",
            config.layers, window.positions
        ));
    }
    notes
}

fn describe(config: &Config, tied: bool) -> String {
    let family = if config.model_type.is_empty() { "decoder" } else { &config.model_type };
    let experts = config
        .experts
        .as_ref()
        .map_or_else(String::new, |e| format!(", {} of {} experts a token", e.used, e.count));
    format!(
        "{family}: {} layers of {}, {} heads of {} ({} for keys and values){experts}, {} tokens{}",
        config.layers,
        config.hidden,
        config.heads,
        config.head_dim,
        config.kv_heads,
        config.vocabulary,
        if tied { " in one table for input and output" } else { "" }
    )
}

/// Tables of embeddings; that of the tokens is needed whole where it is the head, too.
fn embedding(config: &Config, family: &Family, tied: bool) -> Piece {
    let tokens = Group { active: u64::from(tied), ..Group::new(config.vocabulary, config.hidden, 1) };
    let positions = config.positions.filter(|_| family.positions);
    let positions = positions.map(|n| Group { active: 0, ..Group::new(n, config.hidden, 1) });
    Piece { part: Part::Embedding, groups: std::iter::once(tokens).chain(positions).collect() }
}

fn layer(config: &Config, family: &Family, index: usize) -> Piece {
    let hidden = config.hidden;
    let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let mut groups = vec![
        Group::new(queries, hidden, 1),
        Group::new(keys, hidden, 2),
        Group::new(hidden, queries, 1),
        Group::new(1, hidden, family.norms * (1 + u64::from(family.norm_biases))),
    ];
    if family.biases.0 {
        groups.extend([Group::new(1, queries, 1), Group::new(1, keys, 2)]);
    }
    if family.biases.1 {
        groups.push(Group::new(1, hidden, 1));
    }
    if family.head_norms {
        groups.push(Group::new(1, config.head_dim, 2));
    }
    match config.experts.as_ref().filter(|e| e.layers.get(index) == Some(&true)) {
        Some(experts) => groups.extend(expert_layer(hidden, family, experts)),
        None => groups.extend(feed_forward(hidden, config.intermediate, family)),
    }
    Piece { part: Part::Layer, groups }
}

fn feed_forward(hidden: u64, inner: u64, family: &Family) -> Vec<Group> {
    let inwards = 1 + u64::from(family.gated);
    let mut groups = vec![Group::new(inner, hidden, inwards), Group::new(hidden, inner, 1)];
    if family.mlp_biases {
        groups.extend([Group::new(1, inner, inwards), Group::new(1, hidden, 1)]);
    }
    groups
}

/// The router, its experts, and the part that every token uses with the gate before it.
fn expert_layer(hidden: u64, family: &Family, experts: &Experts) -> Vec<Group> {
    let one = feed_forward(hidden, experts.intermediate, family);
    let all = |g: &Group| Group { count: g.count * experts.count, active: g.count * experts.used, ..*g };
    let mut groups: Vec<Group> = one.iter().map(all).collect();
    groups.push(Group::new(experts.count, hidden, 1));
    if experts.shared > 0 {
        groups.extend(feed_forward(hidden, experts.shared, family));
        groups.push(Group::new(1, hidden, 1));
    }
    groups
}

fn cache(config: &Config) -> Cache {
    let windowed = |i: usize| {
        let window = config.window.as_ref()?;
        (window.layers.get(i) == Some(&true)).then_some(window.positions)
    };
    Cache::Layers {
        elements: 2 * config.kv_heads * config.head_dim,
        windows: (0..count(config.layers)).map(windowed).collect(),
    }
}
