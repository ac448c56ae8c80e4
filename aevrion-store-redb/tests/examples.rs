//! Promise: the examples do what they say.

#[path = "../examples/embed.rs"]
mod embed;

#[test]
fn embed() {
    embed::main().expect("the example runs");
}
