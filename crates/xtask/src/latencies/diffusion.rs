//! The denoiser of Stable Diffusion, after its public configurations.

use super::net::{Built, Net, Stored};
use anemone_mil::ops::Fault;
use anemone_mil::{Program, ValueId};

/// How attention is written (apple/ml-stable-diffusion, `--attention-implementation`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attention {
    /// All heads in one product.
    Original,
    /// One product per head.
    Split,
    /// One product per head and 512 queries.
    SplitQueries,
}

/// A denoiser.
#[derive(Clone, Copy, Debug)]
pub struct Denoiser {
    /// Extent of the latent picture: an eighth of the picture's.
    pub extent: usize,
    /// Channels by level.
    pub channels: &'static [usize],
    /// Transformer layers of an attention block, by level; 0 without attention.
    pub depth: &'static [usize],
    /// Transformer layers in the middle.
    pub middle: usize,
    /// Width of the text that is attended to.
    pub text: usize,
    /// How attention is written.
    pub attention: Attention,
}

/// Stable Diffusion 2.1-base.
pub const SD_2_1: Denoiser = Denoiser {
    extent: 64,
    channels: &[320, 640, 1280, 1280],
    depth: &[1, 1, 1, 0],
    middle: 1,
    text: 1024,
    attention: Attention::Split,
};

/// Stable Diffusion 1.4 and 1.5.
pub const SD_1: Denoiser = Denoiser { text: 768, ..SD_2_1 };

/// Stable Diffusion XL, base.
pub const SD_XL: Denoiser = Denoiser {
    extent: 128,
    channels: &[320, 640, 1280],
    depth: &[0, 2, 10],
    middle: 10,
    text: 2048,
    attention: Attention::Split,
};

/// Items in one call: with and without the text.
const ITEMS: usize = 2;
/// Width of a head.
const HEAD: usize = 64;
/// Words of the text.
const WORDS: usize = 77;

impl Denoiser {
    /// Its program.
    ///
    /// # Errors
    /// When the numbers do not fit together.
    pub fn program(&self, stored: Stored) -> Result<Program, Fault> {
        let mut net = Net::new(stored);
        let text = net.input("text", &[ITEMS, self.text, 1, WORDS]);
        let time = net.input("time", &[ITEMS, 1280, 1, 1]);
        let latent = net.input("latent", &[ITEMS, 4, self.extent, self.extent]);
        let mut x = net.conv(latent, self.channels[0], 3, 1)?;
        let mut skips = vec![x];
        let last = self.channels.len() - 1;
        for (level, &out) in self.channels.iter().enumerate() {
            for _ in 0..2 {
                x = self.block(&mut net, x, time, text, out, self.depth[level])?;
                skips.push(x);
            }
            if level < last {
                x = net.conv(x, out, 3, 2)?;
                skips.push(x);
            }
        }
        x = self.block(&mut net, x, time, text, self.channels[last], self.middle)?;
        x = residual(&mut net, x, time, self.channels[last])?;
        for level in (0..=last).rev() {
            for _ in 0..3 {
                let skip = skips.pop().ok_or_else(|| Fault::new("no skip left"))?;
                let joined = net.concat(&[x, skip], 1)?;
                x = self.block(&mut net, joined, time, text, self.channels[level], self.depth[level])?;
            }
            if level > 0 {
                let up = net.upsample(x)?;
                x = net.conv(up, self.channels[level], 3, 1)?;
            }
        }
        let normed = net.group_norm(x, 32)?;
        let act = net.unary("silu", normed)?;
        let y = net.conv(act, 4, 3, 1)?;
        Ok(net.finish(&[y]))
    }

