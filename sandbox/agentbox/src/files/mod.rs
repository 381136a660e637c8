//! Judging what an agent does to files.

#[allow(dead_code, unused_imports, reason = "until the file gate asks it, only its tests do")]
pub(crate) mod git;
