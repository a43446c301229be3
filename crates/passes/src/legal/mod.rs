//! Passes that fit a canonical program to what it will run on.

pub mod lower_precision;
mod range;
mod squares;

pub(crate) use range::only_masks;
