//! Tensors from and to files: `.npy`, `.npz`, `.safetensors`, pictures; random ones on request.

use crate::files::{self, Files};
use crate::picture::{Channels, Gray, Picture, Preprocess, encode_pixels};
use crate::{Error, ErrorKind, features as interfaces};
use anemone_formats::{npy, safetensors};
use anemone_mil::interface::{ColorSpace, Feature as Described, FeatureKind, FunctionInterface};
use anemone_model::{DictKey, Feature, Features, Port};
use anemone_tensor::{DType, Tensor, num};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the inputs of a prediction come from; later ones replace earlier ones of the same name.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Files with several named tensors: `.safetensors` or `.npz`.
    pub files: Vec<PathBuf>,
    /// One tensor each: name and `.npy` file, or a picture for an image input.
    pub tensors: Vec<(String, PathBuf)>,
    /// Pictures: name, file, and how pixels become numbers.
    pub images: Vec<(String, PathBuf, Preprocess)>,
    /// Numbers: inputs of one element, by name.
    pub values: Vec<(String, f64)>,
    /// Seed from which the inputs that are not given are made; optional ones are left out.
    pub random: Option<u64>,
    /// Shapes of inputs that are made from the seed; the usual one where nothing is said.
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Every one of `files` is a prediction of its own, in order; else all are inputs of the same one.
    pub steps: bool,
}

/// Reads all tensors of a `.safetensors` or `.npz` file.
///
/// # Errors
/// When it is neither or malformed.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>, Error> {
    let bytes = files::map(path)?;
    let fail = |e: anemone_formats::Error| Error::from_cause(e).at(path);
    match extension(path).as_str() {
        "npz" => npy::read_npz(&bytes).map_err(fail),
        "safetensors" => {
            let file = safetensors::SafeTensors::read(&bytes).map_err(fail)?;
            Ok(file.tensors.into_iter().collect())
        }
        other => Err(Error::new(format!("ends in .{other}, but must be .safetensors or .npz")).at(path)),
    }
}

/// Reads all tensors of a safetensors file, whatever its name ends in, into memory: the file may change afterwards.
///
/// # Errors
/// When it does not read or is malformed.
pub fn read_safetensors(path: &Path) -> Result<Vec<(String, Tensor)>, Error> {
    let bytes = files::read(path)?;
    let fail = |e: anemone_formats::Error| Error::from_cause(e).of_kind(ErrorKind::Malformed).at(path);
    Ok(safetensors::SafeTensors::read(&bytes).map_err(fail)?.tensors.into_iter().collect())
}

/// Writes tensors into a safetensors file, which is staged in `into`.
///
/// # Errors
/// When names repeat, an element type is none of the format, or the file cannot be written.
pub fn write_safetensors(path: &Path, tensors: &[(String, Tensor)], into: &mut Files) -> Result<(), Error> {
    let bytes =
        safetensors::to_bytes(tensors, &BTreeMap::new()).map_err(|e| Error::from_cause(e).at(path))?;
    into.write(path, |w| w.write_all(&bytes))
}

fn extension(path: &Path) -> String {
    path.extension().map_or_else(String::new, |e| e.to_string_lossy().to_ascii_lowercase())
}

/// Gathers the inputs of each prediction.
///
/// # Errors
/// As [`gather`].
pub(crate) fn gather_steps(
    inputs: &Inputs,
    interface: &FunctionInterface,
    ports: &[Port],
) -> Result<Vec<Features>, Error> {
    if !inputs.steps || inputs.files.is_empty() {
        return gather(inputs, interface, ports).map(|one| vec![one]);
    }
    let one = |(i, file): (u64, &PathBuf)| {
        let random = inputs.random.map(|seed| seed.wrapping_add(i));
        let alone = Inputs { files: vec![file.clone()], random, ..inputs.clone() };
        gather(&alone, interface, ports)
    };
    (0..).zip(&inputs.files).map(one).collect()
}

