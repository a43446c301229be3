//! Room `package` of Anemone.
