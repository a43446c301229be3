//! Networks for pictures, after their public layer tables.

use super::net::{Built, Net, Stored};
use anemone_mil::ops::Fault;
use anemone_mil::{Program, ValueId};

fn picture(net: &mut Net, extent: usize) -> ValueId {
    net.input("image", &[1, 3, extent, extent])
}

fn conv_relu(net: &mut Net, x: ValueId, out: usize, kernel: usize, stride: usize) -> Built {
    let y = net.conv(x, out, kernel, stride)?;
    net.unary("relu", y)
}

/// Mean over the extent, and a linear layer of 1000 classes.
fn classes(net: &mut Net, x: ValueId) -> Built {
    let pooled = net.reduce("reduce_mean", x, &[2, 3], false)?;
    let scores = net.linear(pooled, 1000)?;
    net.softmax(scores)
}

/// The stages of a residual network: (blocks, width), with bottlenecks or without (He et al. 2015, table 1).
fn residual(net: &mut Net, x: ValueId, blocks: [usize; 4], bottleneck: bool) -> Built {
    let stem = conv_relu(net, x, 64, 7, 2)?;
    let mut x = net.max_pool(stem)?;
    for (stage, &count) in blocks.iter().enumerate() {
        let width = 64 << stage;
        for block in 0..count {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let out = if bottleneck { width * 4 } else { width };
            let skip = if stride > 1 || net.dims(x)[1] != out { net.conv(x, out, 1, stride)? } else { x };
            let y = if bottleneck {
                let y = conv_relu(net, x, width, 1, 1)?;
                let y = conv_relu(net, y, width, 3, stride)?;
                net.conv(y, out, 1, 1)?
            } else {
                let y = conv_relu(net, x, width, 3, stride)?;
                net.conv(y, out, 3, 1)?
            };
            let sum = net.binary("add", y, skip)?;
            x = net.unary("relu", sum)?;
        }
    }
    Ok(x)
}

/// ResNet with 18, 34 or 50 layers on 224 x 224 pixels.
pub fn resnet(stored: Stored, layers: usize) -> Result<Program, Fault> {
    let mut net = Net::new(stored);
    let x = picture(&mut net, 224);
    let blocks = if layers == 18 { [2, 2, 2, 2] } else { [3, 4, 6, 3] };
    let features = residual(&mut net, x, blocks, layers == 50)?;
    let y = classes(&mut net, features)?;
    Ok(net.finish(&[y]))
}

/// CenterNet: ResNet-34 on 512 x 512 pixels, three transposed convolutions, three heads (Zhou et al. 2019).
pub fn centernet(stored: Stored) -> Result<Program, Fault> {
    let mut net = Net::new(stored);
    let x = picture(&mut net, 512);
    let mut x = residual(&mut net, x, [3, 4, 6, 3], false)?;
    for _ in 0..3 {
        let up = net.deconv(x, 256)?;
        x = net.unary("relu", up)?;
    }
    let mut outputs = Vec::new();
    for channels in [80, 2, 2] {
        let head = conv_relu(&mut net, x, 64, 3, 1)?;
        outputs.push(net.conv(head, channels, 1, 1)?);
    }
    Ok(net.finish(&outputs))
}

/// An inverted residual block (Sandler et al. 2018).
fn inverted(net: &mut Net, x: ValueId, out: usize, expand: usize, stride: usize, act: &str) -> Built {
    let channels = net.dims(x)[1];
    let mut y = x;
    if expand > 1 {
        let wide = net.conv(x, channels * expand, 1, 1)?;
        y = net.unary(act, wide)?;
    }
    let spread = net.depthwise(y, 3, stride)?;
    let y = net.unary(act, spread)?;
    let y = net.conv(y, out, 1, 1)?;
    if stride == 1 && channels == out { net.binary("add", x, y) } else { Ok(y) }
}

/// MobileNetV2 at width 1 on 224 x 224 pixels: (expansion, channels, blocks, stride), Sandler et al. 2018, table 2.
pub fn mobilenet_v2(stored: Stored) -> Result<Program, Fault> {
    const STAGES: [(usize, usize, usize, usize); 7] = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    let mut net = Net::new(stored);
    let x = picture(&mut net, 224);
    let stem = net.conv(x, 32, 3, 2)?;
    let mut x = net.unary("relu6", stem)?;
    for (expand, channels, blocks, stride) in STAGES {
        for block in 0..blocks {
            x = inverted(&mut net, x, channels, expand, if block == 0 { stride } else { 1 }, "relu6")?;
        }
    }
    let last = net.conv(x, 1280, 1, 1)?;
    let last = net.unary("relu6", last)?;
    let y = classes(&mut net, last)?;
    Ok(net.finish(&[y]))
}