/// Gathers the inputs that `ports` ask for.
///
/// # Errors
/// When a file does not read, or an image does not fit the shape of its input.
pub(crate) fn gather(
    inputs: &Inputs,
    interface: &FunctionInterface,
    ports: &[Port],
) -> Result<Features, Error> {
    let mut features = Features::new();
    if let Some(seed) = inputs.random {
        if let Some((name, _)) = inputs.shapes.iter().find(|(n, _)| ports.iter().all(|p| p.name != *n)) {
            return Err(interfaces::unknown(ports, name));
        }
        let named = |name: &str| inputs.shapes.iter().any(|(n, _)| n == name);
        let spare =
            |name: &str| interface.inputs.iter().any(|f| f.name == name && interfaces::has_default(f));
        for port in ports.iter().filter(|p| named(&p.name) || !spare(&p.name)) {
            let mut example = interfaces::example(interface, port);
            if let Some((_, shape)) = inputs.shapes.iter().find(|(n, _)| *n == port.name) {
                example.shape = interfaces::of_feature(interface, &port.name, shape);
            }
            features.insert(port.name.as_str(), random(&example, seed));
        }
    } else if let Some((name, _)) = inputs.shapes.first() {
        let what =
            format!("a shape is given for input `{name}`, but only random inputs take one; give a seed, too");
        return Err(Error::new(what));
    }
    for path in &inputs.files {
        for (name, tensor) in read_tensors(path)? {
            features.insert(name, tensor);
        }
    }
    for (name, path) in &inputs.tensors {
        let tensor = match extension(path).as_str() {
            "png" | "jpg" | "jpeg" => picture(interface, ports, name, path, &Preprocess::default())?,
            _ => npy::read(&files::map(path)?).map_err(|e| Error::from_cause(e).at(path))?,
        };
        features.insert(name.as_str(), tensor);
    }
    for (name, value) in &inputs.values {
        let port = ports.iter().find(|p| p.name == *name);
        let port = port.ok_or_else(|| interfaces::unknown(ports, name))?;
        features.insert(name.as_str(), number(port, *value)?);
    }
    for (name, path, how) in &inputs.images {
        features.insert(name.as_str(), picture(interface, ports, name, path, how)?);
    }
    Ok(features)
}

/// A number as the one element that an input has.
fn number(port: &Port, value: f64) -> Result<Tensor, Error> {
    let refuse = |kind: ErrorKind, what: String| Err(Error::new(what).of_kind(kind));
    if port.shape.iter().any(|d| d.is_some_and(|n| n != 1)) {
        let what = format!("input `{}` has shape {:?}; give it a file, not a number", port.name, port.shape);
        return refuse(ErrorKind::WrongShape, what);
    }
    if !port.dtype.is_float() && value.fract() != 0.0 {
        let what = format!("input `{}` is {}, but {value} is not whole", port.name, port.dtype);
        return refuse(ErrorKind::WrongType, what);
    }
    let shape = vec![1; port.shape.len()];
    let dtype = if port.dtype.is_float() { port.dtype } else { DType::I64 };
    Tensor::from_f64s(dtype, shape, &[value]).map_err(Error::from_cause)
}

