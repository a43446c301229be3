//! Programs with weights of a shape and no bytes: what a model costs does not depend on their values.

use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, Const, DType, Opset, Program, Tensor, TensorType, Type, ValueId, Weight, WeightData,
};

/// How the weights of a model are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored {
    /// As fp16.
    Fp16,
    /// As 8-bit numbers with a scale per output channel.
    Int8,
    /// As indices of so many bits.
    Palette(usize),
    /// Without their zeros, of which this is the part.
    Sparse(f64),
    /// As 8-bit numbers, and activations quantised as well.
    W8A8,
    /// As 4-bit numbers with a scale per output channel, and activations quantised to 8 bits.
    W4A8,
}

impl Stored {
    fn quantises_activations(self) -> bool {
        matches!(self, Stored::W8A8 | Stored::W4A8)
    }
}

/// The result of adding an op.
pub type Built = Result<ValueId, Fault>;

/// A function that is being built.
pub struct Net {
    builder: Builder,
    stored: Stored,
}

impl Net {
    /// A function without ops.
    pub fn new(stored: Stored) -> Net {
        Net { builder: Builder::new("main", Opset::Ios18), stored }
    }

    /// The program that gives these results.
    pub fn finish(mut self, outputs: &[ValueId]) -> Program {
        outputs.iter().for_each(|&v| self.builder.output(v));
        let function = self.builder.finish();
        let interface = plain_interface(std::slice::from_ref(&function));
        Program::new(function, interface)
    }

    /// An fp16 input.
    pub fn input(&mut self, name: &str, dims: &[usize]) -> ValueId {
        self.builder.input(name, TensorType::new(DType::F16, dims.iter().copied()))
    }

    /// An fp16 state, read.
    pub fn state(&mut self, name: &str, dims: &[usize]) -> Built {
        let state = self.builder.input(name, Type::State(TensorType::new(DType::F16, dims.iter().copied())));
        self.builder.op("read_state").arg("input", state).one(&format!("{name}_read"))
    }

    /// Dims of a value; empty when they are not all known.
    pub fn dims(&self, value: ValueId) -> Vec<usize> {
        self.builder.ty(value).tensor().and_then(TensorType::known_shape).unwrap_or_default()
    }

    fn missing(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        let weight = Weight { dtype, shape: shape.to_vec(), data: WeightData::Missing, origin: None };
        self.builder.constant(name, Const::Weight(weight))
    }

    /// A small parameter, kept as fp16 whatever the scheme.
    pub fn parameter(&mut self, shape: &[usize]) -> ValueId {
        self.missing("parameter", DType::F16, shape)
    }

    /// A weight, stored as the scheme says.
    pub fn weight(&mut self, shape: &[usize]) -> Built {
        let ones = |first: usize| -> Vec<usize> {
            std::iter::once(first).chain(std::iter::repeat_n(1, shape.len() - 1)).collect()
        };
        match self.stored {
            Stored::Fp16 => Ok(self.missing("weight", DType::F16, shape)),
            Stored::Int8 | Stored::W8A8 | Stored::W4A8 => {
                let dtype = if self.stored == Stored::W4A8 { DType::I4 } else { DType::I8 };
                let data = self.missing("weight_data", dtype, shape);
                let scale = self.missing("weight_scale", DType::F16, &ones(shape[0]));
                let op = self.builder.op("constexpr_blockwise_shift_scale").arg("data", data);
                op.arg("scale", scale).one("weight")
            }
            Stored::Palette(bits) => {
                let dtype = match bits {
                    1 => DType::U1,
                    2 => DType::U2,
                    3 => DType::U3,
                    4 => DType::U4,
                    6 => DType::U6,
                    _ => DType::U8,
                };
                let indices = self.missing("weight_indices", dtype, shape);
                let table: Vec<usize> = ones(1).into_iter().chain([1 << bits, 1]).collect();
                let lut = self.missing("weight_lut", DType::F16, &table);
                self.builder
                    .op("constexpr_lut_to_dense")
                    .arg("indices", indices)
                    .arg("lut", lut)
                    .one("weight")
            }
            Stored::Sparse(zeros) => {
                let all: usize = shape.iter().product();
                // Rounded to whole elements.
                let kept = format!("{:.0}", all as f64 * (1.0 - zeros)).parse().unwrap_or(all);
                let data = self.missing("weight_nonzero", DType::F16, &[kept]);
                let mask = self.missing("weight_mask", DType::U1, shape);
                let op = self.builder.op("constexpr_sparse_to_dense").arg("nonzero_data", data);
                op.arg("mask", mask).one("weight")
            }
        }
    }

