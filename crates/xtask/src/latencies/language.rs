//! Networks for text and sound: transformers, after their public configurations.

use super::net::{Built, Net, Stored};
use anemone_mil::ops::Fault;
use anemone_mil::{Program, ValueId};

/// Where the keys and values of earlier tokens come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cache {
    /// There are none: every token is computed anew.
    None,
    /// From a state.
    State,
    /// They are handed in and out with each call.
    Fed,
}

/// A decoder, or an encoder without a cache.
#[derive(Clone, Copy, Debug)]
pub struct Transformer {
    /// Layers.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Heads, and those of keys and values.
    pub heads: [usize; 2],
    /// Width of a head.
    pub head: usize,
    /// Width between the two feed-forward layers.
    pub ffn: usize,
    /// True for feed-forward layers with a gate, and RMS norms.
    pub gated: bool,
    /// Words of the vocabulary; 0 without a head.
    pub vocabulary: usize,
    /// Tokens computed in one call.
    pub tokens: usize,
    /// Tokens attended to.
    pub context: usize,
    /// Where the others come from.
    pub cache: Cache,
}

impl Transformer {
    /// A decoder of one token with states, 512 tokens of context, heads of equal width.
    pub const fn decoder(layers: usize, hidden: usize, heads: [usize; 2], ffn: usize) -> Transformer {
        Transformer {
            layers,
            hidden,
            heads,
            head: hidden / heads[0],
            ffn,
            gated: true,
            vocabulary: 0,
            tokens: 1,
            context: 512,
            cache: Cache::State,
        }
    }

    /// An encoder of so many positions, without gates.
    pub const fn encoder(layers: usize, hidden: usize, heads: usize, length: usize) -> Transformer {
        let base = Transformer::decoder(layers, hidden, [heads, heads], hidden * 4);
        Transformer { gated: false, tokens: length, context: length, cache: Cache::None, ..base }
    }

    /// Its program.
    ///
    /// # Errors
    /// When the numbers do not fit together.
    pub fn program(&self, stored: Stored) -> Result<Program, Fault> {
        let mut net = Net::new(stored);
        let mut x = net.input("hidden", &[1, self.tokens, self.hidden]);
        let mut outputs = Vec::new();
        for layer in 0..self.layers {
            x = self.layer(&mut net, x, layer, &mut outputs)?;
        }
        x = self.norm(&mut net, x)?;
        if self.vocabulary > 0 {
            // Larger heads are cut, since no extent of the engine is longer than 65536.
            for _ in 0..self.vocabulary.div_ceil(65536) {
                outputs.push(net.linear(x, self.vocabulary / self.vocabulary.div_ceil(65536))?);
            }
        } else {
            outputs.push(x);
        }
        Ok(net.finish(&outputs))
    }

    fn norm(&self, net: &mut Net, x: ValueId) -> Built {
        if self.gated { net.rms_norm(x) } else { net.layer_norm(x) }
    }

    fn layer(&self, net: &mut Net, x: ValueId, layer: usize, outputs: &mut Vec<ValueId>) -> Built {
        let normed = self.norm(net, x)?;
        let mixed = self.attention(net, normed, layer, outputs)?;
        let x = net.binary("add", x, mixed)?;
        let normed = self.norm(net, x)?;
        let y = self.feed_forward(net, normed)?;
        net.binary("add", x, y)
    }

    fn feed_forward(&self, net: &mut Net, x: ValueId) -> Built {
        let up = net.linear(x, self.ffn)?;
        let wide = if self.gated {
            let gate = net.linear(x, self.ffn)?;
            let gate = net.unary("silu", gate)?;
            net.binary("mul", gate, up)?
        } else {
            net.gelu(up)?
        };
        net.linear(wide, self.hidden)
    }

    /// `[1, tokens, heads * head]` as `[1, heads, tokens, head]`.
    fn split(&self, net: &mut Net, x: ValueId, heads: usize) -> Built {
        let apart = net.reshape(x, &[1, self.tokens, heads, self.head])?;
        net.transpose(apart, &[0, 2, 1, 3])
    }

