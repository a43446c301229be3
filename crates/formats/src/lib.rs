//! Room `formats` of Anemone.
