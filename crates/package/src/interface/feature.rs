//! Features, both ways.

use anemone_formats::coreml;
use anemone_mil::interface::{
    ArrayFeature, ColorSpace, DefaultValue, Feature, FeatureKind, Flexibility, ImageFeature,
    ImageFlexibility, SizeRange,
};

/// The feature that a description states.
pub(super) fn read(message: &coreml::FeatureDescription) -> Feature {
    let ty = message.feature_type.as_ref();
    Feature {
        name: message.name.clone(),
        description: message.short_description.clone(),
        kind: ty.and_then(|t| t.kind.as_ref()).map_or(FeatureKind::Unspecified, read_kind),
        optional: ty.is_some_and(|t| t.is_optional),
    }
}

/// The description of a feature; `old` as it is when it states the same.
pub(super) fn write(
    feature: &Feature,
    old: Option<&coreml::FeatureDescription>,
) -> coreml::FeatureDescription {
    if let Some(same) = old.filter(|m| read(m) == *feature) {
        return same.clone();
    }
    let mut message = old.cloned().unwrap_or_default();
    message.name = feature.name.clone();
    message.short_description = feature.description.clone();
    let mut ty = message.feature_type.take().unwrap_or_default();
    if ty.kind.as_ref().map_or(FeatureKind::Unspecified, read_kind) != feature.kind {
        ty.kind = write_kind(&feature.kind);
    }
    ty.is_optional = feature.optional;
    message.feature_type = Some(ty);
    message
}

fn read_kind(kind: &coreml::FeatureKind) -> FeatureKind {
    match kind {
        coreml::FeatureKind::Int64(_) => FeatureKind::Int64,
        coreml::FeatureKind::Double(_) => FeatureKind::Double,
        coreml::FeatureKind::String(_) => FeatureKind::String,
        coreml::FeatureKind::Image(image) => FeatureKind::Image(read_image(image)),
        coreml::FeatureKind::MultiArray(array) => FeatureKind::MultiArray(read_array(array)),
        coreml::FeatureKind::Dictionary(d) => {
            FeatureKind::Dictionary { int_keys: matches!(d.key_type, Some(coreml::DictionaryKey::Int64(_))) }
        }
        coreml::FeatureKind::Sequence(s) => FeatureKind::Sequence {
            ints: matches!(s.element, Some(coreml::SequenceElement::Int64(_))),
            lengths: read_range(s.size_range.as_ref()),
        },
        coreml::FeatureKind::State(state) => match &state.kind {
            Some(coreml::StateKind::Array(array)) => FeatureKind::State(read_array(array)),
            None => FeatureKind::Unspecified,
        },
    }
}

fn read_range(range: Option<&coreml::SizeRange>) -> SizeRange {
    range
        .map_or(SizeRange { lower: 0, upper: None }, |r| SizeRange { lower: r.lower_bound, upper: r.upper() })
}

fn read_array(array: &coreml::ArrayFeatureType) -> ArrayFeature {
    let flexibility = match &array.shape_flexibility {
        None => Flexibility::Fixed,
        Some(coreml::ShapeFlexibility::EnumeratedShapes(list)) => {
            Flexibility::Enumerated(list.shapes.iter().map(|s| s.shape.clone()).collect())
        }
        Some(coreml::ShapeFlexibility::ShapeRange(range)) => {
            Flexibility::Ranges(range.size_ranges.iter().map(|r| read_range(Some(r))).collect())
        }
    };
    let default = array.default_optional_value.as_ref().map(|v| match v {
        coreml::DefaultOptionalValue::Int(v) => DefaultValue::Int(*v),
        coreml::DefaultOptionalValue::Float(v) => DefaultValue::Float(*v),
        coreml::DefaultOptionalValue::Double(v) => DefaultValue::Double(*v),
    });
    let dtype = coreml::ArrayDataType::from_code(array.data_type).map(coreml::ArrayDataType::dtype);
    ArrayFeature { dtype, shape: array.shape.clone(), flexibility, default }
}

fn read_image(image: &coreml::ImageFeatureType) -> ImageFeature {
    let color = match coreml::ColorSpace::from_code(image.color_space) {
        Some(coreml::ColorSpace::Grayscale) => ColorSpace::Grayscale,
        Some(coreml::ColorSpace::Rgb) => ColorSpace::Rgb,
        Some(coreml::ColorSpace::Bgr) => ColorSpace::Bgr,
        Some(coreml::ColorSpace::GrayscaleFloat16) => ColorSpace::GrayscaleF16,
        None => ColorSpace::Unspecified,
    };
    let flexibility = match &image.size_flexibility {
        None => ImageFlexibility::Fixed,
        Some(coreml::SizeFlexibility::EnumeratedSizes(list)) => {
            ImageFlexibility::Enumerated(list.sizes.iter().map(|s| [s.width, s.height]).collect())
        }
        Some(coreml::SizeFlexibility::ImageSizeRange(range)) => ImageFlexibility::Ranges {
            width: read_range(range.width_range.as_ref()),
            height: read_range(range.height_range.as_ref()),
        },
    };
    ImageFeature { width: image.width, height: image.height, color, flexibility }
}

