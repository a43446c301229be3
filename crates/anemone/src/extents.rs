//! Gives the free dims of a function extents, and infers what follows from them.

use crate::{Error, ErrorKind};
use anemone_mil::interface::{FeatureKind, Flexibility, FunctionInterface, ImageFlexibility};
use anemone_mil::ops::Site;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    BlockId, Const, Dim, FoldLimits, Function, Literal, OpId, Program, Tensor, TensorType, Type, ValueId,
    fold_constants,
};

/// One axis of an input, with what may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// The input or state.
    pub(crate) input: ValueId,
    /// Its name.
    pub(crate) name: String,
    /// Which axis.
    pub(crate) axis: usize,
    /// Name of the dim where the program gives it one.
    pub(crate) symbol: Option<String>,
    /// Usual extent.
    pub(crate) usual: usize,
    /// What else may stand there.
    pub(crate) allowed: Allowed,
}

/// Extents that an axis may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Only the usual one.
    Fixed,
    /// From one to another; `None` without end.
    Range(usize, Option<usize>),
    /// One of these.
    Listed(Vec<usize>),
}

impl Allowed {
    /// True when the extent may stand there.
    pub(crate) fn takes(&self, extent: usize) -> bool {
        match self {
            Allowed::Fixed => false,
            Allowed::Range(low, high) => extent >= *low && high.is_none_or(|h| extent <= h),
            Allowed::Listed(all) => all.contains(&extent),
        }
    }