    /// The activation as quantised models pass it on.
    fn activation(&mut self, x: ValueId) -> Built {
        if !self.stored.quantises_activations() {
            return Ok(x);
        }
        let scale = || Tensor::scalar_f64(DType::F16, 0.01);
        let quantise = self.builder.op("quantize").arg("input", x).literal("scale", scale());
        let bytes = quantise.str("output_dtype", "int8").one("quantized")?;
        self.builder.op("dequantize").arg("input", bytes).literal("scale", scale()).one("dequantized")
    }

    /// A 2-D convolution that keeps the extent, divided by the stride.
    pub fn conv(&mut self, x: ValueId, out: usize, kernel: usize, stride: usize) -> Built {
        self.grouped(x, out, kernel, stride, 1)
    }

    /// A convolution with one channel per group.
    pub fn depthwise(&mut self, x: ValueId, kernel: usize, stride: usize) -> Built {
        let channels = self.dims(x).get(1).copied().unwrap_or(1);
        self.grouped(x, channels, kernel, stride, channels)
    }

    fn grouped(&mut self, x: ValueId, out: usize, kernel: usize, stride: usize, groups: usize) -> Built {
        let channels = self.dims(x).get(1).copied().unwrap_or(1);
        let flat = self.dims(x).get(2) == Some(&1);
        let rows = if flat { 1 } else { kernel };
        let weight = self.weight(&[out, channels / groups, rows, kernel])?;
        let x = self.activation(x)?;
        let steps = i32::try_from(stride).unwrap_or(1);
        let op = self.builder.op("conv").arg("x", x).arg("weight", weight);
        let op = op.ints("strides", &[if flat { 1 } else { steps }, steps]).str("pad_type", "same");
        let op = op.ints("pad", &[0, 0, 0, 0]).ints("dilations", &[1, 1]);
        op.int("groups", i32::try_from(groups).unwrap_or(1)).one("conv")
    }

    /// A transposed convolution with kernel 4 and stride 2, which doubles the extent.
    pub fn deconv(&mut self, x: ValueId, out: usize) -> Built {
        let channels = self.dims(x).get(1).copied().unwrap_or(1);
        let weight = self.weight(&[channels, out, 4, 4])?;
        let op = self.builder.op("conv_transpose").arg("x", x).arg("weight", weight);
        let op = op.ints("strides", &[2, 2]).str("pad_type", "custom").ints("pad", &[1, 1, 1, 1]);
        op.ints("dilations", &[1, 1]).int("groups", 1).one("deconv")
    }

    /// A product of the last axis with a matrix.
    pub fn linear(&mut self, x: ValueId, out: usize) -> Built {
        let inner = self.dims(x).last().copied().unwrap_or(1);
        let weight = self.weight(&[out, inner])?;
        let x = self.activation(x)?;
        self.builder.op("linear").arg("x", x).arg("weight", weight).one("linear")
    }

    /// An op with the one operand `x`.
    pub fn unary(&mut self, kind: &str, x: ValueId) -> Built {
        self.builder.op(kind).arg("x", x).one(kind)
    }

    /// An op with the operands `x` and `y`.
    pub fn binary(&mut self, kind: &str, x: ValueId, y: ValueId) -> Built {
        self.builder.op(kind).arg("x", x).arg("y", y).one(kind)
    }

    /// GELU as transformers have it.
    pub fn gelu(&mut self, x: ValueId) -> Built {
        self.builder.op("gelu").arg("x", x).str("mode", "EXACT").one("gelu")
    }

    /// Softmax over the last axis.
    pub fn softmax(&mut self, x: ValueId) -> Built {
        self.softmax_over(x, -1)
    }

    /// Softmax over an axis.
    pub fn softmax_over(&mut self, x: ValueId, axis: i32) -> Built {
        self.builder.op("softmax").arg("x", x).int("axis", axis).one("softmax")
    }

    /// Normalises groups of channels, and scales each channel.
    pub fn group_norm(&mut self, x: ValueId, groups: usize) -> Built {
        let dims = self.dims(x);
        let all: usize = dims[1..].iter().product();
        let grouped = self.reshape(x, &[dims[0], groups, all / groups])?;
        let normed = self.norm_over(grouped, &[-1])?;
        let back = self.reshape(normed, &dims)?;
        let mut per_channel = vec![1; dims.len()];
        per_channel[1] = dims[1];
        let (gamma, beta) = (self.parameter(&per_channel), self.parameter(&per_channel));
        let scaled = self.binary("mul", back, gamma)?;
        self.binary("add", scaled, beta)
    }

