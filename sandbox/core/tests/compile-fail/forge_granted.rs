use agentbox_core::{Granted, Request, verdict::Because};

fn main() {}

fn forge(request: Request, because: Because) -> Granted {
    Granted { request, because, rulings: Vec::new() }
}
