//! Passes that fit a canonical program to what it will run on.

pub mod lower_precision;
mod range;
mod squares;

pub(crate) use range::{LARGE, MASK, only_masks};
