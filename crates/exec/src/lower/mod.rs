//! Ops to kernels: one function per kind of op, which packs constant operands and fixes the geometry.

mod attention;
mod elementwise;
mod emulated;
mod indexed;
mod last;
mod layout;
mod lines;
mod mixed;
mod one_hot;
mod packed;
mod product;
mod recurrent;
mod reduction;
mod sampling;
mod traced;
mod typed;
mod window;

pub(crate) use emulated::lower as lower_emulated;
pub(crate) use indexed::overwrite;
pub(crate) use mixed::{Mixed, Operand, Target};
pub(crate) use packed::keep_packed;

use crate::kernels::Activation;
use crate::memory::Floats;
use crate::pool::Pool;
use crate::profile::{ALIAS, kernel_name};
use anemone_mil::ops::{Form, OpDef, Site};
use anemone_mil::{DType, Function, OpId, Tensor, TensorType, Uses, ValueId};

/// What a kernel reads and writes: dense row-major `f32` tensors.
pub(crate) struct Io<'a, 'b> {
    /// Operands, in the order that the lowering asked for.
    pub inputs: &'a [&'a [f32]],
    /// Results.
    pub outputs: &'a mut [&'b mut [f32]],
    /// Scratch memory, as long as [`Kernel::scratch`] asks for.
    pub scratch: &'a mut [f32],
}

/// An op with its geometry fixed and its constants packed.
pub(crate) trait Kernel: Send {
    /// Elements of scratch memory.
    fn scratch(&self, _pool: &Pool) -> usize {
        0
    }

    /// Bytes that it allocates by itself while it runs.
    fn own_memory(&self, _pool: &Pool) -> usize {
        0
    }

    /// True when `fp16` results still have to be rounded after it.
    fn rounds_after(&self) -> bool {
        true
    }

    /// What computes it, for people.
    fn name(&self) -> &'static str {
        kernel_name(std::any::type_name::<Self>())
    }

    /// Computes the results.
    fn run(&self, io: Io<'_, '_>, pool: &Pool);
}

/// An op made ready.
pub(crate) enum Lowered {
    /// The result is this operand under another shape or name.
    Alias(ValueId),
    /// A kernel, and the operands that it reads.
    Kernel {
        /// The kernel.
        kernel: Box<dyn Kernel>,
        /// Operands, in the order of [`Io::inputs`].
        reads: Vec<ValueId>,
    },
    /// A kernel over more than floats, and the operands that it reads.
    Mixed {
        /// The kernel.
        kernel: Box<dyn Mixed>,
        /// Operands, in the order in which the kernel gets them.
        reads: Vec<ValueId>,
    },
}

/// A kernel without scratch memory, written as a closure.
struct Plain<F>(F);

impl<F: Fn(Io<'_, '_>, &Pool) + Send> Kernel for Plain<F> {
    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        (self.0)(io, pool);
    }
}

/// The step of an alias: nothing to do.
pub(crate) struct Nothing;

impl Kernel for Nothing {
    fn name(&self) -> &'static str {
        ALIAS
    }

    fn run(&self, _: Io<'_, '_>, _: &Pool) {}
}

/// A kernel from a closure.
fn plain(reads: Vec<ValueId>, run: impl Fn(Io<'_, '_>, &Pool) + Send + 'static) -> Lowered {
    Lowered::Kernel { kernel: Box::new(Plain(run)), reads }
}

/// An op that is being lowered.
pub(crate) struct Lowering<'a> {
    site: Site<'a>,
    /// Applied to the result before it is stored.
    activation: Activation,
    pool: &'a Pool,
    /// Bytes that a list of where elements go may take.
    memory_limit: u64,
}

impl Lowering<'_> {
    /// The operand of a parameter.
    fn value(&self, param: &str) -> Option<ValueId> {
        self.site.op.value(param)
    }

    /// Fixed shape of a value.
    fn shape(&self, v: ValueId) -> Option<Vec<usize>> {
        self.site.function.value(v).ty.tensor()?.known_shape()
    }

    /// Type of the first result.
    fn result(&self) -> Option<&TensorType> {
        self.site.function.value(*self.site.op.outputs.first()?).ty.tensor()
    }

    /// Fixed shape of the first result.
    fn result_shape(&self) -> Option<Vec<usize>> {
        self.result()?.known_shape()
    }

    /// True when results are declared `fp16`.
    fn half(&self) -> bool {
        self.result().is_some_and(|t| t.dtype == DType::F16)
    }

    /// The numbers of a constant value.
    fn constant(&self, v: ValueId) -> Option<Tensor> {
        constant_tensor(self.site.function, v)
    }

    /// The numbers of a constant value for packing, not copied where they serve as they are.
    fn weights(&self, v: ValueId) -> Option<Floats> {
        self.constant(v).map(Floats::of)
    }

    /// The numbers of a constant operand; `None` when it is left out or computed.
    fn floats(&self, param: &str) -> Option<Vec<f32>> {
        self.constant(self.value(param)?).map(|t| t.to_f32s())
    }

    /// A constant float, its default included.
    fn float(&self, param: &str) -> Option<f32> {
        self.site.float(param).ok().map(|v| v as f32)
    }

    /// Product of the extents before, at and after an axis.
    fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
        (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
    }
}