/// MobileNetV3-small on 224 x 224 pixels (Howard et al. 2019, table 2).
pub fn mobilenet_v3_small(stored: Stored) -> Result<Program, Fault> {
    /// Kernel, expanded channels, channels, squeeze and excite, hard swish, stride.
    const BLOCKS: [(usize, usize, usize, bool, bool, usize); 11] = [
        (3, 16, 16, true, false, 2),
        (3, 72, 24, false, false, 2),
        (3, 88, 24, false, false, 1),
        (5, 96, 40, true, true, 2),
        (5, 240, 40, true, true, 1),
        (5, 240, 40, true, true, 1),
        (5, 120, 48, true, true, 1),
        (5, 144, 48, true, true, 1),
        (5, 288, 96, true, true, 2),
        (5, 576, 96, true, true, 1),
        (5, 576, 96, true, true, 1),
    ];
    let mut net = Net::new(stored);
    let x = picture(&mut net, 224);
    let stem = net.conv(x, 16, 3, 2)?;
    let mut x = net.unary("silu", stem)?;
    for (kernel, wide, channels, squeeze, swish, stride) in BLOCKS {
        let act = if swish { "silu" } else { "relu" };
        let before = x;
        let y = net.conv(x, wide, 1, 1)?;
        let y = net.unary(act, y)?;
        let y = net.depthwise(y, kernel, stride)?;
        let mut y = net.unary(act, y)?;
        if squeeze {
            let pooled = net.reduce("reduce_mean", y, &[2, 3], true)?;
            let down = net.conv(pooled, wide / 4, 1, 1)?;
            let down = net.unary("relu", down)?;
            let up = net.conv(down, wide, 1, 1)?;
            let gate = net.unary("sigmoid", up)?;
            y = net.binary("mul", y, gate)?;
        }
        x = net.conv(y, channels, 1, 1)?;
        if stride == 1 && net.dims(before)[1] == channels {
            x = net.binary("add", before, x)?;
        }
    }
    let last = net.conv(x, 576, 1, 1)?;
    let last = net.unary("silu", last)?;
    let pooled = net.reduce("reduce_mean", last, &[2, 3], false)?;
    let hidden = net.linear(pooled, 1024)?;
    let hidden = net.unary("silu", hidden)?;
    let y = net.linear(hidden, 1000)?;
    Ok(net.finish(&[y]))
}

/// One MobileViTv2 block: local convolution, `layers` of separable attention on 2 x 2 patches, projection.
fn vit_block(net: &mut Net, x: ValueId, dim: usize, layers: usize) -> Built {
    let (channels, extent) = (net.dims(x)[1], net.dims(x)[2]);
    let y = net.depthwise(x, 3, 1)?;
    let y = net.unary("silu", y)?;
    let y = net.conv(y, dim, 1, 1)?;
    let half = extent / 2;
    let y = net.reshape(y, &[dim, half, 2, half * 2])?;
    let y = net.transpose(y, &[0, 2, 1, 3])?;
    let mut y = net.reshape(y, &[1, dim, 4, half * half])?;
    for _ in 0..layers {
        let normed = net.norm_over(y, &[1])?;
        let query = net.conv(normed, 1, 1, 1)?;
        let key = net.conv(normed, dim, 1, 1)?;
        let value = net.conv(normed, dim, 1, 1)?;
        let scores = net.softmax(query)?;
        let weighted = net.binary("mul", key, scores)?;
        let context = net.reduce("reduce_sum", weighted, &[-1], true)?;
        let value = net.unary("relu", value)?;
        let mixed = net.binary("mul", value, context)?;
        let out = net.conv(mixed, dim, 1, 1)?;
        y = net.binary("add", y, out)?;
        let normed = net.norm_over(y, &[1])?;
        let wide = net.conv(normed, dim * 2, 1, 1)?;
        let wide = net.unary("silu", wide)?;
        let narrow = net.conv(wide, dim, 1, 1)?;
        y = net.binary("add", y, narrow)?;
    }
    let y = net.norm_over(y, &[1])?;
    let y = net.reshape(y, &[dim, 2, half, half * 2])?;
    let y = net.transpose(y, &[0, 2, 1, 3])?;
    let y = net.reshape(y, &[1, dim, extent, extent])?;
    net.conv(y, channels, 1, 1)
}

/// MobileViTv2 at width 1 on 256 x 256 pixels (Mehta and Rastegari 2022).
pub fn mobilevit_v2(stored: Stored) -> Result<Program, Fault> {
    let mut net = Net::new(stored);
    let x = picture(&mut net, 256);
    let stem = net.conv(x, 32, 3, 2)?;
    let x = net.unary("silu", stem)?;
    let x = inverted(&mut net, x, 64, 2, 1, "silu")?;
    let x = inverted(&mut net, x, 128, 2, 2, "silu")?;
    let mut x = inverted(&mut net, x, 128, 2, 1, "silu")?;
    for (channels, dim, layers) in [(256, 128, 2), (384, 192, 4), (512, 256, 3)] {
        x = inverted(&mut net, x, channels, 2, 2, "silu")?;
        x = vit_block(&mut net, x, dim, layers)?;
    }
    let y = classes(&mut net, x)?;
    Ok(net.finish(&[y]))
}
