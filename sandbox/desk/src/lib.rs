//! Room: desk.
