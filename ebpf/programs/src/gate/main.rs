//! The kernel gate: programs on the kernel's security hooks. They see what is done to files by the box's cgroup and nothing else.

#![no_std]
#![no_main]

#[path = "../asker.rs"]
mod asker;
mod hold;
mod hooks;
mod kernel;
#[path = "../licence.rs"]
mod licence;
mod marks;