    /// The same in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Allowed::Fixed => "only its usual extent".to_owned(),
            Allowed::Range(low, Some(high)) => format!("{low} to {high}"),
            Allowed::Range(low, None) => format!("{low} and more"),
            Allowed::Listed(all) => all.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Every axis of every input and state.
pub(crate) fn axes(program: &Program, function: &Function) -> Vec<Axis> {
    let interface = program.interface.function(&function.name);
    let mut found = Vec::new();
    for &input in &function.inputs {
        let value = function.value(input);
        let (Type::Tensor(ty) | Type::State(ty)) = &value.ty else { continue };
        for (axis, dim) in ty.dims.iter().enumerate() {
            let (usual, allowed) = offered(interface, &value.name, axis);
            let open = if dim.known().is_some() { Allowed::Fixed } else { Allowed::Range(1, None) };
            found.push(Axis {
                input,
                name: value.name.to_string(),
                axis,
                symbol: if let Dim::Symbol(s) = dim { Some(s.to_string()) } else { None },
                usual: dim.known().or(usual).unwrap_or(1),
                allowed: allowed.filter(|_| dim.known().is_none()).unwrap_or(open),
            });
        }
    }
    found
}

/// What the interface says of one axis of a feature: its usual extent, and others.
fn offered(
    interface: Option<&FunctionInterface>,
    name: &str,
    axis: usize,
) -> (Option<usize>, Option<Allowed>) {
    let features = interface.into_iter().flat_map(|i| i.inputs.iter().chain(&i.states));
    let Some(feature) = features.into_iter().find(|f| f.name == name) else { return (None, None) };
    let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    match &feature.kind {
        FeatureKind::MultiArray(array) | FeatureKind::State(array) => {
            let at = |shape: &Vec<i64>| shape.get(axis).and_then(|n| usize::try_from(*n).ok());
            let allowed = match &array.flexibility {
                Flexibility::Fixed => None,
                Flexibility::Enumerated(shapes) => {
                    let mut all: Vec<usize> = shapes.iter().filter_map(at).collect();
                    all.sort_unstable();
                    all.dedup();
                    Some(Allowed::Listed(all))
                }
                Flexibility::Ranges(ranges) => {
                    ranges.get(axis).map(|r| Allowed::Range(whole(r.lower), r.upper.map(whole)))
                }
            };
            (at(&array.shape), allowed)
        }
        FeatureKind::Image(image) => {
            let extent = [image.height, image.width].get(axis.wrapping_sub(2)).copied();
            let allowed = match (&image.flexibility, axis) {
                (ImageFlexibility::Ranges { height, .. }, 2) => {
                    Some(Allowed::Range(whole(height.lower), height.upper.map(whole)))
                }
                (ImageFlexibility::Ranges { width, .. }, 3) => {
                    Some(Allowed::Range(whole(width.lower), width.upper.map(whole)))
                }
                (ImageFlexibility::Enumerated(sizes), 2 | 3) => {
                    Some(Allowed::Listed(sizes.iter().map(|s| whole(s[3 - axis])).collect()))
                }
                _ => None,
            };
            (extent.and_then(|n| usize::try_from(n).ok()), allowed)
        }
        _ => (None, None),
    }
}

/// Largest number of elements that is folded into a constant.
const FOLDED: usize = 1 << 16;

/// The program of one function in which these axes have these extents, and every other free axis its usual one.
///
/// A function without a free axis, and none to change, comes back as it is.
///
/// # Errors
/// When an op contradicts the extents; the error names the op and what the package would need.
pub(crate) fn with_extents(
    program: &Program,
    function: &Function,
    extents: &[(Axis, usize)],
) -> Result<Program, Error> {
    let mut function = function.clone();
    let free = axes(program, &function);
    let mut changed = false;
    for axis in &free {
        let wanted = extents.iter().find(|(a, _)| (a.input, a.axis) == (axis.input, axis.axis));
        let extent = wanted.map_or(axis.usual, |(_, n)| *n);
        changed |= set(&mut function, axis, extent);
    }
    if changed {
        let body = function.body();
        infer_block(&mut function, body)?;
        let limits = FoldLimits { constexpr: false, max_elements: FOLDED };
        while fold_constants(&mut function, limits) > 0 {
            infer_block(&mut function, body)?;
        }
    }
    let interface = plain_interface(std::slice::from_ref(&function));
    Ok(Program::new(function, interface))
}

/// True when the axis had another extent before.
fn set(function: &mut Function, axis: &Axis, extent: usize) -> bool {
    let (Type::Tensor(ty) | Type::State(ty)) = &mut function.value_mut(axis.input).ty else { return false };
    let Some(dim) = ty.dims.get_mut(axis.axis) else { return false };
    let before = std::mem::replace(dim, Dim::Known(extent));
    before != Dim::Known(extent)
}

/// The program of one function that works on so many items at once: axis 0 of every input times `batch`.
///
/// # Errors
/// When the function has states, or an op cannot take more items.
pub(crate) fn with_batch(program: &Program, function: &Function, batch: usize) -> Result<Program, Error> {
    if let Some(state) = function.inputs.iter().find(|&&v| matches!(function.value(v).ty, Type::State(_))) {
        let name = &function.value(*state).name;
        return Err(unsupported(format!(
            "state `{name}` holds what belongs to one item, so a call cannot have {batch}; export the model with the \
             batch that is wanted"
        )));
    }
    let first: Vec<(Axis, usize)> = axes(program, function)
        .into_iter()
        .filter(|a| a.axis == 0)
        .map(|a| {
            let extent = a.usual.saturating_mul(batch);
            (a, extent)
        })
        .collect();
    let mut wide = function.clone();
    for (axis, extent) in &first {
        widen_reshapes(&mut wide, axis.usual, *extent);
    }
    with_extents(program, &wide, &first)
}

/// Constant shapes of `reshape` that begin with the old number of items begin with the new one.
fn widen_reshapes(function: &mut Function, before: usize, after: usize) {
    let shapes: Vec<(OpId, ValueId)> = function
        .walk()
        .into_iter()
        .filter(|(_, id)| function.op(*id).is("reshape"))
        .filter_map(|(_, id)| Some((id, function.op(id).value("shape")?)))
        .collect();
    for (id, shape) in shapes {
        let Some(Const::Literal(Literal::Tensor(t))) = function.constant(shape) else { continue };
        let mut dims: Vec<i32> = (0..t.len()).filter_map(|i| i32::try_from(t.i64_at(i)).ok()).collect();
        let (Ok(old), Ok(new)) = (i32::try_from(before), i32::try_from(after)) else { continue };
        if dims.len() != t.len() || dims.first() != Some(&old) || old == new {
            continue;
        }
        dims[0] = new;
        let name = format!("{}_{after}", function.value(shape).name);
        let wide = function.add_const(name.as_str(), Tensor::vector_i32(&dims));
        function.op_mut(id).set_arg("shape", vec![wide]);
    }
}

fn unsupported(message: String) -> Error {
    Error::new(message).of_kind(ErrorKind::Unsupported)
}

fn infer_block(function: &mut Function, block: BlockId) -> Result<(), Error> {
    for id in function.block(block).ops.clone() {
        for inner in function.op(id).blocks.clone() {
            infer_block(function, inner)?;
        }
        infer_op(function, id)?;
    }
    Ok(())
}

fn infer_op(function: &mut Function, id: OpId) -> Result<(), Error> {
    let op = function.op(id);
    let (outputs, kind) = (op.outputs.clone(), op.kind.name().to_owned());
    let name = outputs.first().map_or_else(|| op.name.clone(), |&v| function.value(v).name.clone());
    let contradicts = |what: String| {
        unsupported(format!(
            "{kind} \"{name}\" does not follow other extents: {what}; its shape is baked into the program, so export \
             the model with a flexible input (ct.RangeDim or ct.EnumeratedShapes)"
        ))
    };
    let Ok(site) = Site::new(function, op) else { return Ok(()) };
    let types = site.infer().map_err(|e| contradicts(e.to_string()))?;
    for (value, ty) in outputs.into_iter().zip(types) {
        let old = &function.value(value).ty;
        if matches!((old.tensor(), ty.tensor()), (Some(a), Some(b)) if a.rank() != b.rank()) {
            return Err(contradicts(format!("{old} became {ty}")));
        }
        function.value_mut(value).ty = ty;
    }
    Ok(())
}

/// Bytes of a function's inputs and states.
pub(crate) fn fed_bytes(function: &Function) -> (u64, u64) {
    let sum = |states: bool| -> u64 {
        let of = |v: &ValueId| match &function.value(*v).ty {
            Type::Tensor(t) if !states => t.byte_len(),
            Type::State(t) if states => TensorType::byte_len(t),
            _ => None,
        };
        let each = function.inputs.iter().filter_map(of);
        each.map(|n| u64::try_from(n).unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
    };
    (sum(false), sum(true))
}
