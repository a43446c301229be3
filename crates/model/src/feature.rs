//! Values that go in and come out.

use anemone_tensor::Tensor;

/// One value of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub enum Feature {
    /// A tensor.
    Tensor(Tensor),
    /// Text: a classifier's label.
    Text(String),
    /// An integer: a classifier's label.
    Int(i64),
    /// A number of double precision.
    Double(f64),
    /// A mapping from labels to probabilities, in the model's order.
    Dict(Vec<(DictKey, f64)>),
}

/// Key of a dictionary feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DictKey {
    /// Text.
    Text(String),
    /// An integer.
    Int(i64),
}

impl Feature {
    /// The tensor, when this is one.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Feature::Tensor(t) => Some(t),
            _ => None,
        }
    }
}

impl From<Tensor> for Feature {
    fn from(t: Tensor) -> Feature {
        Feature::Tensor(t)
    }
}

/// Named values, in the order in which they were put in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    items: Vec<(String, Feature)>,
}

impl Features {
    /// No values.
    pub fn new() -> Features {
        Features::default()
    }

    /// Puts a value in; one of the same name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, feature: impl Into<Feature>) {
        let (name, feature) = (name.into(), feature.into());
        match self.items.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = feature,
            None => self.items.push((name, feature)),
        }
    }

    /// The value of that name.
    pub fn find(&self, name: &str) -> Option<&Feature> {
        self.items.iter().find(|(n, _)| n == name).map(|(_, f)| f)
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.find(name).and_then(Feature::tensor)
    }

    /// All values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Feature)> {
        self.items.iter().map(|(n, f)| (n.as_str(), f))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<N: Into<String>, F: Into<Feature>> FromIterator<(N, F)> for Features {
    fn from_iter<I: IntoIterator<Item = (N, F)>>(items: I) -> Features {
        let mut features = Features::new();
        items.into_iter().for_each(|(n, f)| features.insert(n, f));
        features
    }
}
