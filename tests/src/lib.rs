//! What the end-to-end tests share: the built program, homes of their own, far sides on loopback, a real terminal.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test's stage fails by panicking, and says what it skips"
)]

pub mod binary;
pub mod browser;
pub mod certificates;
pub mod database;
pub mod home;
pub mod mariadb;
pub mod origin;
pub mod outside;
pub mod process;
pub mod redis;
pub mod skip;
pub mod terminal;
pub mod tree;

pub use database::Database;
pub use home::{Home, Who};
pub use mariadb::MariaDb;
pub use origin::Origin;
pub use process::{Finished, Going};
pub use redis::Redis;
