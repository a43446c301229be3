//! Room `passes` of Anemone.
