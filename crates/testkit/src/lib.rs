//! Room `testkit` of Anemone.
