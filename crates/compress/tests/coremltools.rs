//! Every recorded case of coremltools 9.0: the same numbers, bit for bit; for k-means an error that is no larger.
//!
//! `cargo xtask record compress` records them again.

use anemone_compress::{LinearMode, PaletteMode, PaletteSpec, Pruning, palettize, prune, quantize};
use anemone_formats::safetensors::SafeTensors;
use anemone_tensor::{DType, Tensor};
use serde_json::Value;
use std::path::Path;

struct Case<'a> {
    how: Value,
    key: String,
    file: &'a SafeTensors,
}

impl Case<'_> {
    fn word(&self, name: &str) -> &str {
        self.how[name].as_str().unwrap_or("")
    }

    fn count(&self, name: &str) -> usize {
        self.how[name].as_u64().and_then(|v| usize::try_from(v).ok()).unwrap_or(0)
    }

    fn number(&self, name: &str) -> f64 {
        self.how[name].as_f64().unwrap_or(f64::NAN)
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.file.tensors.get(&format!("{}.{name}", self.key))
    }

    fn expect(&self, name: &str, actual: Option<&Tensor>) -> Result<(), String> {
        let (expected, actual) = match (self.tensor(name), actual) {
            (None, None) => return Ok(()),
            (Some(e), Some(a)) => (e, a),
            (e, a) => return Err(format!("{name}: expected {e:?}, actual {a:?}")),
        };
        if expected.shape() != actual.shape() {
            return Err(format!(
                "{name}: expected shape {:?}, actual {:?}",
                expected.shape(),
                actual.shape()
            ));
        }
        let (e, a) = (expected.to_f64s(), actual.to_f64s());
        match e.iter().zip(&a).position(|(e, a)| e != a && !(e.is_nan() && a.is_nan())) {
            Some(i) => Err(format!("{name}[{i}]: expected {}, actual {}", e[i], a[i])),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        let weight = self.tensor("weight").ok_or("no weight")?;
        match self.word("kind") {
            "linear" => self.linear(weight),
            "palette" => self.palette(weight),
            "joint" => Ok(()), // joint.rs
            _ => self.prune(weight),
        }
    }

    fn linear(&self, weight: &Tensor) -> Result<(), String> {
        let mode = if self.word("mode") == "LINEAR" { LinearMode::Affine } else { LinearMode::Symmetric };
        let sizes = self.how["sizes"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let sizes: Vec<usize> = sizes.filter_map(|s| usize::try_from(s).ok()).collect();
        let dtype = DType::from_name(self.word("dtype")).ok_or("no type")?;
        for workers in [1, 2] {
            let q = quantize(weight, dtype, mode, &sizes, workers).map_err(|e| e.to_string())?;
            self.expect("data", Some(&q.data))?;
            self.expect("scale", Some(&q.scale))?;
            self.expect("offset", q.offset.as_ref())?;
        }
        Ok(())
    }

    fn palette(&self, weight: &Tensor) -> Result<(), String> {
        let mode = match self.word("mode") {
            "KMEANS" => PaletteMode::Kmeans,
            "UNIFORM" => PaletteMode::Uniform,
            _ => PaletteMode::Unique,
        };
        let bits = self.how["bits"].as_u64().and_then(|b| usize::try_from(b).ok());
        let (axis, group) = (self.count("axis"), self.count("group"));
        let spec = PaletteSpec { mode, bits, axis, group, cluster_dim: self.count("cluster_dim") };
        let made = palettize(weight, &spec, 2);
        if self.how["refused"] == true {
            return made.map_or(Ok(()), |_| Err("coremltools refuses it".into()));
        }
        let made = made.map_err(|e| e.to_string())?;
        if let Some(limit) = self.tensor("error") {
            let (ours, limit) = (squared_error(weight, &made.lut, &made.indices, &spec), limit.f64_at(0));
            // Sums of millions of squares differ in the last digits by their order.
            return if ours <= limit * (1.0 + 1e-9) {
                Ok(())
            } else {
                Err(format!("error {ours}, coremltools {limit}"))
            };
        }
        self.expect("indices", Some(&made.indices))?;
        self.expect("lut", Some(&made.lut))
    }

    fn prune(&self, weight: &Tensor) -> Result<(), String> {
        let (sparsity, dim) = (self.number("sparsity"), self.count("dim"));
        let how = match self.word("kind") {
            "threshold" => {
                Pruning::Threshold { threshold: self.number("threshold"), minimum: self.number("minimum") }
            }
            "magnitude" => Pruning::Magnitude { sparsity },
            "blocks" => Pruning::Blocks { sparsity, size: self.count("size"), dim },
            _ => Pruning::NOfM { n: self.count("n"), m: self.count("m"), dim },
        };
        let made = prune(weight, how);
        if self.how["refused"] == true {
            return made.map_or(Ok(()), |_| Err("coremltools refuses it".into()));
        }
        let made = made.map_err(|e| e.to_string())?;
        self.expect("mask", Some(&made.mask))?;
        self.expect("nonzero", Some(&made.nonzero))
    }
}

/// Mean squared error of a palette, worked out element by element from its definition.
fn squared_error(weight: &Tensor, lut: &Tensor, indices: &Tensor, spec: &PaletteSpec) -> f64 {
    let (shape, d) = (weight.shape(), spec.cluster_dim);
    let inner: usize = shape[spec.axis + 1..].iter().product();
    let along = shape[spec.axis];
    let (groups, entries) = (lut.shape()[spec.axis], lut.shape()[shape.len()]);
    let error = |i: usize| {
        let (outer, channel, at) = (i / inner / along, i / inner % along, i % inner);
        let index = indices.i64_at((outer * (along / d) + channel / d) * inner + at);
        let group = channel / (along / groups);
        let entry = (group * entries + usize::try_from(index).expect("an index")) * d + channel % d;
        (weight.f64_at(i) - lut.f64_at(entry)).powi(2)
    };
    (0..weight.len()).map(error).sum::<f64>() / weight.len() as f64
}

#[test]
fn every_recorded_case_comes_out_as_coremltools_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/compress/cases.safetensors");
    let file = SafeTensors::read(&std::fs::read(path).expect("the corpus").into()).expect("readable");
    let list: Vec<Value> = serde_json::from_str(&file.metadata["cases"]).expect("a list of cases");
    assert!(list.len() >= 600, "{} cases", list.len());
    let mut wrong = Vec::new();
    for (i, how) in list.into_iter().enumerate() {
        let case = Case { how, key: format!("{i:03}"), file: &file };
        if let Err(e) = case.check() {
            wrong.push(format!("{} {}: {e}", case.how, case.key));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
