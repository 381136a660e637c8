//! The connect probes, one matter a file. They see the sockets of the box's cgroup and nothing else.

#![no_std]
#![no_main]

mod asker;
mod connect;
mod create;
mod established;
mod licence;
mod seen;
