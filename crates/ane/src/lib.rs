//! Room `ane` of Anemone.
