//! The example of two nodes keeps its promise.

#[path = "../examples/two_nodes.rs"]
mod two_nodes;

#[test]
fn two_nodes_keep_in_step() {
    two_nodes::main().expect("the example succeeds");
}