    fn attention(&self, net: &mut Net, x: ValueId, layer: usize, outputs: &mut Vec<ValueId>) -> Built {
        let [heads, shared] = self.heads;
        let query = net.linear(x, heads * self.head)?;
        let key = net.linear(x, shared * self.head)?;
        let value = net.linear(x, shared * self.head)?;
        let query = self.split(net, query, heads)?;
        let key = self.split(net, key, shared)?;
        let value = self.split(net, value, shared)?;
        let key = self.remembered(net, key, &format!("k{layer}"), outputs)?;
        let value = self.remembered(net, value, &format!("v{layer}"), outputs)?;
        let together = heads / shared * self.tokens;
        let query = net.reshape(query, &[1, shared, together, self.head])?;
        let scores = net.matmul(query, key, true)?;
        let weights = net.softmax(scores)?;
        let mixed = net.matmul(weights, value, false)?;
        let mixed = net.reshape(mixed, &[1, heads, self.tokens, self.head])?;
        let mixed = net.transpose(mixed, &[0, 2, 1, 3])?;
        let mixed = net.reshape(mixed, &[1, self.tokens, heads * self.head])?;
        net.linear(mixed, self.hidden)
    }

    /// Keys or values with those of earlier tokens.
    fn remembered(&self, net: &mut Net, x: ValueId, name: &str, outputs: &mut Vec<ValueId>) -> Built {
        let dims = [1, self.heads[1], self.context - self.tokens, self.head];
        match self.cache {
            Cache::None => Ok(x),
            Cache::State => {
                let earlier = net.state(name, &dims)?;
                net.concat(&[earlier, x], 2)
            }
            Cache::Fed => {
                let earlier = net.input(name, &dims);
                let all = net.concat(&[earlier, x], 2)?;
                outputs.push(all);
                Ok(all)
            }
        }
    }
}

/// A FastConformer encoder as NeMo's extra-large configuration has it: 8 times fewer frames, 24 layers of width 1024.
pub fn conformer(stored: Stored, frames: usize) -> Result<Program, Fault> {
    const HIDDEN: usize = 1024;
    let mut net = Net::new(stored);
    let mel = net.input("mel", &[1, 1, frames * 8, 80]);
    let mut y = mel;
    for step in 0..3 {
        y = if step == 0 { net.conv(y, 256, 3, 2)? } else { net.depthwise(y, 3, 2)? };
        if step > 0 {
            y = net.conv(y, 256, 1, 1)?;
        }
        y = net.unary("relu", y)?;
    }
    let y = net.transpose(y, &[0, 2, 1, 3])?;
    let y = net.reshape(y, &[1, frames, 2560])?;
    let mut x = net.linear(y, HIDDEN)?;
    let attention = Transformer::encoder(1, HIDDEN, 8, frames);
    for layer in 0..24 {
        for part in 0..2 {
            let normed = net.layer_norm(x)?;
            let wide = net.linear(normed, HIDDEN * 4)?;
            let wide = net.unary("silu", wide)?;
            let narrow = net.linear(wide, HIDDEN)?;
            x = net.binary("add", x, narrow)?;
            if part == 1 {
                continue;
            }
            let normed = net.layer_norm(x)?;
            let mixed = attention.attention(&mut net, normed, layer, &mut Vec::new())?;
            x = net.binary("add", x, mixed)?;
            x = convolution(&mut net, x)?;
        }
        x = net.layer_norm(x)?;
    }
    Ok(net.finish(&[x]))
}

/// The convolution module of a conformer layer.
fn convolution(net: &mut Net, x: ValueId) -> Built {
    let dims = net.dims(x);
    let (frames, hidden) = (dims[1], dims[2]);
    let normed = net.layer_norm(x)?;
    let y = net.transpose(normed, &[0, 2, 1])?;
    let y = net.reshape(y, &[1, hidden, 1, frames])?;
    let y = net.conv(y, hidden * 2, 1, 1)?;
    let halves = net.split(y, 2, 1)?;
    let gate = net.unary("sigmoid", halves[1])?;
    let y = net.binary("mul", halves[0], gate)?;
    let y = net.depthwise(y, 9, 1)?;
    let y = net.unary("silu", y)?;
    let y = net.conv(y, hidden, 1, 1)?;
    let y = net.reshape(y, &[1, hidden, frames])?;
    let y = net.transpose(y, &[0, 2, 1])?;
    net.binary("add", x, y)
}
