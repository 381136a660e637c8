use agentbox_core::Hold;

fn main() {}

fn twice(hold: Hold) {
    let _ = hold.settle(&[]);
    let _ = hold.settle(&[]);
}
