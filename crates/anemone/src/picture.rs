//! Pictures: PNG and JPEG files to tensors and back.

mod gray;

pub use gray::Gray;
pub(crate) use gray::encode_pixels;

use crate::{Error, ErrorKind};
use anemone_tensor::{DType, Tensor, num};
use std::path::Path;

/// A decoded picture: 8-bit red, green, blue, `[height, width, 3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`, red first.
    pub rgb: Vec<u8>,
}

/// Order and number of the channels that a model wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel of luminance.
    Gray,
}

/// What happens to a picture of another size than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// Width and height are resized independently: proportions change, nothing is lost.
    #[default]
    Stretch,
    /// The centred part with the model's proportions is kept and resized.
    Crop,
    /// The whole is resized to fit inside, centred, with black around it.
    Pad,
    /// It is refused.
    Exact,
}

/// How pixels become numbers: crop the centre, fit to the size, then `pixel * scale + bias` per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Factor of each pixel, 0 to 255, before the bias is added.
    pub scale: f32,
    /// Added per channel, in the model's channel order; one value counts for all.
    pub bias: Vec<f32>,
    /// Side of the centred square that is kept, as a share of the shorter side; `None` keeps the whole picture.
    pub crop: Option<f32>,
    /// What happens to a picture of another size than the model takes.
    pub fit: Fit,
    /// Channels of the tensor; `None` is what the model's interface says, or red, green, blue.
    pub channels: Option<Channels>,
}

impl Default for Preprocess {
    fn default() -> Preprocess {
        Preprocess { scale: 1.0, bias: vec![0.0], crop: None, fit: Fit::Stretch, channels: None }
    }
}

/// Largest picture that is decoded, in pixels: a guard against small files that unpack to gigabytes.
const MAX_PIXELS: usize = 1 << 28;

impl Picture {
    /// Decodes a PNG or JPEG file, told apart by its first bytes.
    ///
    /// # Errors
    /// When the bytes are neither, are damaged, or unpack to more than 2^28 pixels.
    pub fn decode(bytes: &[u8], place: &Path) -> Result<Picture, Error> {
        let fail = |what: String| Error::new(what).at(place);
        if bytes.starts_with(&[0x89, b'P', b'N', b'G']) {
            return decode_png(bytes).map_err(fail);
        }
        if bytes.starts_with(&[0xff, 0xd8]) {
            return decode_jpeg(bytes).map_err(fail);
        }
        Err(fail("is neither PNG nor JPEG; convert the picture to one of them".into()))
    }

    /// The centred square whose side is `share` of the shorter side.
    #[must_use]
    pub fn center_crop(&self, share: f32) -> Picture {
        self.part(square(share, self.width, self.height))
    }

    /// The part of that left edge, upper edge, width and height.
    fn part(&self, [x, y, width, height]: [usize; 4]) -> Picture {
        Picture { width, height, rgb: part_of(&self.rgb, self.width, 3, [x, y, width, height]) }
    }

