//! What a model's interface adds to what its function computes: pictures, values of inputs that are left out, allowed
//! shapes, and scalars described as one element.
//!
//! A picture is `uint8 [height, width, 3]`, red first whatever the model's layout, or `[height, width]` for grayscale;
//! a 16-bit-float grayscale picture is `fp32 [height, width]`. The function itself takes planes,
//! `[1, channels, height, width]`, which may also be given.

use crate::{Error, ErrorKind, nearest};
use anemone_mil::interface::{
    ArrayFeature, ColorSpace, DefaultValue, Feature as Described, FeatureKind, Flexibility,
    FunctionInterface, ImageFeature, ImageFlexibility, SizeRange,
};
use anemone_model::{Feature, Features, Port};
use anemone_tensor::{DType, Tensor, num};

/// The tensors that the function takes, from the features that were given.
///
/// # Errors
/// When an input is unknown, missing, or of a type or shape that the interface does not allow.
pub(crate) fn take(
    interface: &FunctionInterface,
    ports: &[Port],
    given: &Features,
) -> Result<Features, Error> {
    known(ports, given)?;
    let mut taken = Features::new();
    let mut missing = Vec::new();
    for port in ports {
        let described = interface.inputs.iter().find(|f| f.name == port.name);
        match given.find(&port.name) {
            Some(feature) => taken.insert(port.name.as_str(), take_one(described, port, feature)?),
            None => match described.map(|d| left_out(d, port)).transpose()?.flatten() {
                Some(default) => taken.insert(port.name.as_str(), default),
                None => missing.push(port),
            },
        }
    }
    if missing.is_empty() { Ok(taken) } else { Err(absent(interface, &missing, given)) }
}

/// Refuses names that the model does not have, and inputs that are missing.
///
/// # Errors
/// In both cases; the error lists all missing inputs with their types.
pub(crate) fn check_names(
    interface: &FunctionInterface,
    ports: &[Port],
    given: &Features,
) -> Result<(), Error> {
    known(ports, given)?;
    let optional = |p: &&Port| interface.inputs.iter().any(|f| f.name == p.name && f.optional);
    let missing = ports.iter().filter(|p| given.find(&p.name).is_none() && !optional(p));
    let missing: Vec<&Port> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(absent(interface, &missing, given)) }
}

fn absent(interface: &FunctionInterface, missing: &[&Port], given: &Features) -> Error {
    let one = |p: &&Port| {
        let described = interface.inputs.iter().find(|f| f.name == p.name);
        format!("`{}` ({})", p.name, type_of(described, p))
    };
    let missing: Vec<String> = missing.iter().map(one).collect();
    let names: Vec<&str> = given.iter().map(|(n, _)| n).collect();
    let (what, verb) = if missing.len() == 1 { ("input", "is") } else { ("inputs", "are") };
    let what = format!("{what} {} {verb} missing; given are {names:?}", missing.join(", "));
    Error::new(what).of_kind(ErrorKind::MissingInput)
}

/// Refuses names that the function does not have.
fn known(ports: &[Port], given: &Features) -> Result<(), Error> {
    let names = || ports.iter().map(|p| p.name.as_str());
    match given.iter().find(|(name, _)| names().all(|n| n != *name)) {
        Some((name, _)) => Err(unknown(ports, name)),
        None => Ok(()),
    }
}

/// The error that names the inputs there are.
pub(crate) fn unknown(ports: &[Port], name: &str) -> Error {
    let list: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
    let hint = nearest::hint(name, list.iter().copied());
    Error::new(format!("the model has no input `{name}`; it has {list:?}{hint}"))
        .of_kind(ErrorKind::UnknownInput)
}

/// A shape as a feature of that name has it: planes `[1, channels, height, width]` of a picture are pixels then.
pub(crate) fn of_feature(interface: &FunctionInterface, name: &str, shape: &[usize]) -> Vec<Option<usize>> {
    let described = interface.inputs.iter().find(|f| f.name == name).map(|f| &f.kind);
    match (described, shape) {
        (Some(FeatureKind::Image(_)), [1, 3, height, width]) => vec![Some(*height), Some(*width), Some(3)],
        (Some(FeatureKind::Image(i)), [1, 1, height, width]) if channels(i) == 1 => {
            vec![Some(*height), Some(*width)]
        }
        _ => shape.iter().copied().map(Some).collect(),
    }
}