/// A picture fitted to the shape of input `name`.
fn picture(
    interface: &FunctionInterface,
    ports: &[Port],
    name: &str,
    path: &Path,
    how: &Preprocess,
) -> Result<Tensor, Error> {
    let port = ports.iter().find(|p| p.name == name);
    let port = port.ok_or_else(|| interfaces::unknown(ports, name))?;
    let described = interface.inputs.iter().find(|f| f.name == name);
    let half = is_half(described.map(|f| &f.kind));
    let bytes = files::map(path)?;
    let picture = if half {
        Decoded::Gray(Gray::decode(&bytes, path)?)
    } else {
        Decoded::Color(Picture::decode(&bytes, path)?)
    };
    let (own_height, own_width) = picture.size();
    let order = how.channels.unwrap_or_else(|| match described.map(|f| &f.kind) {
        Some(FeatureKind::Image(i)) => match i.color {
            ColorSpace::Grayscale | ColorSpace::GrayscaleF16 => Channels::Gray,
            ColorSpace::Bgr => Channels::Bgr,
            ColorSpace::Rgb | ColorSpace::Unspecified => Channels::Rgb,
        },
        _ => Channels::Rgb,
    });
    let how = &Preprocess { channels: Some(order), ..how.clone() };
    let channels = if order == Channels::Gray { 1 } else { 3 };
    let wrong = || {
        let what = format!("input `{name}` has shape {:?}", port.shape);
        Error::new(format!(
            "{what}; a picture of {channels} channels needs [1, {channels}, height, width] or [1, height, width, {channels}]"
        ))
    };
    let [batch, a, b, c] = *port.shape.as_slice() else { return Err(wrong()) };
    if batch.is_some_and(|n| n != 1) {
        return Err(wrong());
    }
    // Free extents are the picture's own where the interface allows them, else the usual ones.
    let own = |h: Option<usize>, w: Option<usize>| (h.unwrap_or(own_height), w.unwrap_or(own_width));
    let usual = described.map_or_else(Vec::new, |f| interfaces::usual_shape(f, port));
    let allows = |shape: &[usize]| described.is_none_or(|f| interfaces::allows(f, shape));
    let (height, width, last) = if a.is_none_or(|n| n == channels) {
        let (h, w) = own(b, c);
        if allows(&[1, channels, h, w]) { (h, w, false) } else { (usual[2], usual[3], false) }
    } else if c.is_none_or(|n| n == channels) {
        let (h, w) = own(a, b);
        if allows(&[1, h, w, channels]) { (h, w, true) } else { (usual[1], usual[2], true) }
    } else {
        return Err(wrong());
    };
    match picture {
        Decoded::Color(picture) => picture.tensor(how, height, width, last),
        Decoded::Gray(gray) if channels == 1 => gray.tensor(how, height, width, last),
        Decoded::Gray(_) => Err(wrong()),
    }
}

/// What a picture file holds.
enum Decoded {
    Color(Picture),
    /// For inputs of 16-bit floats.
    Gray(Gray),
}

impl Decoded {
    /// Height and width.
    fn size(&self) -> (usize, usize) {
        match self {
            Decoded::Color(p) => (p.height, p.width),
            Decoded::Gray(g) => (g.height, g.width),
        }
    }
}

/// True for pictures of 16-bit floats.
fn is_half(kind: Option<&FeatureKind>) -> bool {
    matches!(kind, Some(FeatureKind::Image(i)) if i.color == ColorSpace::GrayscaleF16)
}

/// Numbers that depend on nothing but the seed and the input's name: floats in [-1, 1), integers from 0 to 255.
///
/// Free dims count as 1. The generator is SplitMix64 (Steele, Lea, Flood, 2014).
pub(crate) fn random(port: &Port, seed: u64) -> Tensor {
    let shape: Vec<usize> = port.shape.iter().map(|d| d.unwrap_or(1)).collect();
    let count = num::element_count(&shape).unwrap_or(0);
    let mut state = port.name.bytes().fold(seed, |s, b| s.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let unit = |v: u64| num::f64_of((v >> 11).cast_signed()) / num::f64_of(1 << 53);
    let value = |v: u64| match port.dtype {
        DType::Bool => f64::from(u8::from(v & 1 == 1)),
        d if d.is_int() => num::f64_of((v & 0xff).cast_signed()),
        _ => 2.0 * unit(v) - 1.0,
    };
    let values: Vec<f64> = (0..count).map(|_| value(next())).collect();
    Tensor::from_f64s(port.dtype, shape.clone(), &values)
        .unwrap_or_else(|_| Tensor::scalar_f64(port.dtype, 0.0))
}

/// How outputs are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// `outputs.safetensors`.
    #[default]
    SafeTensors,
    /// One `.npy` file per tensor.
    Npy,
}