    /// Resamples with the cubic kernel (a = -0.5), widened when shrinking, edges clipped.
    ///
    /// The kernel is Keys' cubic convolution (IEEE ASSP-29, 1981), as image libraries use it for antialiased resizing.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> Picture {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let source: Vec<f32> = self.rgb.iter().map(|&v| f32::from(v)).collect();
        let tall = resample(&source, [self.width, self.height], 3, [width, height]);
        let rgb = tall.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        Picture { width, height, rgb }
    }

    /// The picture in another size.
    ///
    /// # Errors
    /// When it has another size and [`Fit::Exact`] allows none.
    pub fn fitted(&self, fit: Fit, width: usize, height: usize) -> Result<Picture, Error> {
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        let to = Placing::of(fit, [self.width, self.height], [width, height])?;
        let inner = self.part(to.part).resized(to.inner[0], to.inner[1]);
        let rgb = on_black(&inner.rgb, to.inner, 3, [width, height]);
        Ok(Picture { width, height, rgb })
    }

    /// The picture as a tensor `[1, channels, height, width]`, or `[1, height, width, channels]` when `last`.
    ///
    /// # Errors
    /// When it has another size and [`Fit::Exact`] allows none.
    pub fn tensor(&self, how: &Preprocess, height: usize, width: usize, last: bool) -> Result<Tensor, Error> {
        let cropped = how.crop.map_or_else(|| self.clone(), |share| self.center_crop(share));
        let fitted = cropped.fitted(how.fit, width, height)?;
        let order: &[usize] = match how.channels.unwrap_or(Channels::Rgb) {
            Channels::Rgb => &[0, 1, 2],
            Channels::Bgr => &[2, 1, 0],
            Channels::Gray => &[3],
        };
        let bias = |c: usize| how.bias.get(c).or(how.bias.first()).copied().unwrap_or(0.0);
        let (pixels, channels) = (width * height, order.len());
        let mut out = vec![0f32; pixels * channels];
        for (p, rgb) in fitted.rgb.as_chunks::<3>().0.iter().enumerate() {
            for (c, &from) in order.iter().enumerate() {
                let value = if from == 3 { luminance(*rgb) } else { f32::from(rgb[from]) };
                let at = if last { p * channels + c } else { c * pixels + p };
                out[at] = value * how.scale + bias(c);
            }
        }
        let shape = if last { [1, height, width, channels] } else { [1, channels, height, width] };
        Tensor::from_f32s(shape, &out).map_err(|e| Error::new(e.to_string()))
    }

    /// A picture from pixels, `uint8 [height, width, 3]` or `uint8 [height, width]`, or from planes
    /// `[.., channels, height, width]` of 1 or 3 channels with values from 0 to 255.
    ///
    /// # Errors
    /// When the shape is another one.
    pub fn from_tensor(tensor: &Tensor, bgr: bool) -> Result<Picture, Error> {
        if let Some(picture) = Picture::from_pixels(tensor) {
            return Ok(picture);
        }
        let wrong = || {
            Error::new(format!(
                "a picture needs shape [.., 1 or 3, height, width], but it is {:?}",
                tensor.shape()
            ))
        };
        let [lead @ .., channels, height, width] = tensor.shape() else { return Err(wrong()) };
        if lead.iter().product::<usize>() != 1 || !matches!(channels, 1 | 3) {
            return Err(wrong());
        }
        let values = tensor.to_f32s();
        let pixels = width * height;
        let plane = |c: usize| {
            if *channels == 1 {
                0
            } else if bgr {
                2 - c
            } else {
                c
            }
        };
        let mut rgb = vec![0u8; pixels * 3];
        for (i, v) in rgb.iter_mut().enumerate() {
            *v = values[plane(i % 3) * pixels + i / 3].round().clamp(0.0, 255.0) as u8;
        }
        Ok(Picture { width: *width, height: *height, rgb })
    }

    /// A picture from a `uint8` tensor `[height, width, 3]` or `[height, width]`, as picture outputs are; else `None`.
    pub fn from_pixels(tensor: &Tensor) -> Option<Picture> {
        let (height, width, repeat) = match *tensor.shape() {
            [h, w, 3] => (h, w, 1),
            [h, w] => (h, w, 3),
            _ => return None,
        };
        if tensor.dtype() != DType::U8 || tensor.is_empty() {
            return None;
        }
        let rgb = tensor.bytes().iter().flat_map(|&v| std::iter::repeat_n(v, repeat)).collect();
        Some(Picture { width, height, rgb })
    }

    /// The picture as a PNG or, when the name ends in `.jpg` or `.jpeg`, a JPEG file.
    ///
    /// # Errors
    /// When the encoder refuses the size.
    pub fn encode(&self, name: &Path) -> Result<Vec<u8>, Error> {
        encode(&self.rgb, [self.width, self.height], Pixels::Rgb8, name)
    }
}