/// One feature as the tensor that the function takes.
fn take_one(described: Option<&Described>, port: &Port, feature: &Feature) -> Result<Tensor, Error> {
    let tensor = match feature {
        Feature::Tensor(t) => t.clone(),
        Feature::Int(v) => Tensor::from_i64s(DType::I64, [], &[*v]).map_err(Error::from_cause)?,
        Feature::Double(v) => Tensor::scalar_f64(DType::F64, *v),
        Feature::Text(_) | Feature::Dict(_) => {
            let what = format!(
                "input `{}` is {}, but the model takes {}",
                port.name,
                if matches!(feature, Feature::Text(_)) { "text" } else { "a dictionary" },
                type_of(described, port)
            );
            return Err(Error::new(what).of_kind(ErrorKind::WrongType));
        }
    };
    if tensor.dtype().is_float() && !port.dtype.is_float() {
        return Err(wrong_type(described, port, &tensor));
    }
    let picture = matches!(described.map(|d| &d.kind), Some(FeatureKind::Image(_)));
    if !tensor.dtype().is_float() && port.dtype.is_float() && !picture {
        return Err(wrong_type(described, port, &tensor));
    }
    let tensor = fitted(described, port, tensor)?;
    exact(port, &tensor)
}

/// The tensor in a shape that both interface and function allow.
fn fitted(described: Option<&Described>, port: &Port, t: Tensor) -> Result<Tensor, Error> {
    let refuse = |t: &Tensor, allowed: String| {
        let what = format!("input `{}` has shape {:?}, but must {allowed}", port.name, t.shape());
        Err(Error::new(what).of_kind(ErrorKind::WrongShape))
    };
    match described.map(|d| &d.kind) {
        Some(FeatureKind::Image(image)) => return take_picture(&port.name, image, &t),
        // A scalar is described as one element.
        Some(FeatureKind::Int64 | FeatureKind::Double | FeatureKind::MultiArray(_))
            if t.len() == 1 && t.rank() <= 1 && port.shape.len() <= 1 =>
        {
            let shape: &[usize] = if port.shape.is_empty() { &[] } else { &[1] };
            let t = t.reshaped(shape).map_err(Error::from_cause)?;
            if port.accepts(t.shape()) {
                return Ok(t);
            }
        }
        Some(FeatureKind::MultiArray(a)) if !array_allows(a, t.shape()) => return refuse(&t, allowed(a)),
        _ => {}
    }
    if port.accepts(t.shape()) { Ok(t) } else { refuse(&t, format!("have shape {}", dims_of(port))) }
}

/// The tensor in the declared type; integers must not change by that.
fn exact(port: &Port, t: &Tensor) -> Result<Tensor, Error> {
    let cast = t.cast(port.dtype);
    if t.dtype() == port.dtype || port.dtype.is_float() {
        return Ok(cast);
    }
    let (from, to) = (t.to_i64s(), cast.to_i64s());
    match from.iter().zip(&to).position(|(a, b)| a != b) {
        None => Ok(cast),
        Some(at) => {
            let what = format!(
                "input `{}` holds {} at element {at}, which {} cannot hold",
                port.name, from[at], port.dtype
            );
            Err(Error::new(what).of_kind(ErrorKind::WrongType))
        }
    }
}

fn wrong_type(described: Option<&Described>, port: &Port, t: &Tensor) -> Error {
    let what = format!(
        "input `{}` is {} {:?}, but the model takes {}",
        port.name,
        t.dtype(),
        t.shape(),
        type_of(described, port)
    );
    Error::new(what).of_kind(ErrorKind::WrongType)
}

/// What a feature is, in words, where it is neither a tensor nor a picture nor a number.
pub(crate) fn no_tensor(kind: &FeatureKind) -> Option<&'static str> {
    match kind {
        FeatureKind::String => Some("text"),
        FeatureKind::Dictionary { .. } => Some("a dictionary"),
        FeatureKind::Sequence { .. } => Some("a sequence"),
        _ => None,
    }
}

