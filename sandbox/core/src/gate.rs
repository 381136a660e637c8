//! The one question that every room asks.

use std::{future::Future, pin::Pin};

use crate::{Permit, Refusal, Request};

/// The answer, once there is one.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Permit, Refusal>> + Send + 'a>>;

/// Whoever would act asks first. Dropping the future says that the asker has gone: nothing may then be done for it.
pub trait Gate: Send + Sync {
    /// Asks for a permit for all of `request`; waits while a person is asked.
    fn ask(&self, request: Request) -> Asking<'_>;
}