/// How pixels are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pixels {
    Rgb8,
    Gray8,
    /// Most significant byte first; PNG alone.
    Gray16,
}

/// True for the names of JPEG files.
fn is_jpeg(name: &Path) -> bool {
    let ext = name.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    ext == "jpg" || ext == "jpeg"
}

fn encode(data: &[u8], [width, height]: [usize; 2], pixels: Pixels, name: &Path) -> Result<Vec<u8>, Error> {
    let fail = |e: &dyn std::fmt::Display| Error::new(e.to_string()).at(name);
    let mut out = Vec::new();
    if is_jpeg(name) {
        let size = |n: usize| u16::try_from(n).map_err(|e| fail(&e));
        let (w, h) = (size(width)?, size(height)?);
        let color = match pixels {
            Pixels::Rgb8 => jpeg_encoder::ColorType::Rgb,
            Pixels::Gray8 | Pixels::Gray16 => jpeg_encoder::ColorType::Luma,
        };
        jpeg_encoder::Encoder::new(&mut out, 92).encode(data, w, h, color).map_err(|e| fail(&e))?;
        return Ok(out);
    }
    let size = |n: usize| u32::try_from(n).map_err(|e| fail(&e));
    let mut encoder = png::Encoder::new(&mut out, size(width)?, size(height)?);
    let (color, depth) = match pixels {
        Pixels::Rgb8 => (png::ColorType::Rgb, png::BitDepth::Eight),
        Pixels::Gray8 => (png::ColorType::Grayscale, png::BitDepth::Eight),
        Pixels::Gray16 => (png::ColorType::Grayscale, png::BitDepth::Sixteen),
    };
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().map_err(|e| fail(&e))?;
    writer.write_image_data(data).map_err(|e| fail(&e))?;
    drop(writer);
    Ok(out)
}

/// Where a picture goes in one of another size: a part of it is resized and put in the middle.
struct Placing {
    /// Left edge, upper edge, width and height of the part.
    part: [usize; 4],
    /// Width and height that it is resized to.
    inner: [usize; 2],
}

impl Placing {
    fn of(fit: Fit, from: [usize; 2], to: [usize; 2]) -> Result<Placing, Error> {
        let ([own_width, own_height], [width, height]) = (from, to);
        // Extents that give the larger and the smaller of the two scales; at least one pixel.
        let scaled = |side: usize, by: usize, over: usize| (side * by).div_ceil(over.max(1)).max(1);
        let wide = own_width * height >= own_height * width;
        let whole = [0, 0, own_width, own_height];
        Ok(match fit {
            _ if from == to => Placing { part: whole, inner: to },
            Fit::Stretch => Placing { part: whole, inner: to },
            Fit::Crop => {
                let part = if wide {
                    [scaled(own_height, width, height), own_height]
                } else {
                    [own_width, scaled(own_width, height, width)]
                };
                Placing { part: centered(part, from), inner: to }
            }
            Fit::Pad if wide => {
                Placing { part: whole, inner: [width, scaled(own_height, width, own_width).min(height)] }
            }
            Fit::Pad => {
                Placing { part: whole, inner: [scaled(own_width, height, own_height).min(width), height] }
            }
            Fit::Exact => {
                return Err(Error::new(format!(
                    "the picture is {own_width} x {own_height} (width x height), but must be {width} x {height}; \
                     allow another fit"
                ))
                .of_kind(ErrorKind::WrongShape));
            }
        })
    }
}

/// The centred part of that size; a side is never longer than it is.
fn centered([width, height]: [usize; 2], [own_width, own_height]: [usize; 2]) -> [usize; 4] {
    let (width, height) = (width.min(own_width), height.min(own_height));
    [(own_width - width) / 2, (own_height - height) / 2, width, height]
}

