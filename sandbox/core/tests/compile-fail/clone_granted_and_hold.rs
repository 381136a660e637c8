use agentbox_core::{Granted, Hold, permit::Token};

fn main() {}

fn is_clone<T: Clone>() {}

fn ask() {
    is_clone::<Granted>();
    is_clone::<Hold>();
    is_clone::<Token>();
}
