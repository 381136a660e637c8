//! Room: broker.

pub mod meaning;
