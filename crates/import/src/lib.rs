//! Room `import` of Anemone.