/// Writes the tensors of a prediction into a folder, which is made when it is not there.
///
/// Outputs that `described` calls pictures are also written as `.png`. Labels and dictionaries are not tensors: they go
/// into `labels.json`. All files are staged in `into`. Of several predictions, names of files after the first have the
/// number of the step before their ending, as in `outputs.1.safetensors`.
///
/// # Errors
/// When a file cannot be written, or an output's name cannot be the name of a file.
pub fn write_outputs(
    folder: &Path,
    step: usize,
    outputs: &Features,
    described: &[Described],
    store: Store,
    into: &mut Files,
) -> Result<(), Error> {
    into.folder(folder)?;
    let ending = |e: &str| if step == 0 { e.to_owned() } else { format!("{step}.{e}") };
    let tensors: Vec<(String, Tensor)> =
        outputs.iter().filter_map(|(n, f)| f.tensor().map(|t| (n.to_owned(), t.clone()))).collect();
    match store {
        Store::SafeTensors => {
            let path = folder.join(format!("outputs.{}", ending("safetensors")));
            write_safetensors(&path, &tensors, into)?;
        }
        Store::Npy => {
            for (name, tensor) in &tensors {
                into.write(&named(folder, name, &ending("npy"))?, |w| npy::write(w, tensor))?;
            }
        }
    }
    for (name, tensor) in &tensors {
        let kind = described.iter().find(|f| f.name == *name).map(|f| &f.kind);
        let shown = tensor.dtype() == DType::U8 || is_half(kind) && tensor.rank() == 2;
        if matches!(kind, Some(FeatureKind::Image(_))) && shown && !tensor.is_empty() {
            let path = named(folder, name, &ending("png"))?;
            let bytes = picture_file(tensor, kind, None, &path)?;
            into.write(&path, |w| w.write_all(&bytes))?;
        }
    }
    let labels: Vec<String> = outputs.iter().filter_map(|(n, f)| label_json(n, f)).collect();
    if !labels.is_empty() {
        let path = folder.join(format!("labels.{}", ending("json")));
        into.write(&path, |w| writeln!(w, "{{\n{}\n}}", labels.join(",\n")))?;
    }
    Ok(())
}

/// An output as a picture file: PNG, or JPEG when the name ends in `.jpg` or `.jpeg`.
///
/// `range` are the values that become black and white; the output has one channel then and gets 16 bits. Without it,
/// pictures of 16-bit floats go from 0 to 1 and all others from 0 to 255.
///
/// # Errors
/// When the output has no shape of a picture, or the encoder refuses its size.
pub fn picture_file(
    tensor: &Tensor,
    kind: Option<&FeatureKind>,
    range: Option<[f64; 2]>,
    name: &Path,
) -> Result<Vec<u8>, Error> {
    match range.or(is_half(kind).then_some([0.0, 1.0])) {
        Some(range) => Gray::from_tensor(tensor, range)?.encode(name),
        None => encode_pixels(tensor, name),
    }
}

/// The file of an output; names come from the model and must not lead anywhere else.
fn named(folder: &Path, name: &str, extension: &str) -> Result<PathBuf, Error> {
    if name.contains(['/', '\\', '\0']) {
        return Err(Error::new(format!("output {name:?} cannot be the name of a file")).at(folder));
    }
    Ok(folder.join(format!("{name}.{extension}")))
}

fn label_json(name: &str, feature: &Feature) -> Option<String> {
    let value = match feature {
        Feature::Tensor(_) => return None,
        Feature::Text(t) => quoted(t),
        Feature::Int(i) => i.to_string(),
        Feature::Double(v) => v.to_string(),
        Feature::Dict(entries) => {
            let entry = |(k, v): &(DictKey, f64)| {
                let key = match k {
                    DictKey::Text(t) => quoted(t),
                    DictKey::Int(i) => quoted(&i.to_string()),
                };
                format!("{key}: {v}")
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    };
    Some(format!("  {}: {value}", quoted(name)))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
