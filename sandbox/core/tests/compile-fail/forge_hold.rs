use agentbox_core::{Hold, Request, verdict::{Because, Terms}};

fn main() {}

fn forge(request: Request, because: Because, terms: Terms) -> Hold {
    Hold { request, because, terms }
}
