//! Secrets and what stands for them: placeholders, how they are known again, and how the one takes the other's place.

pub(crate) mod aws;
pub(crate) mod certificate;
pub mod formats;
pub(crate) mod handed;
mod issued;
mod placeholder;
mod swap;

pub use issued::Issued;
pub(crate) use issued::{Told, host_header};
pub(crate) use placeholder::{Shape, placeholder, shape};
pub(crate) use swap::{Stream, Swaps};
