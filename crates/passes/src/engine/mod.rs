//! Rewrites that make programs fit for the Neural Engine: one spelling for another that it takes, or takes faster.
//!
//! They are no part of a conversion: which of them a program needs is for those to say who know the device. What
//! differs from device to device comes in as [`Limits`].

mod attention;
mod blocks;
pub mod bound_masks;
pub mod fill_dilations;
mod filters;
pub mod fix_shapes;
pub mod fold_axis;
pub mod hand_in_rows;
pub mod linear_to_conv;
pub mod merge_dims;
pub mod merge_layouts;
pub mod merge_scales;
pub mod move_casts;
pub mod narrow_integers;
pub mod pad_states;
pub mod pad_with_zeros;
pub mod palettize_blocks;
mod pieces;
pub mod raise_convs;
pub mod replace_gather_nd;
pub mod replace_runtime_conv;
pub mod replace_scatter;
pub mod scale_norms;
pub mod select_rows;
pub mod sink_squeezes;
pub mod split_attention;
pub mod split_kernel;
pub mod split_matmul;
pub mod split_pool;
pub mod split_projection;
pub mod split_softmax;
pub mod split_sum;
pub mod turn_products;
pub mod write_out_attention;

use crate::pipeline::{Exactness, Pass, Run};
use crate::{Miss, OpRef, Patch};

/// The largest things that a device takes, and the sizes that it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Extent of height, width and depth, in elements.
    pub extent: usize,
    /// Extent of batch and channels, in elements.
    pub extent_nc: usize,
    /// Outputs of one projection.
    pub outputs: usize,
    /// Width of a convolution kernel.
    pub conv_width: usize,
    /// Height of a convolution kernel.
    pub conv_height: usize,
    /// Width of a max pool kernel.
    pub max_pool_width: usize,
    /// The one max pool kernel width that is taken beyond `max_pool_width`.
    pub max_pool_wide: usize,
    /// Bytes of one row along the inner dim of a matrix product.
    pub matmul_row_bytes: usize,
    /// Axes of a tensor.
    pub rank: usize,
    /// Queries, and keys, from which attention is split.
    pub attention: usize,
    /// Queries of one window of split attention.
    pub window: usize,
    /// Terms of one sum.
    pub sum: usize,
}

/// Those of H16, for callers that know no device.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            extent: 65536,
            extent_nc: 65536,
            outputs: 16384,
            conv_width: 15,
            conv_height: 31,
            max_pool_width: 8,
            max_pool_wide: 32,
            matmul_row_bytes: 65536,
            rank: 5,
            attention: 4096,
            window: 512,
            sum: 2048,
        }
    }
}

/// Looks at one op and answers with a patch that keeps the limits, or says why not; it changes nothing.
pub type Limited = for<'a> fn(OpRef<'a>, &Limits) -> Result<Patch, Miss>;

const fn exact(name: &'static str, rewrite: Limited) -> Pass {
    Pass { name, run: Run::Limited(rewrite), exactness: Exactness::Identical, after: &[] }
}

const fn rounding(name: &'static str, rewrite: Limited) -> Pass {
    Pass { name, run: Run::Limited(rewrite), exactness: Exactness::Rounding, after: &[] }
}

/// The rewrites, in order of name; each stands for itself, and is run where it is asked for.
pub static ENGINE: &[Pass] = &[
    rounding("bound_masks", bound_masks::rewrite),
    exact("fill_dilations", fill_dilations::rewrite),
    exact("fold_axis", fold_axis::rewrite),
    exact("linear_to_conv", linear_to_conv::rewrite),
    exact("merge_dims", merge_dims::rewrite),
    exact("merge_layouts", merge_layouts::rewrite),
    rounding("merge_scales", merge_scales::rewrite),
    exact("move_casts", move_casts::rewrite),
    Pass {
        name: narrow_integers::NAME,
        run: Run::Whole(narrow_integers::run),
        exactness: Exactness::Identical,
        after: &[],
    },
    exact("pad_with_zeros", pad_with_zeros::rewrite),
    rounding("palettize_blocks", palettize_blocks::rewrite),
    exact("raise_convs", raise_convs::rewrite),
    exact("replace_gather_nd", replace_gather_nd::rewrite),
    rounding("replace_runtime_conv", replace_runtime_conv::rewrite),
    exact("replace_scatter", replace_scatter::rewrite),
    rounding("scale_norms", scale_norms::rewrite),
    rounding("select_rows", select_rows::rewrite),
    exact("sink_squeezes", sink_squeezes::rewrite),
    rounding("split_attention", split_attention::rewrite),
    rounding("split_kernel", split_kernel::rewrite),
    rounding("split_matmul", split_matmul::rewrite),
    exact("split_pool", split_pool::rewrite),
    exact("split_projection", split_projection::rewrite),
    exact("split_softmax", split_softmax::rewrite),
    rounding("split_sum", split_sum::rewrite),
    exact("turn_products", turn_products::rewrite),
    rounding("write_out_attention", write_out_attention::rewrite),
];
