//! Room: broker.

pub mod meaning;

pub mod look;

pub mod looker;