type Lower = fn(&Lowering<'_>) -> Option<Lowered>;

/// Who lowers an op.
fn find(def: &OpDef) -> Option<Lower> {
    Some(match def.name {
        "conv" => window::conv,
        "conv_transpose" => window::conv_transpose,
        "avg_pool" | "max_pool" | "l2_pool" => window::pool,
        "linear" => product::linear,
        "matmul" => product::matmul,
        "batch_norm" => reduction::batch_norm,
        "instance_norm" => reduction::instance_norm,
        "layer_norm" => reduction::layer_norm,
        "softmax" => reduction::softmax,
        _ if matches!(def.form, Form::Identity | Form::Reshape) => layout::alias,
        "cast" => layout::cast,
        "transpose" => layout::transpose,
        "concat" => layout::concat,
        "split" => layout::split,
        "slice_by_index" => layout::slice_by_index,
        "pad" => layout::pad,
        "tile" => layout::tile,
        "stack" => layout::stack,
        "reverse" => layout::reverse,
        "depth_to_space" | "space_to_depth" | "pixel_shuffle" | "pixel_unshuffle" => layout::blocks,
        "gather" => layout::gather,
        "resize"
        | "resize_bilinear"
        | "resize_nearest_neighbor"
        | "upsample_bilinear"
        | "upsample_nearest_neighbor" => sampling::resize,
        "lstm" | "gru" | "rnn" => recurrent::recurrent,
        "einsum" => attention::einsum,
        "cumsum" => lines::cumsum,
        "l2_norm" => lines::l2_norm,
        "local_response_norm" => lines::local_response_norm,
        "prelu" | "softplus_parametric" => lines::per_channel,
        "reduce_sum" | "reduce_mean" | "reduce_max" | "reduce_min" | "reduce_prod" | "reduce_sum_square"
        | "reduce_l1_norm" | "reduce_l2_norm" | "reduce_log_sum" | "reduce_log_sum_exp" => reduction::reduce,
        _ if matches!(def.form, Form::Unary | Form::Binary) => elementwise::lower,
        _ => return None,
    })
}

/// Who lowers an op kind to a kernel over more than floats.
fn find_mixed(kind: &str) -> Option<Lower> {
    Some(match kind {
        "equal" | "not_equal" | "less" | "less_equal" | "greater" | "greater_equal" => typed::compare,
        "logical_and" | "logical_or" | "logical_xor" => typed::logical,
        "logical_not" => typed::logical_not,
        "add" | "sub" | "mul" | "maximum" | "minimum" | "floor_div" | "mod" | "real_div" => typed::arithmetic,
        "abs" | "sign" | "square" => typed::unary,
        "cast" => typed::cast,
        "select" => typed::select,
        "quantize" => typed::quantize,
        "dequantize" => typed::dequantize,
        "scaled_dot_product_attention" => attention::attention,
        "reduce_argmax" | "reduce_argmin" => lines::extreme,
        "topk" | "argsort" => lines::sort,
        "one_hot" => one_hot::one_hot,
        _ => return None,
    })
}

/// Who lowers an op kind with operands that say at run time where elements are.
fn find_indexed(kind: &str) -> Option<Lower> {
    Some(match kind {
        "gather" => indexed::gather,
        "gather_along_axis" => indexed::gather_along_axis,
        "gather_nd" => indexed::gather_nd,
        "scatter" | "scatter_along_axis" | "scatter_nd" => indexed::scatter,
        "slice_update" => indexed::slice_update,
        "slice_by_size" => indexed::slice_by_size,
        _ => return None,
    })
}

/// Lowers an op, with the activation `next` after it where one is given; `None` when no kernel fits.
pub(crate) fn lower(function: &Function, id: OpId, next: Option<OpId>, pool: &Pool) -> Option<Lowered> {
    if function.op(id).kind.def().is_none() {
        return last::lower(function, id, pool);
    }
    let site = Site::new(function, function.op(id)).ok()?;
    let activation = match next {
        Some(next) => elementwise::activation(&Site::new(function, function.op(next)).ok()?)?,
        None => Activation::None,
    };
    find(site.def)?(&Lowering { site, activation, pool, memory_limit: 0 })
}

/// Lowers an op of any types to a kernel over more than floats; `None` when there is none.
///
/// A list of where every element goes takes at most `memory_limit` bytes.
pub(crate) fn lower_mixed(function: &Function, id: OpId, memory_limit: u64, pool: &Pool) -> Option<Lowered> {
    let site = Site::new(function, function.op(id)).ok()?;
    let l = Lowering { site, activation: Activation::None, pool, memory_limit };
    let kind = site.def.name;
    let lowered = find_mixed(kind).and_then(|lower| lower(&l)).or_else(|| traced::moves(&l));
    lowered.or_else(|| find_indexed(kind).and_then(|lower| lower(&l)))
}

/// The activation that can become part of op `id`: the only user of its only result.
pub(crate) fn fusable(function: &Function, uses: &Uses, id: OpId) -> Option<OpId> {
    let op = function.op(id);
    if !matches!(op.kind.name(), "conv" | "conv_transpose" | "linear" | "matmul") {
        return None;
    }
    let [result] = *op.outputs.as_slice() else { return None };
    let next = uses.only(result)?;
    let site = Site::new(function, function.op(next)).ok()?;
    let same_type = function.value(*site.op.outputs.first()?).ty == function.value(result).ty;
    let fits = same_type && site.op.value("x") == Some(result) && elementwise::activation(&site).is_some();
    fits.then_some(next)
}

pub(crate) use window::{conv_geometry, pooling};

/// True when kernels can apply the op as they store.
pub(crate) fn is_activation(site: &Site<'_>) -> bool {
    elementwise::activation(site).is_some()
}

/// True when kernels can apply the product of the op and its operand as they store.
pub(crate) fn is_gate(site: &Site<'_>) -> bool {
    elementwise::activation(site).is_some_and(|a| a.gate().is_some())
}

/// True for functions of two float tensors, element by element.
pub(crate) fn is_binary(kind: &str) -> bool {
    elementwise::binary_op(kind).is_some()
}

/// True for functions of one float tensor, element by element.
pub(crate) fn is_unary(site: &Site<'_>) -> bool {
    elementwise::unary_op(site).is_some()
}

/// The numbers of a constant value.
pub(crate) fn constant_tensor(function: &Function, value: ValueId) -> Option<Tensor> {
    function.constant(value)?.literal().ok()?.as_tensor().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ops that run through the reference evaluation, with the reason. The list only gets shorter.
    const REFERENCE: &[(&str, &[&str])] = &[
        (
            "run by the plan itself",
            &["cond", "coreml_update_state", "read_state", "while_loop", "write_state"],
        ),
        (
            "unpacked when a model is loaded",
            &[
                "const",
                "_const_symbolic",
                "constexpr_affine_dequantize",
                "constexpr_blockwise_shift_scale",
                "constexpr_cast",
                "constexpr_lut_to_dense",
                "constexpr_lut_to_sparse",
                "constexpr_sparse_blockwise_shift_scale",
                "constexpr_sparse_to_dense",
                "shape",
            ],
        ),
        ("lists", &["list_gather", "list_length", "list_read", "list_scatter", "list_write", "make_list"]),
        (
            "results whose shape depends on data, or text",
            &["classify", "non_maximum_suppression", "non_zero"],
        ),
        ("random", &["random_bernoulli", "random_categorical", "random_normal", "random_uniform"]),
        (
            "small or rare in networks",
            &["affine", "conv_quantized", "crop_resize", "fill", "fill_like", "range_1d", "resample"],
        ),
    ];

    #[test]
    fn every_op_has_a_kernel_or_a_reason_to_have_none() {
        let slow: Vec<&str> = REFERENCE.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        let fast = |def: &OpDef| {
            let found = find(def).or_else(|| find_mixed(def.name)).or_else(|| find_indexed(def.name));
            found.is_some() || !def.form.moved_or_filled().is_empty()
        };
        let wrong: Vec<&str> =
            anemone_mil::ops::table().filter(|d| fast(d) == slow.contains(&d.name)).map(|d| d.name).collect();
        assert!(wrong.is_empty(), "in both lists or in none: {wrong:?}");
        let unknown: Vec<&&str> = slow.iter().filter(|k| anemone_mil::ops::find(k).is_none()).collect();
        assert!(unknown.is_empty(), "not in the op table: {unknown:?}");
    }
}
