//! Tests of git by meaning: real git commands judged call by call, forged repositories, and readers fed with noise.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod commands;
mod forged;
mod readers;
mod repository;
mod steady;
mod traced;