/// Checks that every input is a tensor, a picture or a number: `what` takes no others.
///
/// # Errors
/// When one is not, with its name, its type and what to do.
pub(crate) fn check_inputs(what: &str, interface: &FunctionInterface) -> Result<(), Error> {
    let other = |f: &Described| no_tensor(&f.kind).map(|kind| (f.name.clone(), kind));
    let Some((name, kind)) = interface.inputs.iter().find_map(other) else { return Ok(()) };
    let what = format!(
        "input `{name}` is {kind}, but {what} takes tensors, pictures and numbers only; describe it as a multi-array \
         and turn {kind} into numbers before the model"
    );
    Err(Error::new(what).of_kind(ErrorKind::Unsupported))
}

/// The tensor that an input of a pipeline is which no stage takes.
pub(crate) fn untaken(described: &Described) -> Option<Port> {
    let (dtype, shape) = match &described.kind {
        FeatureKind::MultiArray(a) => {
            let fixed = matches!(a.flexibility, Flexibility::Fixed);
            let dim = |&d: &i64| num::usize_of(d).filter(|_| fixed);
            (a.dtype.unwrap_or(DType::F32), a.shape.iter().map(dim).collect())
        }
        FeatureKind::Image(i) => (DType::F32, vec![Some(1), Some(channels(i)), None, None]),
        FeatureKind::Int64 => (DType::I64, Vec::new()),
        FeatureKind::Double => (DType::F64, Vec::new()),
        _ => return None,
    };
    Some(Port { name: described.name.clone(), dtype, shape })
}

/// True for inputs that may be left out; a picture has no default.
pub(crate) fn has_default(described: &Described) -> bool {
    let kind = &described.kind;
    described.optional
        && matches!(kind, FeatureKind::MultiArray(_) | FeatureKind::Int64 | FeatureKind::Double)
}

/// The value of an optional input that is left out: its default, or zeros, which Core ML takes where none is described.
pub(crate) fn left_out(described: &Described, port: &Port) -> Result<Option<Tensor>, Error> {
    if !has_default(described) {
        return Ok(None);
    }
    let value = match &described.kind {
        FeatureKind::MultiArray(array) => array.default.unwrap_or(DefaultValue::Int(0)),
        _ => DefaultValue::Int(0),
    };
    filled(port.dtype, &usual_shape(described, port), value).map(Some)
}

/// The features that the interface promises, from the tensors that the function gave.
pub(crate) fn give(interface: &FunctionInterface, computed: Features) -> Features {
    let one = |(name, feature): (&str, &Feature)| {
        let described = interface.outputs.iter().find(|f| f.name == name);
        let feature = match (feature, described.map(|f| &f.kind)) {
            (Feature::Tensor(t), Some(FeatureKind::Image(image))) => give_picture(image, t).into(),
            (Feature::Tensor(t), Some(FeatureKind::MultiArray(array))) => give_array(array, t).into(),
            (Feature::Tensor(t), Some(FeatureKind::Int64)) if t.len() == 1 => Feature::Int(t.i64_at(0)),
            (Feature::Tensor(t), Some(FeatureKind::Double)) if t.len() == 1 => Feature::Double(t.f64_at(0)),
            _ => feature.clone(),
        };
        (name.to_owned(), feature)
    };
    computed.iter().map(one).collect()
}

/// The feature as a port with every extent known: of the usual shape, and `uint8` where it is a picture.
pub(crate) fn example(interface: &FunctionInterface, port: &Port) -> Port {
    let described = interface.inputs.iter().find(|f| f.name == port.name);
    let (dtype, shape) = match described.map(|f| &f.kind) {
        Some(FeatureKind::Image(image)) if image.color != ColorSpace::GrayscaleF16 => {
            let mut shape = vec![extent(image.height), extent(image.width)];
            shape.extend((channels(image) == 3).then_some(3));
            (DType::U8, shape)
        }
        _ => (port.dtype, described.map_or_else(|| unit_shape(port), |f| usual_shape(f, port))),
    };
    Port { name: port.name.clone(), dtype, shape: shape.into_iter().map(Some).collect() }
}

/// The shape that the interface names first, or 1 for what is free.
pub(crate) fn usual_shape(described: &Described, port: &Port) -> Vec<usize> {
    let named = match &described.kind {
        FeatureKind::MultiArray(a) => a.shape.iter().map(|&d| extent(d)).collect(),
        FeatureKind::Image(i) => vec![1, channels(i), extent(i.height), extent(i.width)],
        _ => Vec::new(),
    };
    if port.accepts(&named) { named } else { unit_shape(port) }
}