fn write_kind(kind: &FeatureKind) -> Option<coreml::FeatureKind> {
    Some(match kind {
        FeatureKind::Unspecified => return None,
        FeatureKind::Int64 => coreml::FeatureKind::Int64(Default::default()),
        FeatureKind::Double => coreml::FeatureKind::Double(Default::default()),
        FeatureKind::String => coreml::FeatureKind::String(Default::default()),
        FeatureKind::Image(image) => coreml::FeatureKind::Image(write_image(image)),
        FeatureKind::MultiArray(array) => coreml::FeatureKind::MultiArray(write_array(array)),
        FeatureKind::Dictionary { int_keys } => {
            let key_type = if *int_keys {
                coreml::DictionaryKey::Int64(Default::default())
            } else {
                coreml::DictionaryKey::String(Default::default())
            };
            coreml::FeatureKind::Dictionary(coreml::DictionaryFeatureType {
                key_type: Some(key_type),
                ..Default::default()
            })
        }
        FeatureKind::Sequence { ints, lengths } => {
            let element = if *ints {
                coreml::SequenceElement::Int64(Default::default())
            } else {
                coreml::SequenceElement::String(Default::default())
            };
            coreml::FeatureKind::Sequence(coreml::SequenceFeatureType {
                element: Some(element),
                size_range: Some(write_range(*lengths)),
                ..Default::default()
            })
        }
        FeatureKind::State(array) => coreml::FeatureKind::State(coreml::StateFeatureType {
            kind: Some(coreml::StateKind::Array(write_array(array))),
            ..Default::default()
        }),
    })
}

fn write_range(range: SizeRange) -> coreml::SizeRange {
    coreml::SizeRange::new(range.lower, range.upper)
}

fn write_array(array: &ArrayFeature) -> coreml::ArrayFeatureType {
    let shape_flexibility = match &array.flexibility {
        Flexibility::Fixed => None,
        Flexibility::Enumerated(shapes) => {
            let shape = |s: &Vec<i64>| coreml::Shape { shape: s.clone(), ..Default::default() };
            Some(coreml::ShapeFlexibility::EnumeratedShapes(coreml::EnumeratedShapes {
                shapes: shapes.iter().map(shape).collect(),
                ..Default::default()
            }))
        }
        Flexibility::Ranges(ranges) => Some(coreml::ShapeFlexibility::ShapeRange(coreml::ShapeRange {
            size_ranges: ranges.iter().map(|&r| write_range(r)).collect(),
            ..Default::default()
        })),
    };
    let default_optional_value = array.default.map(|v| match v {
        DefaultValue::Int(v) => coreml::DefaultOptionalValue::Int(v),
        DefaultValue::Float(v) => coreml::DefaultOptionalValue::Float(v),
        DefaultValue::Double(v) => coreml::DefaultOptionalValue::Double(v),
    });
    let data_type =
        array.dtype.and_then(coreml::ArrayDataType::from_dtype).map_or(0, coreml::ArrayDataType::code);
    coreml::ArrayFeatureType {
        shape: array.shape.clone(),
        data_type,
        shape_flexibility,
        default_optional_value,
        ..Default::default()
    }
}

fn write_image(image: &ImageFeature) -> coreml::ImageFeatureType {
    let color_space = match image.color {
        ColorSpace::Unspecified => 0,
        ColorSpace::Grayscale => coreml::ColorSpace::Grayscale.code(),
        ColorSpace::Rgb => coreml::ColorSpace::Rgb.code(),
        ColorSpace::Bgr => coreml::ColorSpace::Bgr.code(),
        ColorSpace::GrayscaleF16 => coreml::ColorSpace::GrayscaleFloat16.code(),
    };
    let size_flexibility = match &image.flexibility {
        ImageFlexibility::Fixed => None,
        ImageFlexibility::Enumerated(sizes) => {
            let size =
                |&[width, height]: &[u64; 2]| coreml::ImageSize { width, height, ..Default::default() };
            Some(coreml::SizeFlexibility::EnumeratedSizes(coreml::EnumeratedImageSizes {
                sizes: sizes.iter().map(size).collect(),
                ..Default::default()
            }))
        }
        ImageFlexibility::Ranges { width, height } => {
            Some(coreml::SizeFlexibility::ImageSizeRange(coreml::ImageSizeRange {
                width_range: Some(write_range(*width)),
                height_range: Some(write_range(*height)),
                ..Default::default()
            }))
        }
    };
    coreml::ImageFeatureType {
        width: image.width,
        height: image.height,
        color_space,
        size_flexibility,
        ..Default::default()
    }
}
