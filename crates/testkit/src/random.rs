//! Random small programs.

use crate::filetest::Random;
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, DType, Function, Level, Opset, Program, Tensor, TensorType, ValueId, verify_op};

/// A legal program of one function, the same for the same seed: some inputs, up to `ops` ops of many kinds, nested
/// blocks among them, and some outputs.
pub fn program(seed: u64, ops: usize) -> Program {
    let mut maker = Maker { b: Builder::new("main", Opset::Ios18), random: Random(seed), values: Vec::new() };
    for name in ["x", "z"] {
        let input = maker.b.input(name, TensorType::new(DType::F32, [2, 4, 3, 3]));
        maker.values.push(input);
    }
    let count = 1 + maker.random.below(ops.max(1));
    for i in 0..count {
        // What is not legal is not used, and removed at the end.
        if let Ok(v) = maker.step(i)
            && maker.is_legal(v)
        {
            maker.values.push(v);
        }
    }
    let mut function = maker.outputs();
    function.remove_dead_ops();
    let interface = plain_interface(std::slice::from_ref(&function));
    Program::new(function, interface)
}

struct Maker {
    b: Builder,
    random: Random,
    values: Vec<ValueId>,
}

const UNARY: [&str; 12] = [
    "relu", "relu6", "sigmoid", "tanh", "abs", "square", "exp", "silu", "floor", "identity", "softsign",
    "erf",
];
const BINARY: [&str; 6] = ["add", "sub", "mul", "maximum", "minimum", "greater"];
const NUMBERS: [f64; 9] = [0.0, 1.0, 0.5, -2.0, 3.0, 6.0, 1e-10, 1e6, 0.1];

impl Maker {
    /// Hands out the newest value and some others, which must not be inputs.
    fn outputs(mut self) -> Function {
        let made: Vec<ValueId> = self.values.iter().copied().skip(2).collect();
        let mut handed: Vec<ValueId> = made.last().copied().into_iter().collect();
        for &v in &made {
            if self.random.below(5) == 0 && !handed.contains(&v) {
                handed.push(v);
            }
        }
        handed.retain(|&v| self.b.ty(v).tensor().is_some_and(|t| t.dtype != DType::Bool));
        if handed.is_empty() {
            let x = self.values[0];
            handed.extend(self.b.op("relu").arg("x", x).one("y"));
        }
        handed.into_iter().for_each(|v| self.b.output(v));
        self.b.finish()
    }

