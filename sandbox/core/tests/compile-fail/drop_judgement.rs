#![deny(unused_must_use)]

use agentbox_core::{Request, policy::Policy};

fn main() {}

fn forget(policy: &Policy, request: Request) {
    policy.judge(request);
}
