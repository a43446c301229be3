//! What the tests of several rooms share: the rules of the house as data, and the means to check them.

pub mod corpus;
pub mod costs;
pub mod files;
pub mod filetest;
pub mod house;
pub mod random;
pub mod text;
