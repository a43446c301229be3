//! Room `exec` of Anemone.
