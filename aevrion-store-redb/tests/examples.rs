//! Promise: the examples run without an error.

#[path = "../examples/embed.rs"]
mod embed;

#[test]
fn embed() {
    embed::main().expect("the example runs");
}
