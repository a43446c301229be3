//! What a model's interface adds to what its function computes: pictures, values of inputs that are left out, allowed
//! shapes, and scalars described as one element.
//!
//! A picture is `uint8 [height, width, 3]`, red first whatever the model's layout, or `[height, width]` for grayscale;
//! a 16-bit-float grayscale picture is `fp32 [height, width]`. The function itself takes planes,
//! `[1, channels, height, width]`, which may also be given.

use crate::Error;
use anemone_mil::interface::{
    ArrayFeature, ColorSpace, DefaultValue, Feature as Described, FeatureKind, Flexibility,
    FunctionInterface, ImageFeature, ImageFlexibility, SizeRange,
};
use anemone_model::{Feature, Features, Port};
use anemone_tensor::{DType, Tensor, num};

/// The tensors that the function takes, from the features that were given.
///
/// # Errors
/// When inputs are missing, or a feature has a shape that the interface does not allow. Names that the model does not
/// know are the engine's to refuse.
pub(crate) fn take(
    interface: &FunctionInterface,
    ports: &[Port],
    given: &Features,
) -> Result<Features, Error> {
    let mut taken = Features::new();
    for (name, feature) in given.iter() {
        let described = interface.inputs.iter().find(|f| f.name == name);
        let feature = match (feature, described) {
            (Feature::Tensor(t), Some(described)) => take_tensor(described, t)?.into(),
            _ => feature.clone(),
        };
        taken.insert(name, feature);
    }
    for left_out in interface.inputs.iter().filter(|f| f.optional && given.find(&f.name).is_none()) {
        if let (FeatureKind::MultiArray(array), Some(port)) = (&left_out.kind, port_of(ports, &left_out.name))
        {
            // Core ML takes zero where the description gives no default.
            let value = array.default.unwrap_or(DefaultValue::Int(0));
            taken.insert(left_out.name.as_str(), filled(port.dtype, &usual_shape(left_out, port), value)?);
        }
    }
    let missing = ports.iter().filter(|p| taken.find(&p.name).is_none());
    let missing: Vec<String> = missing.map(|p| format!("`{}` ({})", p.name, type_of(p))).collect();
    let unknown = given.iter().any(|(name, _)| port_of(ports, name).is_none());
    if missing.is_empty() || unknown {
        return Ok(taken);
    }
    let names: Vec<&str> = given.iter().map(|(n, _)| n).collect();
    let (what, verb) = if missing.len() == 1 { ("input", "is") } else { ("inputs", "are") };
    Err(Error::new(format!("{what} {} {verb} missing; given are {names:?}", missing.join(", "))))
}

/// The features that the interface promises, from the tensors that the function gave.
pub(crate) fn give(interface: &FunctionInterface, computed: Features) -> Features {
    let one = |(name, feature): (&str, &Feature)| {
        let described = interface.outputs.iter().find(|f| f.name == name);
        let feature = match (feature, described.map(|f| &f.kind)) {
            (Feature::Tensor(t), Some(FeatureKind::Image(image))) => give_picture(image, t).into(),
            (Feature::Tensor(t), Some(FeatureKind::MultiArray(array))) => give_array(array, t).into(),
            (Feature::Tensor(t), Some(FeatureKind::Int64)) if t.len() == 1 => Feature::Int(t.i64_at(0)),
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

/// Type and shape of a port.
fn type_of(port: &Port) -> String {
    let dims: Vec<String> = port.shape.iter().map(|d| d.map_or("?".into(), |n| n.to_string())).collect();
    format!("{} [{}]", port.dtype, dims.join(", "))
}

fn port_of<'a>(ports: &'a [Port], name: &str) -> Option<&'a Port> {
    ports.iter().find(|p| p.name == name)
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

fn take_tensor(described: &Described, t: &Tensor) -> Result<Tensor, Error> {
    let name = &described.name;
    match &described.kind {
        FeatureKind::Image(image) => take_picture(name, image, t),
        FeatureKind::MultiArray(a) if !array_allows(a, t.shape()) => {
            Err(Error::new(format!("input `{name}` has shape {:?}, but must {}", t.shape(), allowed(a))))
        }
        _ => Ok(t.clone()),
    }
}

fn within(r: &SizeRange, n: usize) -> bool {
    u64::try_from(n).is_ok_and(|n| n >= r.lower && r.upper.is_none_or(|upper| n <= upper))
}

fn array_allows(a: &ArrayFeature, shape: &[usize]) -> bool {
    let is = |s: &Vec<i64>| s.iter().map(|&d| num::usize_of(d)).eq(shape.iter().map(|&d| Some(d)));
    match &a.flexibility {
        Flexibility::Fixed => true,
        Flexibility::Enumerated(shapes) => is(&a.shape) || shapes.iter().any(is),
        Flexibility::Ranges(r) => r.len() == shape.len() && r.iter().zip(shape).all(|(r, &n)| within(r, n)),
    }
}

fn allowed(a: &ArrayFeature) -> String {
    let range = |r: &SizeRange| match r.upper {
        Some(upper) if upper == r.lower => upper.to_string(),
        upper => format!("{}..{}", r.lower, upper.map_or(String::new(), |u| u.to_string())),
    };
    match &a.flexibility {
        Flexibility::Fixed => format!("have shape {:?}", a.shape),
        Flexibility::Enumerated(shapes) => format!("have one of the shapes {shapes:?}"),
        Flexibility::Ranges(r) => {
            format!("be within [{}]", r.iter().map(range).collect::<Vec<_>>().join(", "))
        }
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
            return Err(Error::new(format!(
                "{what} or [1, {count}, height, width], but has {:?}",
                t.shape()
            )));
        }
    };
    if !image_allows(image, height, width) {
        return Err(Error::new(format!(
            "input `{name}` is a picture of {width} x {height} (width x height), but the model takes {} x {}",
            image.width, image.height
        )));
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
