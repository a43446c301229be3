//! Room `anemone` of Anemone.
