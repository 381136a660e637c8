use agentbox_core::{Granted, Request, verdict::Because};

fn main() {}

fn forge(request: Request, because: Because) -> Granted {
    Granted::by_policy(request, because)
}
