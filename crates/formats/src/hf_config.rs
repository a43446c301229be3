//! `config.json` of a Hugging Face model folder: the figures that say how large a decoder is.
//!
//! Keys and defaults: the `configuration_*.py` files of huggingface/transformers 5. A configuration of several parts
//! (text and pictures) gives its text part. Only what sizes need is read; other keys may hold anything.

use crate::{Error, ErrorKind};
use serde_json::{Map, Value};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

const FORMAT: &str = "model configuration";

/// The figures of a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Family, such as `llama` or `qwen3_moe`; empty when the file does not say.
    pub model_type: String,
    /// Channels between layers.
    pub hidden: u64,
    /// Layers.
    pub layers: u64,
    /// Heads of queries.
    pub heads: u64,
    /// Heads of keys and of values.
    pub kv_heads: u64,
    /// Channels of one head.
    pub head_dim: u64,
    /// Channels inside of a dense feed-forward part.
    pub intermediate: u64,
    /// Tokens that there are.
    pub vocabulary: u64,
    /// True when the output uses the table of embeddings; `None` when the file does not say.
    pub tied: Option<bool>,
    /// Longest sequence, where the file says.
    pub positions: Option<u64>,
    /// Activation of the feed-forward part, such as `silu`; empty when the file does not say.
    pub activation: String,
    /// True when the projections of attention have biases; `None` when the file does not say.
    pub attention_bias: Option<bool>,
    /// True when the feed-forward part has biases; `None` when the file does not say.
    pub mlp_bias: Option<bool>,
    /// Positions that a layer with a window keeps, and which layers have one.
    pub window: Option<Window>,
    /// Experts, where there are some.
    pub experts: Option<Experts>,
}

/// Layers that attend to the last positions only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Positions.
    pub positions: u64,
    /// Per layer, whether it has the window.
    pub layers: Vec<bool>,
}

/// Feed-forward parts of which a token uses some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experts {
    /// In a layer.
    pub count: u64,
    /// That a token uses.
    pub used: u64,
    /// Channels inside of one.
    pub intermediate: u64,
    /// Channels inside of the part that every token uses; 0 without one.
    pub shared: u64,
    /// Per layer, whether it has experts.
    pub layers: Vec<bool>,
}

/// Largest figures that are believed: hidden sizes, vocabularies and the like, and counts of layers, heads and experts.
const MOST_EXTENT: u64 = 1 << 28;
const MOST_COUNT: u64 = 1 << 14;

/// Reads a configuration.
///
/// # Errors
/// When it is too long, no JSON, describes a network that is no decoder, or a figure is absent, no whole number or
/// beyond belief; the message names the key.
pub fn read(bytes: &[u8]) -> Result<Config, Error> {
    config(bytes).map_err(|e| e.format(FORMAT))
}

fn config(bytes: &[u8]) -> Result<Config, Error> {
    if bytes.len() > MAX_BYTES {
        return fail(ErrorKind::TooLarge, format!("{} bytes, of at most {MAX_BYTES}", bytes.len()));
    }
    let json: Value = serde_json::from_slice(bytes)
        .map_err(|e| Error::new(ErrorKind::Malformed, format!("not valid JSON: {e}")))?;
    let Some(whole) = json.as_object() else {
        return fail(ErrorKind::Malformed, "the top level is not a JSON object".into());
    };
    let top = whole.get("text_config").and_then(Value::as_object).unwrap_or(whole);
    let keys = Keys { top, whole };
    keys.refuse_others()?;
    let (hidden, layers, heads) = (
        keys.extent(&["hidden_size", "n_embd", "d_model"])?,
        keys.number(&["num_hidden_layers", "n_layer", "num_layers", "n_layers"], MOST_COUNT)?,
        keys.number(&["num_attention_heads", "n_head", "n_heads"], MOST_COUNT)?,
    );
    let head_dim = match keys.optional(&["head_dim"], MOST_COUNT)? {
        Some(dim) => dim,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let why = format!(
                "hidden_size {hidden} is no multiple of num_attention_heads {heads}, and head_dim is absent"
            );
            return fail(ErrorKind::Malformed, why);
        }
    };
    let kv_heads = keys.optional(&["num_key_value_heads", "n_head_kv", "num_kv_heads"], MOST_COUNT)?;
    let kv_heads = kv_heads.unwrap_or(heads);
    if kv_heads > heads || !heads.is_multiple_of(kv_heads) {
        let why = format!(
            "num_key_value_heads is {kv_heads}, but must divide num_attention_heads, which is {heads}"
        );
        return fail(ErrorKind::Malformed, why);
    }
    let model_type = keys.text("model_type").to_owned();
    let experts = keys.experts(layers)?;
    let intermediate = match keys.optional(&["intermediate_size", "n_inner", "ffn_dim"], MOST_EXTENT)? {
        Some(channels) => channels,
        None if model_type == "gpt2" => hidden.saturating_mul(4),
        None if experts.is_some() => 0,
        None => return keys.absent("intermediate_size"),
    };
    Ok(Config {
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate,
        vocabulary: keys.extent(&["vocab_size"])?,
        tied: keys.flag("tie_word_embeddings"),
        positions: keys.optional(&["max_position_embeddings", "n_positions", "n_ctx"], u64::MAX)?,
        activation: ["hidden_act", "hidden_activation", "activation_function"]
            .into_iter()
            .map(|k| keys.text(k))
            .find(|t| !t.is_empty())
            .unwrap_or_default()
            .to_owned(),
        attention_bias: keys.flag("attention_bias"),
        mlp_bias: keys.flag("mlp_bias"),
        window: keys.window(layers, &model_type)?,
        experts,
        model_type,
    })
}