/// The centred square whose side is `share` of the shorter side.
fn square(share: f32, width: usize, height: usize) -> [usize; 4] {
    let short = num::f64_of_usize(width.min(height));
    let side = usize::try_from(num::i64_trunc((short * f64::from(share)).round())).unwrap_or(1).max(1);
    centered([side, side], [width, height])
}

/// A part of rows of `width` pixels.
fn part_of<T: Copy>(data: &[T], width: usize, channels: usize, [x, y, w, h]: [usize; 4]) -> Vec<T> {
    let row = |r: usize| &data[((y + r) * width + x) * channels..][..w * channels];
    (0..h).flat_map(row).copied().collect()
}

/// Pixels in the middle of a larger black picture.
fn on_black<T: Copy + Default>(data: &[T], inner: [usize; 2], channels: usize, outer: [usize; 2]) -> Vec<T> {
    if inner == outer {
        return data.to_vec();
    }
    let (x, y) = ((outer[0] - inner[0]) / 2, (outer[1] - inner[1]) / 2);
    let mut out = vec![T::default(); outer[0] * outer[1] * channels];
    for (r, row) in data.chunks_exact(inner[0] * channels).enumerate() {
        out[((y + r) * outer[0] + x) * channels..][..inner[0] * channels].copy_from_slice(row);
    }
    out
}