    /// Layer norm over the last axis.
    pub fn layer_norm(&mut self, x: ValueId) -> Built {
        let width = self.dims(x).last().copied().unwrap_or(1);
        let (gamma, beta) = (self.parameter(&[width]), self.parameter(&[width]));
        let op = self.builder.op("layer_norm").arg("x", x).ints("axes", &[-1]);
        let op = op.arg("gamma", gamma).arg("beta", beta);
        op.float("epsilon", "x", 1e-5).one("layer_norm")
    }

    /// Normalises over axes without parameters, and scales.
    pub fn norm_over(&mut self, x: ValueId, axes: &[i32]) -> Built {
        let op = self.builder.op("layer_norm").arg("x", x).ints("axes", axes);
        op.float("epsilon", "x", 1e-5).one("norm")
    }

    /// x / sqrt(mean(x^2) + e) * gamma over the last axis, as converters write it.
    pub fn rms_norm(&mut self, x: ValueId) -> Built {
        let width = self.dims(x).last().copied().unwrap_or(1);
        let square = self.binary("mul", x, x)?;
        let mean = self.reduce("reduce_mean", square, &[-1], true)?;
        let op = self.builder.op("rsqrt").arg("x", mean);
        let root = op.float("epsilon", "x", 1e-5).one("rsqrt")?;
        let scaled = self.binary("mul", x, root)?;
        let gamma = self.parameter(&[width]);
        self.binary("mul", scaled, gamma)
    }

    /// A reduction over axes.
    pub fn reduce(&mut self, kind: &str, x: ValueId, axes: &[i32], keep: bool) -> Built {
        self.builder.op(kind).arg("x", x).ints("axes", axes).bool("keep_dims", keep).one(kind)
    }

    /// A product of two activations, the second one transposed when asked for.
    pub fn matmul(&mut self, x: ValueId, y: ValueId, transposed: bool) -> Built {
        let op = self.builder.op("matmul").arg("x", x).arg("y", y);
        op.bool("transpose_x", false).bool("transpose_y", transposed).one("matmul")
    }

    /// Another shape.
    pub fn reshape(&mut self, x: ValueId, dims: &[usize]) -> Built {
        let dims: Vec<i32> = dims.iter().map(|&n| i32::try_from(n).unwrap_or(1)).collect();
        self.builder.op("reshape").arg("x", x).ints("shape", &dims).one("reshape")
    }

    /// Another order of axes.
    pub fn transpose(&mut self, x: ValueId, order: &[i32]) -> Built {
        self.builder.op("transpose").arg("x", x).ints("perm", order).one("transpose")
    }

    /// Joined along an axis.
    pub fn concat(&mut self, values: &[ValueId], axis: i32) -> Built {
        let op = self.builder.op("concat").args("values", values.to_vec());
        op.int("axis", axis).bool("interleave", false).one("concat")
    }

    /// Equal parts along an axis.
    pub fn split(&mut self, x: ValueId, parts: usize, axis: i32) -> Result<Vec<ValueId>, Fault> {
        let parts = i32::try_from(parts).unwrap_or(1);
        self.builder.op("split").arg("x", x).int("num_splits", parts).int("axis", axis).all("split")
    }

    /// A max pool of kernel 3 and stride 2.
    pub fn max_pool(&mut self, x: ValueId) -> Built {
        let op = self.builder.op("max_pool").arg("x", x).ints("kernel_sizes", &[3, 3]);
        let op = op.ints("strides", &[2, 2]).str("pad_type", "same").ints("pad", &[0, 0, 0, 0]);
        op.bool("ceil_mode", false).one("pool")
    }

    /// Twice the extent, by repeating.
    pub fn upsample(&mut self, x: ValueId) -> Built {
        let op = self.builder.op("upsample_nearest_neighbor").arg("x", x);
        let scale = || Tensor::scalar_f64(DType::F32, 2.0);
        op.literal("scale_factor_height", scale()).literal("scale_factor_width", scale()).one("upsample")
    }

    /// The largest values along the last axis.
    pub fn topk(&mut self, x: ValueId, k: i32) -> Result<Vec<ValueId>, Fault> {
        let op = self.builder.op("topk").arg("x", x).int("k", k).int("axis", -1).bool("ascending", false);
        op.bool("sort", true).bool("return_indices", true).str("output_indices_dtype", "int32").all("topk")
    }
}