fn fail<T>(kind: ErrorKind, cause: String) -> Result<T, Error> {
    Err(Error::new(kind, cause))
}

/// Keys of the part that is read, and of the whole file.
struct Keys<'j> {
    top: &'j Map<String, Value>,
    whole: &'j Map<String, Value>,
}

impl Keys<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.top.get(key).or_else(|| self.whole.get(key)).filter(|v| !v.is_null())
    }

    fn text(&self, key: &str) -> &str {
        self.value(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.value(key).and_then(Value::as_bool)
    }

    /// The first of these keys that is there, from 1 to `most`.
    fn optional(&self, names: &[&str], most: u64) -> Result<Option<u64>, Error> {
        let Some((name, value)) = names.iter().find_map(|n| Some((n, self.value(n)?))) else {
            return Ok(None);
        };
        match value.as_u64().filter(|n| (1..=most).contains(n)) {
            Some(n) => Ok(Some(n)),
            None => fail(
                ErrorKind::Malformed,
                format!("{name} is {value}, but must be a whole number from 1 to {most}"),
            ),
        }
    }

    fn number(&self, names: &[&str], most: u64) -> Result<u64, Error> {
        match self.optional(names, most)? {
            Some(n) => Ok(n),
            None => self.absent(names[0]),
        }
    }

    fn extent(&self, names: &[&str]) -> Result<u64, Error> {
        self.number(names, MOST_EXTENT)
    }

    fn absent<T>(&self, name: &str) -> Result<T, Error> {
        fail(
            ErrorKind::Missing,
            format!("key {name:?} is absent; it is needed to say how large the model is"),
        )
    }

    /// Networks that these keys do not describe.
    fn refuse_others(&self) -> Result<(), Error> {
        let what = if self.flag("is_encoder_decoder") == Some(true) {
            "an encoder and a decoder"
        } else if self.value("kv_lora_rank").is_some() {
            "attention with latent keys and values"
        } else if self.value("ssm_cfg").is_some() || self.value("state_size").is_some() {
            "layers with a state space"
        } else {
            return Ok(());
        };
        let why =
            format!("describes {what}, whose size is not worked out; give the converted package instead");
        fail(ErrorKind::Unsupported, why)
    }

    fn window(&self, layers: u64, model_type: &str) -> Result<Option<Window>, Error> {
        let Some(positions) = self.optional(&["sliding_window"], u64::MAX)? else { return Ok(None) };
        if self.flag("use_sliding_window") == Some(false) {
            return Ok(None);
        }
        let every = match (self.optional(&["sliding_window_pattern"], MOST_COUNT)?, model_type) {
            (Some(every), _) => every,
            (None, "gemma2") => 2,
            (None, "gemma3_text" | "gemma3") => 6,
            (None, _) => 0,
        };
        let listed = self.value("layer_types").and_then(Value::as_array);
        let kind = |i: u64| listed.and_then(|l| l.get(usize::try_from(i).ok()?)?.as_str());
        let windowed = |i: u64| match kind(i) {
            Some(kind) => kind.contains("sliding"),
            None => every == 0 || !(i + 1).is_multiple_of(every),
        };
        let layers: Vec<bool> = (0..layers).map(windowed).collect();
        Ok(layers.contains(&true).then_some(Window { positions, layers }))
    }

    fn experts(&self, layers: u64) -> Result<Option<Experts>, Error> {
        let names = ["num_experts", "num_local_experts", "n_routed_experts"];
        let Some(count) = self.optional(&names, MOST_COUNT)?.filter(|&n| n > 1) else { return Ok(None) };
        let used = self.optional(&["num_experts_per_tok", "num_experts_per_token", "moe_topk"], count)?;
        let sizes = ["moe_intermediate_size", "expert_intermediate_size", "intermediate_size"];
        let step = self.optional(&["decoder_sparse_step"], MOST_COUNT)?.unwrap_or(1);
        let first = self.value("first_k_dense_replace").and_then(Value::as_u64).unwrap_or(0);
        let dense = self.value("mlp_only_layers").and_then(Value::as_array);
        let is_dense = |i: u64| dense.is_some_and(|l| l.iter().any(|v| v.as_u64() == Some(i)));
        let has = |i: u64| i >= first && (i + 1).is_multiple_of(step) && !is_dense(i);
        let shared = self.optional(&["shared_expert_intermediate_size"], MOST_EXTENT)?;
        Ok(Some(Experts {
            count,
            used: used.unwrap_or(1),
            intermediate: self.extent(&sizes)?,
            shared: shared.unwrap_or(0),
            layers: (0..layers).map(has).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(extra: &str) -> String {
        format!(
            "{{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":4,\
             \"intermediate_size\":144,\"vocab_size\":512{extra}}}"
        )
    }

    #[test]
    fn what_the_file_leaves_out_has_the_value_that_transformers_gives_it() {
        let config = read(small("").as_bytes()).expect("reads");
        assert_eq!((config.kv_heads, config.head_dim, config.tied, config.window), (4, 16, None, None));
        let null = read(small(",\"head_dim\":null,\"sliding_window\":null").as_bytes()).expect("reads");
        assert_eq!((null.head_dim, null.window), (16, None));
    }

    #[test]
    fn windows_follow_the_pattern_or_the_list_of_layers() {
        let layers =
            |extra: &str| read(small(extra).as_bytes()).expect("reads").window.expect("window").layers;
        assert_eq!(layers(",\"sliding_window\":16"), [true; 4]);
        assert_eq!(layers(",\"sliding_window\":16,\"sliding_window_pattern\":2"), [true, false, true, false]);
        let listed = ",\"sliding_window\":16,\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"]";
        assert_eq!(layers(listed), [false, true, false, false]);
        let off =
            read(small(",\"sliding_window\":16,\"use_sliding_window\":false").as_bytes()).expect("reads");
        assert_eq!(off.window, None);
    }

    #[test]
    fn the_text_part_of_a_configuration_of_several_parts_is_read() {
        let text =
            format!("{{\"model_type\":\"gemma3\",\"vision_config\":{{}},\"text_config\":{}}}", small(""));
        assert_eq!(read(text.as_bytes()).expect("reads").hidden, 64);
    }

    #[test]
    fn what_is_no_decoder_or_beyond_belief_is_refused_with_its_key() {
        for (text, why) in [
            ("", "JSON"),
            ("[]", "object"),
            ("{}", "hidden_size"),
            (&*small(",\"num_key_value_heads\":3"), "num_key_value_heads is 3"),
            (&*small(",\"head_dim\":-1"), "head_dim is -1"),
            (&*small(",\"kv_lora_rank\":512"), "latent"),
            (&*small(",\"is_encoder_decoder\":true"), "encoder"),
            (&*small("").replace(":4,", ":4000000000,"), "num_hidden_layers is 4000000000"),
            (&*small("").replace("512", "\"many\""), "vocab_size"),
        ] {
            let error = read(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(read(&vec![b' '; MAX_BYTES + 1]).expect_err("long").kind(), ErrorKind::TooLarge);
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
    }
}
