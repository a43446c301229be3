//! Between what the interface describes and what the program computes with: pictures, defaults, scalars.

use crate::Error;
use crate::picture::Channels;
use anemone_mil::interface::{
    ArrayFeature, ColorSpace, DefaultValue, Feature as Described, FeatureKind, FunctionInterface,
    ImageFeature,
};
use anemone_model::{Feature, Features, Port};
use anemone_tensor::{DType, Tensor, TensorError, num};

/// The channels that a picture feature has in the program.
pub(crate) fn channels(image: &ImageFeature) -> Channels {
    match image.color {
        ColorSpace::Grayscale | ColorSpace::GrayscaleF16 => Channels::Gray,
        ColorSpace::Bgr => Channels::Bgr,
        ColorSpace::Rgb | ColorSpace::Unspecified => Channels::Rgb,
    }
}

/// The picture feature of that name among the inputs.
pub(crate) fn image_input<'i>(interface: &'i FunctionInterface, name: &str) -> Option<&'i ImageFeature> {
    interface.inputs.iter().find(|f| f.name == name).and_then(|f| match &f.kind {
        FeatureKind::Image(image) => Some(image),
        _ => None,
    })
}

/// Values as the program takes them: pictures `[height, width, 3]` or `[height, width]` become
/// `[1, channels, height, width]`, and optional inputs that are left out get their default.
///
/// # Errors
/// When a picture has another shape than its feature allows.
pub(crate) fn to_program(
    interface: &FunctionInterface,
    ports: &[Port],
    given: Features,
) -> Result<Features, Error> {
    let mut features = Features::new();
    for (name, feature) in given.iter() {
        let value = match (feature, image_input(interface, name)) {
            (Feature::Tensor(t), Some(image)) if t.rank() < 4 => planes(name, t, image)?.into(),
            _ => feature.clone(),
        };
        features.insert(name, value);
    }
    for described in interface.inputs.iter().filter(|f| f.optional && given.find(&f.name).is_none()) {
        if let Some(default) =
            ports.iter().find(|p| p.name == described.name).and_then(|p| default(described, p))
        {
            features.insert(described.name.as_str(), default);
        }
    }
    Ok(features)
}

/// A picture as the planes of its channels, in the feature's order.
fn planes(name: &str, t: &Tensor, image: &ImageFeature) -> Result<Tensor, Error> {
    let channels = channels(image);
    let (height, width, count) = match (t.shape(), channels) {
        (&[h, w], Channels::Gray) | (&[h, w, 1], Channels::Gray) => (h, w, 1),
        (&[h, w, 3], Channels::Rgb | Channels::Bgr) => (h, w, 3),
        (shape, _) => {
            let wanted = if channels == Channels::Gray { "[height, width]" } else { "[height, width, 3]" };
            return Err(Error::new(format!("picture `{name}` has shape {shape:?}, but must be {wanted}")));
        }
    };
    let (values, pixels) = (t.to_f32s(), height * width);
    let mut out = vec![0f32; values.len()];
    for (i, v) in values.into_iter().enumerate() {
        let c = if channels == Channels::Bgr { count - 1 - i % count } else { i % count };
        out[c * pixels + i / count] = v;
    }
    Tensor::from_f32s([1, count, height, width], &out).map_err(wrong)
}

/// The default of an optional input that is left out; zero when the description gives none.
fn default(described: &Described, port: &Port) -> Option<Tensor> {
    let FeatureKind::MultiArray(ArrayFeature { default, shape, .. }) = &described.kind else { return None };
    let value = match default {
        Some(DefaultValue::Int(v)) => f64::from(*v),
        Some(DefaultValue::Float(v)) => f64::from(*v),
        Some(DefaultValue::Double(v)) => *v,
        None => 0.0,
    };
    let described: Option<Vec<usize>> = shape.iter().map(|&d| num::usize_of(d)).collect();
    let fixed: Option<Vec<usize>> = port.shape.iter().copied().collect();
    let shape = fixed.or(described)?;
    let count = num::element_count(&shape)?;
    Tensor::from_f64s(port.dtype, shape, &vec![value; count]).ok()
}

/// Values as the interface describes them: pictures become `uint8` (or `fp32` for 16-bit grayscale)
/// `[height, width, 3]` or `[height, width]` in red, green, blue order, scalars one element.
///
/// # Errors
/// When a picture output has another shape than a picture.
pub(crate) fn to_interface(interface: &FunctionInterface, computed: Features) -> Result<Features, Error> {
    let mut features = Features::new();
    for (name, feature) in computed.iter() {
        let kind = interface.outputs.iter().find(|f| f.name == name).map(|f| &f.kind);
        let value = match (feature, kind) {
            (Feature::Tensor(t), Some(FeatureKind::Image(image))) => pixels(name, t, image)?.into(),
            // An MLMultiArray has at least one dim.
            (Feature::Tensor(t), Some(FeatureKind::MultiArray(_))) if t.rank() == 0 => {
                t.reshaped([1]).map_err(wrong)?.into()
            }
            (Feature::Tensor(t), Some(FeatureKind::Int64)) if t.len() == 1 => Feature::Int(t.i64_at(0)),
            _ => feature.clone(),
        };
        features.insert(name, value);
    }
    Ok(features)
}

fn pixels(name: &str, t: &Tensor, image: &ImageFeature) -> Result<Tensor, Error> {
    let channels = channels(image);
    let count = if channels == Channels::Gray { 1 } else { 3 };
    let [lead @ .., c, height, width] = t.shape() else {
        return Err(Error::new(format!("picture output `{name}` has shape {:?}", t.shape())));
    };
    if *c != count || lead.iter().any(|&d| d != 1) {
        return Err(Error::new(format!("picture output `{name}` has shape {:?}", t.shape())));
    }
    let (values, size) = (t.to_f64s(), height * width);
    let at = |i: usize| {
        let c = if channels == Channels::Bgr { count - 1 - i % count } else { i % count };
        values[c * size + i / count]
    };
    let shape = if count == 1 { vec![*height, *width] } else { vec![*height, *width, 3] };
    if image.color == ColorSpace::GrayscaleF16 {
        return Tensor::from_f64s(DType::F32, shape, &values).map_err(wrong);
    }
    let rounded: Vec<f64> = (0..values.len()).map(|i| at(i).round_ties_even().clamp(0.0, 255.0)).collect();
    Tensor::from_f64s(DType::U8, shape, &rounded).map_err(wrong)
}

fn wrong(e: TensorError) -> Error {
    Error::new(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anemone_mil::interface::ImageFlexibility;

    fn image(color: ColorSpace) -> ImageFeature {
        ImageFeature { width: 2, height: 1, color, flexibility: ImageFlexibility::Fixed }
    }

    #[test]
    fn a_picture_goes_to_planes_and_back() {
        let picture = Tensor::from_f64s(DType::U8, [1, 2, 3], &[1., 2., 3., 4., 5., 6.]).expect("fits");
        let bgr = image(ColorSpace::Bgr);
        let planes = planes("x", &picture, &bgr).expect("fits");
        assert_eq!(planes.to_f32s(), [3., 6., 2., 5., 1., 4.]);
        assert_eq!(pixels("x", &planes, &bgr).expect("fits"), picture);
    }
}
