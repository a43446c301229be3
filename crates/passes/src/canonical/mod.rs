//! Passes that bring a program to its canonical form: known ops, one spelling per idea, nothing that can be folded.

mod affine;
pub mod fold_batch_norm;
pub mod fold_conv_scale;
pub mod fuse_conv_bias;
pub mod fuse_gelu;
pub mod fuse_hard_sigmoid;
pub mod fuse_layer_norm;
pub mod fuse_leaky_relu;
pub mod fuse_linear_bias;
pub mod fuse_moment_norm;
pub mod fuse_pad;
pub mod fuse_relu6;
pub mod fuse_silu;
pub mod merge_casts;
pub mod merge_duplicates;
pub mod merge_reshapes;
pub mod merge_transposes;
mod product;
pub mod remove_noops;
pub mod remove_transposes;
pub mod split_gather;