    /// A residual block, and transformer layers after it.
    fn block(
        &self,
        net: &mut Net,
        x: ValueId,
        time: ValueId,
        text: ValueId,
        out: usize,
        depth: usize,
    ) -> Built {
        let x = residual(net, x, time, out)?;
        if depth == 0 {
            return Ok(x);
        }
        let dims = net.dims(x);
        let normed = net.group_norm(x, 32)?;
        let y = net.conv(normed, out, 1, 1)?;
        let mut y = net.reshape(y, &[dims[0], dims[1], 1, dims[2] * dims[3]])?;
        for _ in 0..depth {
            let normed = net.norm_over(y, &[1])?;
            let mixed = self.attend(net, normed, normed)?;
            y = net.binary("add", y, mixed)?;
            let normed = net.norm_over(y, &[1])?;
            let mixed = self.attend(net, normed, text)?;
            y = net.binary("add", y, mixed)?;
            let normed = net.norm_over(y, &[1])?;
            let wide = net.conv(normed, out * 8, 1, 1)?;
            let halves = net.split(wide, 2, 1)?;
            let gate = net.gelu(halves[1])?;
            let wide = net.binary("mul", halves[0], gate)?;
            let narrow = net.conv(wide, out, 1, 1)?;
            y = net.binary("add", y, narrow)?;
        }
        let y = net.reshape(y, &dims)?;
        let y = net.conv(y, out, 1, 1)?;
        net.binary("add", x, y)
    }

    /// Attention of `x` to `other`; both are `[items, channels, 1, length]`.
    fn attend(&self, net: &mut Net, x: ValueId, other: ValueId) -> Built {
        let dims = net.dims(x);
        let (channels, length) = (dims[1], dims[3]);
        let heads = channels / HEAD;
        let query = net.conv(x, channels, 1, 1)?;
        let key = net.conv(other, channels, 1, 1)?;
        let value = net.conv(other, channels, 1, 1)?;
        let words = net.dims(key)[3];
        let by_head = |net: &mut Net, v: ValueId, n: usize| net.reshape(v, &[ITEMS, heads, HEAD, n]);
        let query = by_head(net, query, length)?;
        let key = by_head(net, key, words)?;
        let key = net.transpose(key, &[0, 1, 3, 2])?;
        let value = by_head(net, value, words)?;
        let mixed = match self.attention {
            Attention::Original => one(net, query, key, value)?,
            _ => {
                let queries = net.split(query, heads, 1)?;
                let keys = net.split(key, heads, 1)?;
                let values = net.split(value, heads, 1)?;
                let mut done = Vec::new();
                for ((q, k), v) in queries.into_iter().zip(keys).zip(values) {
                    done.push(self.one_head(net, q, k, v)?);
                }
                net.concat(&done, 1)?
            }
        };
        let mixed = net.reshape(mixed, &[ITEMS, channels, 1, length])?;
        net.conv(mixed, channels, 1, 1)
    }

    fn one_head(&self, net: &mut Net, query: ValueId, key: ValueId, value: ValueId) -> Built {
        let length = net.dims(query)[3];
        let parts = if self.attention == Attention::SplitQueries { length.div_ceil(512) } else { 1 };
        if parts == 1 {
            return one(net, query, key, value);
        }
        let mut done = Vec::new();
        for part in net.split(query, parts, 3)? {
            done.push(one(net, part, key, value)?);
        }
        net.concat(&done, 3)
    }
}

/// Attention of queries `[.., head, n]` to keys `[.., words, head]` and values `[.., head, words]`.
fn one(net: &mut Net, query: ValueId, key: ValueId, value: ValueId) -> Built {
    let scores = net.matmul(key, query, false)?;
    let weights = net.softmax_over(scores, 2)?;
    net.matmul(value, weights, false)
}

fn residual(net: &mut Net, x: ValueId, time: ValueId, out: usize) -> Built {
    let normed = net.group_norm(x, 32)?;
    let y = net.unary("silu", normed)?;
    let y = net.conv(y, out, 3, 1)?;
    let shift = net.conv(time, out, 1, 1)?;
    let y = net.binary("add", y, shift)?;
    let normed = net.group_norm(y, 32)?;
    let y = net.unary("silu", normed)?;
    let y = net.conv(y, out, 3, 1)?;
    let skip = if net.dims(x)[1] == out { x } else { net.conv(x, out, 1, 1)? };
    net.binary("add", skip, y)
}
