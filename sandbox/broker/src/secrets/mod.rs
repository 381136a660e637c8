//! Secrets and what stands for them: placeholders, how they are known again, and how the one takes the other's place.

pub(crate) mod aws;
pub mod formats;
mod issued;
mod placeholder;
mod swap;

pub use issued::Issued;
pub(crate) use issued::host_header;
pub(crate) use placeholder::{Shape, placeholder, shape};
pub(crate) use swap::{Stream, Swaps};
