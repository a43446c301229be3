//! Pictures of one channel with more than 8 bits, as 16-bit float grayscale features are.

use super::{
    Picture, Pixels, Placing, Preprocess, checked_size, encode, is_jpeg, luminance, on_black, part_of,
    resample, square,
};
use crate::{Error, ErrorKind};
use anemone_tensor::{DType, Tensor, num};
use std::path::Path;

/// A picture of one channel: 0 is black and 1 is white.
///
/// This is how Apple's frameworks read the pixel format `OneComponent16Half`: Accelerate documents its samples,
/// `Pixel_16F`, as values from 0 to 1 as a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Gray {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width]`
    pub values: Vec<f32>,
}

/// Largest sample of a file of 16 bits.
const WHITE: f32 = 65535.0;

impl Gray {
    /// Decodes a PNG or JPEG file: samples of 16 bits are divided by 65535, those of 8 bits by 255. Of colours the
    /// luminance counts.
    ///
    /// # Errors
    /// As [`Picture::decode`].
    pub fn decode(bytes: &[u8], place: &Path) -> Result<Gray, Error> {
        if bytes.starts_with(&[0x89, b'P', b'N', b'G']) {
            return decode_png(bytes).map_err(|what| Error::new(what).at(place));
        }
        let picture = Picture::decode(bytes, place)?;
        let values = picture.rgb.as_chunks::<3>().0.iter().map(|&rgb| luminance(rgb) / 255.0).collect();
        Ok(Gray { width: picture.width, height: picture.height, values })
    }

    /// A picture from the floats `[height, width]` or planes `[.., 1, height, width]`; `range` becomes 0 to 1, and
    /// values outside of it, or that are none, are cut off.
    ///
    /// # Errors
    /// When the shape is another one, or the range is empty.
    pub fn from_tensor(tensor: &Tensor, [low, high]: [f64; 2]) -> Result<Gray, Error> {
        let (&[ref lead @ .., height, width], true) = (tensor.shape(), !tensor.is_empty()) else {
            return Err(no_gray(tensor));
        };
        if lead.iter().product::<usize>() != 1 {
            return Err(no_gray(tensor));
        }
        if low >= high || !(high - low).is_finite() {
            let what = format!("the range {low} to {high} is empty; give a lower and a higher number");
            return Err(Error::new(what));
        }
        let value = |v: f64| num::f32_of(((v - low) / (high - low)).clamp(0.0, 1.0));
        let values = tensor.to_f64s().into_iter().map(|v| if v.is_nan() { 0.0 } else { value(v) });
        Ok(Gray { width, height, values: values.collect() })
    }

    /// The picture as a tensor `[1, 1, height, width]`, or `[1, height, width, 1]` when `last`: `value * scale + bias`.
    ///
    /// # Errors
    /// As [`Picture::tensor`].
    pub fn tensor(&self, how: &Preprocess, height: usize, width: usize, last: bool) -> Result<Tensor, Error> {
        let own = [self.width, self.height];
        let kept = how.crop.map_or([0, 0, own[0], own[1]], |share| square(share, own[0], own[1]));
        let cropped = part_of(&self.values, self.width, 1, kept);
        let own = [kept[2], kept[3]];
        let to = Placing::of(how.fit, own, [width, height])?;
        let part = part_of(&cropped, own[0], 1, to.part);
        let same = [to.part[2], to.part[3]] == to.inner;
        let inner = if same { part } else { resample(&part, [to.part[2], to.part[3]], 1, to.inner) };
        let bias = how.bias.first().copied().unwrap_or(0.0);
        let limited = inner.into_iter().map(|v| if same { v } else { v.clamp(0.0, 1.0) });
        let placed = on_black(&limited.collect::<Vec<f32>>(), to.inner, 1, [width, height]);
        let out: Vec<f32> = placed.into_iter().map(|v| v * how.scale + bias).collect();
        let shape = if last { [1, height, width, 1] } else { [1, 1, height, width] };
        Tensor::from_f32s(shape, &out).map_err(Error::from_cause)
    }

    /// The picture as a PNG of 16 bits or, when the name ends in `.jpg` or `.jpeg`, a JPEG file of 8 bits.
    ///
    /// # Errors
    /// When the encoder refuses the size.
    pub fn encode(&self, name: &Path) -> Result<Vec<u8>, Error> {
        let size = [self.width, self.height];
        if is_jpeg(name) {
            let data: Vec<u8> = self.values.iter().map(|v| (v * 255.0).round() as u8).collect();
            return encode(&data, size, Pixels::Gray8, name);
        }
        let data: Vec<u8> =
            self.values.iter().flat_map(|v| ((v * WHITE).round() as u16).to_be_bytes()).collect();
        encode(&data, size, Pixels::Gray16, name)
    }
}

fn no_gray(tensor: &Tensor) -> Error {
    let what = format!(
        "a picture of one channel needs shape [height, width] or [.., 1, height, width], but it is {:?}",
        tensor.shape()
    );
    Error::new(what).of_kind(ErrorKind::WrongShape)
}

/// An output as a picture file: `uint8 [height, width]` as 8 bits of gray, otherwise as [`Picture::from_tensor`] has it.
///
/// # Errors
/// When the shape is none of a picture, or the encoder refuses the size.
pub(crate) fn encode_pixels(tensor: &Tensor, name: &Path) -> Result<Vec<u8>, Error> {
    match *tensor.shape() {
        [height, width] if tensor.dtype() == DType::U8 && !tensor.is_empty() => {
            encode(tensor.bytes(), [width, height], Pixels::Gray8, name)
        }
        _ => Picture::from_tensor(tensor, false)?.encode(name),
    }
}

fn decode_png(bytes: &[u8]) -> Result<Gray, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    let pixels = checked_size(width, height)?;
    let size = reader.output_buffer_size().ok_or("is too large")?;
    let mut raw = vec![0u8; size];
    reader.next_frame(&mut raw).map_err(|e| e.to_string())?;
    let (color, depth) = reader.output_color_type();
    let samples: Vec<f32> = match depth {
        png::BitDepth::Sixteen => {
            raw.as_chunks::<2>().0.iter().map(|&b| f32::from(u16::from_be_bytes(b)) / WHITE).collect()
        }
        _ => raw.iter().map(|&v| f32::from(v) / 255.0).collect(),
    };
    let gray = |p: &[f32]| match *p {
        [r, g, b, ..] => 0.299 * r + 0.587 * g + 0.114 * b,
        [v, ..] => v,
        [] => 0.0,
    };
    let values = samples.chunks_exact(color.samples()).take(pixels).map(gray).collect();
    Ok(Gray { width, height, values })
}