/// True when the interface allows a tensor of that shape for the function; exact shapes are the engine's to check.
pub(crate) fn allows(described: &Described, shape: &[usize]) -> bool {
    match (&described.kind, shape) {
        (FeatureKind::MultiArray(a), _) => array_allows(a, shape),
        (FeatureKind::Image(i), [_, _, height, width]) => image_allows(i, *height, *width),
        _ => true,
    }
}

/// What an input must be, in words.
fn type_of(described: Option<&Described>, port: &Port) -> String {
    match described.map(|d| &d.kind) {
        Some(FeatureKind::Image(image)) => format!("a picture of {}", sizes(image)),
        Some(FeatureKind::MultiArray(a)) if !matches!(a.flexibility, Flexibility::Fixed) => {
            format!("{}, which must {}", port.dtype, allowed(a))
        }
        _ => format!("{} {}", port.dtype, dims_of(port)),
    }
}

fn dims_of(port: &Port) -> String {
    let dims: Vec<String> = port.shape.iter().map(|d| d.map_or("?".into(), |n| n.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

fn unit_shape(port: &Port) -> Vec<usize> {
    port.shape.iter().map(|d| d.unwrap_or(1)).collect()
}

fn extent(d: i64) -> usize {
    num::usize_of(d).unwrap_or(1)
}

fn channels(image: &ImageFeature) -> usize {
    if matches!(image.color, ColorSpace::Grayscale | ColorSpace::GrayscaleF16) { 1 } else { 3 }
}

fn filled(dtype: DType, shape: &[usize], value: DefaultValue) -> Result<Tensor, Error> {
    let value = match value {
        DefaultValue::Int(v) => f64::from(v),
        DefaultValue::Float(v) => f64::from(v),
        DefaultValue::Double(v) => v,
    };
    let zeros = Tensor::zeros(dtype, shape).map_err(Error::from_cause)?;
    Tensor::from_f64s(dtype, shape, &vec![value; zeros.len()]).map_err(Error::from_cause)
}

fn within(r: &SizeRange, n: usize) -> bool {
    u64::try_from(n).is_ok_and(|n| n >= r.lower && r.upper.is_none_or(|upper| n <= upper))
}

fn array_allows(a: &ArrayFeature, shape: &[usize]) -> bool {
    let is = |s: &Vec<i64>| s.iter().map(|&d| num::usize_of(d)).eq(shape.iter().map(|&d| Some(d)));
    match &a.flexibility {
        Flexibility::Fixed => a.shape.is_empty() || is(&a.shape),
        Flexibility::Enumerated(shapes) => is(&a.shape) || shapes.iter().any(is),
        Flexibility::Ranges(r) => r.len() == shape.len() && r.iter().zip(shape).all(|(r, &n)| within(r, n)),
    }
}

fn range(r: &SizeRange) -> String {
    match r.upper {
        Some(upper) if upper == r.lower => upper.to_string(),
        upper => format!("{}..{}", r.lower, upper.map_or(String::new(), |u| u.to_string())),
    }
}

fn allowed(a: &ArrayFeature) -> String {
    match &a.flexibility {
        Flexibility::Fixed => format!("have shape {:?}", a.shape),
        Flexibility::Enumerated(shapes) => format!("have one of the shapes {shapes:?}"),
        Flexibility::Ranges(r) => {
            format!("be within [{}]", r.iter().map(range).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The allowed sizes of a picture, width first.
fn sizes(image: &ImageFeature) -> String {
    match &image.flexibility {
        ImageFlexibility::Fixed => format!("{} x {}", image.width, image.height),
        ImageFlexibility::Enumerated(sizes) => {
            let sizes: Vec<String> = sizes.iter().map(|[w, h]| format!("{w} x {h}")).collect();
            format!("one of {}", sizes.join(", "))
        }
        ImageFlexibility::Ranges { width, height } => format!("{} x {}", range(width), range(height)),
    }
}

fn image_allows(image: &ImageFeature, height: usize, width: usize) -> bool {
    let usual = extent(image.width) == width && extent(image.height) == height;
    let size = [width, height].map(|n| u64::try_from(n).unwrap_or(u64::MAX));
    usual
        || match &image.flexibility {
            ImageFlexibility::Fixed => false,
            ImageFlexibility::Enumerated(sizes) => sizes.contains(&size),
            ImageFlexibility::Ranges { width: w, height: h } => within(w, width) && within(h, height),
        }
}

/// Planes `[1, channels, height, width]` in the model's own order from pixels; planes stay as they are.
fn take_picture(name: &str, image: &ImageFeature, t: &Tensor) -> Result<Tensor, Error> {
    let count = channels(image);
    let (height, width) = match *t.shape() {
        [1, c, height, width] if c == count => (height, width),
        [height, width, 3] if count == 3 => (height, width),
        [height, width] | [height, width, 1] if count == 1 => (height, width),
        _ => {
            let pixels = if count == 3 { "[height, width, 3]" } else { "[height, width]" };
            let what = format!("input `{name}` is a picture, so must have shape {pixels}");
            let what = format!("{what} or [1, {count}, height, width], but has {:?}", t.shape());
            return Err(Error::new(what).of_kind(ErrorKind::WrongShape));
        }
    };
    if !image_allows(image, height, width) {
        let what = format!(
            "input `{name}` is a picture of {width} x {height} (width x height), but the model takes {}",
            sizes(image)
        );
        return Err(Error::new(what).of_kind(ErrorKind::WrongShape));
    }
    if t.rank() == 4 {
        return Ok(t.clone());
    }
    let (values, pixels) = (t.to_f32s(), height * width);
    let channel = |plane: usize| if image.color == ColorSpace::Bgr { 2 - plane } else { plane };
    let value = |i: usize| values[(i % pixels) * count + if count == 3 { channel(i / pixels) } else { 0 }];
    let planes: Vec<f32> = (0..pixels * count).map(value).collect();
    Tensor::from_f32s([1, count, height, width], &planes).map_err(Error::from_cause)
}

/// Pixels from planes; a tensor that cannot be a picture stays as it is.
fn give_picture(image: &ImageFeature, t: &Tensor) -> Tensor {
    let count = channels(image);
    let [lead @ .., c, height, width] = t.shape() else { return t.clone() };
    if *c != count || lead.iter().product::<usize>() != 1 {
        return t.clone();
    }
    let (values, pixels) = (t.to_f64s(), height * width);
    let plane = |channel: usize| if image.color == ColorSpace::Bgr { 2 - channel } else { channel };
    let half = image.color == ColorSpace::GrayscaleF16;
    let pixel = |v: f64| if half { v } else { v.round_ties_even().clamp(0.0, 255.0) };
    let value = |i: usize| {
        let (p, channel) = (i / count, i % count);
        pixel(values[p + pixels * if count == 3 { plane(channel) } else { 0 }])
    };
    let out: Vec<f64> = (0..pixels * count).map(value).collect();
    let mut shape = vec![*height, *width];
    shape.extend((count == 3).then_some(3));
    Tensor::from_f64s(if half { DType::F32 } else { DType::U8 }, shape, &out).unwrap_or_else(|_| t.clone())
}

/// A scalar is described as one element, and the declared type counts.
fn give_array(array: &ArrayFeature, t: &Tensor) -> Tensor {
    let typed = array.dtype.map_or_else(|| t.clone(), |d| t.cast(d));
    if typed.rank() == 0 { typed.reshaped([1]).unwrap_or(typed) } else { typed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(color: ColorSpace) -> ImageFeature {
        ImageFeature { width: 2, height: 1, color, flexibility: ImageFlexibility::Fixed }
    }

    #[test]
    fn pixels_become_planes_in_the_layout_of_the_model() {
        let pixels = Tensor::from_i64s(DType::U8, [1, 2, 3], &[1, 2, 3, 4, 5, 6]).expect("fits");
        let planes = |color| take_picture("x", &image(color), &pixels).expect("fits").to_f32s();
        assert_eq!(planes(ColorSpace::Rgb), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(planes(ColorSpace::Bgr), [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]);
        let back = give_picture(
            &image(ColorSpace::Bgr),
            &take_picture("x", &image(ColorSpace::Bgr), &pixels).expect("fits"),
        );
        assert_eq!(back, pixels);
    }

    #[test]
    fn a_picture_of_another_size_is_refused_with_both_sizes() {
        let pixels = Tensor::zeros(DType::U8, [4, 4, 3]).expect("fits");
        let error = take_picture("x", &image(ColorSpace::Rgb), &pixels).expect_err("too large").to_string();
        assert!(error.contains("4 x 4") && error.contains("2 x 1"), "{error}");
    }
}
