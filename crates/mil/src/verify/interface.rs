//! The interface against the functions that it describes.

use super::{Diagnostic, Diagnostics};
use crate::interface::{
    ArrayFeature, ColorSpace, Feature, FeatureKind, Flexibility, FunctionInterface, ImageFeature,
    ImageFlexibility,
};
use crate::{DType, Dim, Function, Name, Program, TensorType, Type, ValueId};
use std::collections::{HashMap, HashSet};

/// Checks that every function has a description that names its inputs, outputs and states with fitting types.
pub(super) fn check(program: &Program, found: &mut Diagnostics) {
    let interface = &program.interface;
    if program.function(&interface.default_function).is_none() && !interface.default_function.is_empty() {
        let name = &interface.default_function;
        found.push(Diagnostic::of_program(format!("the default function `{name}` does not exist")));
    }
    for described in &interface.functions {
        if program.function(&described.name).is_none() {
            let message =
                format!("the interface describes function `{}`, which does not exist", described.name);
            found.push(Diagnostic::of_program(message));
        }
    }
    for function in &program.functions {
        match interface.function(&function.name) {
            Some(described) => Ports { function, found }.check(described),
            None => found.push(Diagnostic::of_function(&function.name, "the interface does not describe it")),
        }
    }
}

struct Ports<'a, 'd> {
    function: &'a Function,
    found: &'d mut Diagnostics,
}

impl<'a> Ports<'a, '_> {
    fn check(&mut self, described: &FunctionInterface) {
        let f = self.function;
        let known = |ids: &[ValueId]| -> Vec<ValueId> {
            ids.iter().copied().filter(|v| v.index() < f.value_count()).collect()
        };
        let is_state = |v: &ValueId| matches!(f.value(*v).ty, Type::State(_));
        let (states, inputs): (Vec<_>, Vec<_>) = known(&f.inputs).into_iter().partition(is_state);
        self.side("input", &described.inputs, &inputs);
        self.side("state", &described.states, &states);
        self.side("output", &described.outputs, &known(f.outputs()));
        for label in [&described.predicted_feature, &described.predicted_probabilities] {
            if !label.is_empty() && !described.outputs.iter().any(|o| o.name == *label) {
                self.fault(format!("the classifier's `{label}` is no output"));
            }
        }
    }

    fn side(&mut self, what: &str, features: &[Feature], values: &[ValueId]) {
        let mut by_name: HashMap<&str, ValueId> = HashMap::new();
        for &v in values {
            by_name.entry(&self.function.value(v).name).or_insert(v);
        }
        let mut names: HashSet<&str> = HashSet::new();
        for feature in features {
            let (name, twice) = (&feature.name, !names.insert(&feature.name));
            if twice {
                self.fault(format!("{what} `{name}` is described twice"));
            }
            match by_name.get(&**name) {
                None => self.fault(format!(
                    "the interface describes {what} `{name}`, which the function does not have"
                )),
                Some(&v) => {
                    let ty = &self.function.value(v).ty;
                    if let Some(wanted) = feature_fault(&feature.kind, ty, what == "output") {
                        self.fault(format!("{what} `{name}` is {ty}, but the interface describes {wanted}"));
                    }
                }
            }
        }
        for &v in values {
            let name: &Name = &self.function.value(v).name;
            if !names.contains(&**name) {
                self.fault(format!("the interface does not describe {what} `{name}`"));
            }
        }
    }

    fn fault(&mut self, message: String) {
        self.found.push(Diagnostic::of_function(&self.function.name, message));
    }
}

/// What the interface describes, in words, when it does not fit the type.
fn feature_fault(kind: &FeatureKind, ty: &Type, output: bool) -> Option<String> {
    let dtype = ty.tensor().map(|t| t.dtype);
    let fits = match (kind, ty) {
        (FeatureKind::MultiArray(array), Type::Tensor(t)) | (FeatureKind::State(array), Type::State(t)) => {
            return array_fault(array, t, output);
        }
        (FeatureKind::Image(image), Type::Tensor(t)) => return image_fault(image, t),
        (FeatureKind::Int64, _) => dtype.is_some_and(DType::is_int),
        (FeatureKind::Double, _) => dtype.is_some_and(DType::is_float),
        (FeatureKind::String, _) => dtype == Some(DType::String),
        (FeatureKind::Dictionary { .. }, Type::Dict(..)) => true,
        (FeatureKind::Sequence { .. }, Type::List { .. }) | (FeatureKind::Unspecified, _) => true,
        _ => false,
    };
    (!fits).then(|| kind_name(kind).to_owned())
}

fn kind_name(kind: &FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Int64 => "an integer",
        FeatureKind::Double => "a double",
        FeatureKind::String => "a string",
        FeatureKind::Image(_) => "an image",
        FeatureKind::MultiArray(_) => "a tensor",
        FeatureKind::Dictionary { .. } => "a dictionary",
        FeatureKind::Sequence { .. } => "a sequence",
        FeatureKind::State(_) => "a state",
        FeatureKind::Unspecified => "nothing",
    }
}

fn array_fault(array: &ArrayFeature, ty: &TensorType, output: bool) -> Option<String> {
    if let Some(dtype) = array.dtype.filter(|d| *d != ty.dtype) {
        return Some(format!("{dtype}"));
    }
    let dims = match ty.rank() {
        0 => vec![Dim::Known(1)],
        _ => ty.dims.clone(),
    };
    let shape_fits = |shape: &[i64]| {
        let fits = |(d, &n): (&Dim, &i64)| d.known().is_none_or(|k| i64::try_from(k) == Ok(n));
        shape.len() == dims.len() && dims.iter().zip(shape).all(fits)
    };
    if !(shape_fits(&array.shape) || array.shape.is_empty() && (output || ty.rank() == 0)) {
        return Some(format!("shape {:?}", array.shape));
    }
    match &array.flexibility {
        Flexibility::Fixed => None,
        Flexibility::Enumerated(shapes) => {
            shapes.iter().find(|s| !shape_fits(s)).map(|s| format!("also shape {s:?}"))
        }
        Flexibility::Ranges(ranges) => {
            let fits = |(d, r): (&Dim, &crate::interface::SizeRange)| {
                let fixed = d.known().and_then(|k| u64::try_from(k).ok());
                fixed.is_none_or(|k| r.lower == k && r.upper == Some(k))
            };
            let all = ranges.len() == dims.len() && dims.iter().zip(ranges).all(fits);
            (!all).then(|| "a range for a dim that is fixed, or ranges of another rank".into())
        }
    }
}

/// An image is `[batch, channels, height, width]` with 1 or 3 channels.
fn image_fault(image: &ImageFeature, ty: &TensorType) -> Option<String> {
    let channels = match image.color {
        ColorSpace::Grayscale | ColorSpace::GrayscaleF16 => Some(1),
        ColorSpace::Rgb | ColorSpace::Bgr => Some(3),
        ColorSpace::Unspecified => None,
    };
    let fixed = image.flexibility == ImageFlexibility::Fixed;
    let extent = |n: i64| usize::try_from(n).ok().filter(|&n| fixed && n > 0);
    let wanted = [None, channels, extent(image.height), extent(image.width)];
    let fits = |(d, w): (&Dim, &Option<usize>)| d.known().zip(*w).is_none_or(|(d, w)| d == w);
    let right = ty.rank() == 4 && ty.dtype.is_float() && ty.dims.iter().zip(&wanted).all(fits);
    (!right).then(|| {
        let channels = channels.map_or("?".into(), |c| c.to_string());
        format!("an image, [1, {channels}, {}, {}] of floats", image.height, image.width)
    })
}
