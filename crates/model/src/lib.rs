//! Room `model` of Anemone.