/// ITU-R BT.601 luma.
fn luminance([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}

fn checked_size(width: usize, height: usize) -> Result<usize, String> {
    let pixels = width.checked_mul(height).filter(|&n| n <= MAX_PIXELS && n > 0);
    pixels.ok_or_else(|| format!("is {width} x {height} pixels; at most {MAX_PIXELS} pixels are read"))
}

fn decode_png(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    let pixels = checked_size(width, height)?;
    let size = reader.output_buffer_size().ok_or("is too large")?;
    let mut raw = vec![0u8; size];
    reader.next_frame(&mut raw).map_err(|e| e.to_string())?;
    let channels = reader.output_color_type().0.samples();
    let rgb = raw
        .chunks_exact(channels)
        .take(pixels)
        .flat_map(|p| match p {
            [r, g, b, ..] => [*r, *g, *b],
            [v, ..] => [*v; 3],
            [] => [0; 3],
        })
        .collect();
    Ok(Picture { width, height, rgb })
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let info = decoder.info().ok_or("has no header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    let pixels = checked_size(width, height)?;
    let rgb = decoder.decode().map_err(|e| e.to_string())?;
    if rgb.len() != pixels * 3 {
        return Err(format!("unpacks to {} bytes, {} were expected", rgb.len(), pixels * 3));
    }
    Ok(Picture { width, height, rgb })
}

/// Cubic convolution kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// First source index and weights, normalised to sum 1, for each target index.
fn taps(source: usize, target: usize) -> Vec<(usize, Vec<f32>)> {
    let ratio = num::f64_of_usize(source) / num::f64_of_usize(target);
    let stretch = ratio.max(1.0);
    let radius = 2.0 * stretch;
    let tap = |i: usize| {
        let center = (num::f64_of_usize(i) + 0.5) * ratio;
        let first = num::i64_trunc((center - radius + 0.5).max(0.0));
        let first = usize::try_from(first).unwrap_or(0);
        let last = usize::try_from(num::i64_trunc(center + radius + 0.5)).unwrap_or(0).min(source);
        let raw: Vec<f64> =
            (first..last).map(|j| cubic((num::f64_of_usize(j) + 0.5 - center) / stretch)).collect();
        let sum: f64 = raw.iter().sum();
        (first, raw.iter().map(|w| num::f32_of(w / sum)).collect())
    };
    (0..target).map(tap).collect()
}

/// `[height, width, channels]` to `[height, target, channels]`.
fn resample_rows(pixels: &[f32], width: usize, height: usize, channels: usize, target: usize) -> Vec<f32> {
    let taps = taps(width, target);
    let mut out = vec![0f32; height * target * channels];
    for y in 0..height {
        for (x, (first, weights)) in taps.iter().enumerate() {
            for c in 0..channels {
                let at = |k: usize| pixels[(y * width + first + k) * channels + c];
                let sum: f32 = weights.iter().enumerate().map(|(k, w)| w * at(k)).sum();
                out[(y * target + x) * channels + c] = sum;
            }
        }
    }
    out
}

/// `[height, width, channels]` to the other width and height.
fn resample(pixels: &[f32], from: [usize; 2], channels: usize, to: [usize; 2]) -> Vec<f32> {
    let wide = resample_rows(pixels, from[0], from[1], channels, to[0]);
    // Rows become columns of one long pixel, so that the same taps resample the other direction.
    resample_columns(&wide, to[0] * channels, from[1], to[1])
}

/// `[height, row]` to `[target, row]`.
fn resample_columns(pixels: &[f32], row: usize, height: usize, target: usize) -> Vec<f32> {
    let mut out = vec![0f32; target * row];
    for (y, (first, weights)) in taps(height, target).iter().enumerate() {
        let into = &mut out[y * row..(y + 1) * row];
        for (k, w) in weights.iter().enumerate() {
            let from = &pixels[(first + k) * row..][..row];
            into.iter_mut().zip(from).for_each(|(o, v)| *o += w * v);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_survives_png() {
        let rgb: Vec<u8> = (0..6 * 4 * 3u8).collect();
        let picture = Picture { width: 6, height: 4, rgb };
        let bytes = picture.encode(Path::new("a.png")).expect("encodes");
        assert_eq!(Picture::decode(&bytes, Path::new("a.png")).expect("decodes"), picture);
    }

    #[test]
    fn resizing_keeps_a_constant_picture_constant() {
        let picture = Picture { width: 7, height: 5, rgb: vec![93; 7 * 5 * 3] };
        assert!(picture.resized(3, 11).rgb.iter().all(|&v| v == 93));
    }

    #[test]
    fn a_picture_of_another_size_is_stretched_cropped_padded_or_refused() {
        // Columns of 10, 20, 30 and 40, two rows.
        let rgb: Vec<u8> = (0..2).flat_map(|_| [10u8, 20, 30, 40]).flat_map(|v| [v; 3]).collect();
        let picture = Picture { width: 4, height: 2, rgb };
        let gray = |p: &Picture| p.rgb.chunks_exact(3).map(|c| c[0]).collect::<Vec<u8>>();
        assert_eq!(gray(&picture.fitted(Fit::Crop, 2, 2).expect("fits")), [20, 30, 20, 30]);
        let padded = gray(&picture.fitted(Fit::Pad, 4, 4).expect("fits"));
        assert_eq!(padded, [0, 0, 0, 0, 10, 20, 30, 40, 10, 20, 30, 40, 0, 0, 0, 0]);
        let stretched = picture.fitted(Fit::Stretch, 4, 4).expect("fits");
        assert_eq!(gray(&stretched), [10, 20, 30, 40].repeat(4));
        let refused = picture.fitted(Fit::Exact, 2, 2).expect_err("another size").to_string();
        assert!(refused.contains("4 x 2") && refused.contains("2 x 2"), "{refused}");
        assert!(picture.fitted(Fit::Exact, 4, 2).is_ok());
    }

    #[test]
    fn bytes_that_are_no_picture_are_refused_by_name() {
        let error = Picture::decode(b"GIF89a", Path::new("x.gif")).expect_err("no picture").to_string();
        assert!(error.contains("x.gif") && error.contains("neither PNG nor JPEG"), "{error}");
        assert!(Picture::decode(&[0x89, b'P', b'N', b'G', 0, 0], Path::new("x.png")).is_err());
        assert!(Picture::decode(&[0xff, 0xd8, 0xff], Path::new("x.jpg")).is_err());
    }
}
