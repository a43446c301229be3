//! Room `mil` of Anemone.
