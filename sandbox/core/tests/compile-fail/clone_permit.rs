use agentbox_core::Permit;

fn main() {}

fn twice(permit: &Permit) -> Permit {
    permit.clone()
}

fn is_clone<T: Clone>() {}

fn ask() {
    is_clone::<Permit>();
}