    fn is_legal(&self, v: ValueId) -> bool {
        let function = self.b.function();
        let op = function.producer(v).map(|op| function.op(op));
        op.is_none_or(|op| verify_op(function, op, Level::Canonical).is_ok())
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())]
    }

    /// A value, newer ones more often.
    fn value(&mut self) -> ValueId {
        let n = self.values.len();
        let back = self.random.below(n).min(self.random.below(n));
        self.values[n - 1 - back]
    }

    fn shape(&self, v: ValueId) -> Vec<usize> {
        self.b.ty(v).tensor().and_then(TensorType::known_shape).unwrap_or_default()
    }

    fn constant(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| self.random.unit() * 2.0 - 1.0).collect();
        Tensor::from_f64s(DType::F32, shape, &values).expect("the values fit the shape")
    }

    fn step(&mut self, i: usize) -> Result<ValueId, Fault> {
        let (x, name) = (self.value(), format!("v{i}"));
        let shape = self.shape(x);
        match self.random.below(15) {
            0 | 1 => {
                let kind = self.one(&UNARY);
                self.b.op(kind).arg("x", x).one(&name)
            }
            2 | 3 => {
                let (kind, y) = (self.one(&BINARY), self.value());
                self.b.op(kind).arg("x", x).arg("y", y).one(&name)
            }
            4 | 5 => {
                let (kind, n) = (self.one(&["add", "mul", "real_div", "sub", "maximum"]), self.one(&NUMBERS));
                self.b.op(kind).arg("x", x).float("y", "x", n).one(&name)
            }
            6 => {
                let channels = shape.get(1).copied().unwrap_or(1);
                let (weight, bias) = (self.constant(&[4, channels, 1, 1]), self.constant(&[4]));
                let conv = self.b.op("conv").arg("x", x).literal("weight", weight).literal("bias", bias);
                conv.str("pad_type", "valid").one(&name)
            }
            7 => {
                let perm = self.one(&[[0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3], [0, 1, 2, 3]]);
                self.b.op("transpose").arg("x", x).ints("perm", &perm).one(&name)
            }
            8 => {
                let shape = self.one(&[[2, 4, 3, 3], [2, 3, 3, 4], [4, 2, 9, 1], [2, 4, 9, 1]]);
                self.b.op("reshape").arg("x", x).ints("shape", &shape).one(&name)
            }
            9 => {
                let (axis, keep) = (self.one(&[0, 1, 2, 3]), self.one(&[true, true, false]));
                let kind = self.one(&["reduce_mean", "reduce_sum", "reduce_max"]);
                self.b.op(kind).arg("x", x).ints("axes", &[axis]).bool("keep_dims", keep).one(&name)
            }
            10 => {
                let (y, axis) = (self.value(), self.one(&[0, 1, 3]));
                self.b
                    .op("concat")
                    .args("values", vec![x, y])
                    .int("axis", axis)
                    .bool("interleave", false)
                    .one(&name)
            }
            11 => {
                let to = self.one(&["fp16", "fp32", "int32"]);
                self.b.op("cast").arg("x", x).str("dtype", to).one(&name)
            }
            12 => {
                let indices = self.one(&[[0, 1], [1, 0], [1, 1]]);
                let gather = self.b.op("gather").arg("x", x).ints("indices", &indices).int("axis", 1);
                gather.int("batch_dims", 0).bool("validate_indices", false).one(&name)
            }
            13 => self.b.op("softmax").arg("x", x).int("axis", -1).one(&name),
            _ => self.cond(x, i),
        }
    }

    /// A `cond` on the sum of `x`, with random ops of one type in both blocks.
    fn cond(&mut self, x: ValueId, i: usize) -> Result<ValueId, Fault> {
        if self.b.ty(x).tensor().is_none_or(|t| t.dtype != DType::F32) {
            return Err(Fault::new("blocks are only made of fp32 ops"));
        }
        let sum = self.b.op("reduce_sum").arg("x", x).bool("keep_dims", false).one(&format!("sum{i}"))?;
        let go = self.b.op("greater").arg("x", sum).float("y", "x", 0.0).one(&format!("go{i}"))?;
        let (outer, random) = (self.values.clone(), self.random.below(1 << 20));
        let mut block = |salt: usize| {
            let mut random = Random((random + salt) as u64);
            std::mem::swap(&mut self.random, &mut random);
            let built = self.branch(x, i + 1000 * salt);
            std::mem::swap(&mut self.random, &mut random);
            self.values.clone_from(&outer);
            built
        };
        let (yes, no) = (block(1)?, block(2)?);
        self.b.op("cond").arg("pred", go).block(yes).block(no).one(&format!("v{i}"))
    }

    /// A block of a few ops that hands out a value of the type of `x`.
    fn branch(&mut self, x: ValueId, i: usize) -> Result<anemone_mil::BlockId, Fault> {
        let kind = self.one(&["relu", "tanh", "identity", "square"]);
        let number = self.one(&NUMBERS);
        self.b.nested(|b| {
            let a = b.op(kind).arg("x", x).one(&format!("a{i}"))?;
            let c = b.op("mul").arg("x", a).float("y", "x", number).one(&format!("c{i}"))?;
            let d = b.op("add").arg("x", c).arg("y", x).one(&format!("d{i}"))?;
            b.output(d);
            Ok(())
        })
    }
}
