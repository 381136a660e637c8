//! Room: kernel.

pub mod layer;
