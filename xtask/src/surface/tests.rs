//! Made-up crates on the disk, and the lists they yield.

use std::path::Path;

use super::surface;

/// The surface of the crate `a-b` with these files in `src`.
fn listed(files: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    for (name, text) in files {
        let path = directory.path().join("a-b/src").join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        std::fs::write(path, text)?;
    }
    surface("a-b", &|path| std::fs::read_to_string(directory.path().join(path)).ok())
}

#[track_caller]
fn assert_surface(files: &[(&str, &str)], expected: &[&str]) {
    match listed(files) {
        Ok(lines) => assert_eq!(lines, expected),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn an_added_item_is_an_added_line() {
    let before = "pub fn f() {}\nfn own() {}\npub(crate) fn shared() {}\n";
    assert_surface(&[("lib.rs", before)], &["fn a_b::f()"]);
    let after = format!("{before}pub const N: usize = 1;\n");
    assert_surface(&[("lib.rs", &after)], &["const a_b::N: usize", "fn a_b::f()"]);
}

#[test]
fn hidden_parts_are_not_listed() {
    let text = "#[doc(hidden)] pub fn f() {}\n#[doc(hidden)] pub mod m { pub struct Inner; }\n\
        pub struct S { pub a: u8, #[doc(hidden)] pub b: u8 }\n\
        impl S { #[doc(hidden)] pub fn f(&self) {} pub(crate) fn g(&self) {} pub fn h(&self) {} }\n\
        pub enum E { A, #[doc(hidden)] B, C { a: u8, #[doc(hidden)] b: u8 } }\n\
        pub trait T { fn a(&self); #[doc(hidden)] fn b(&self); }\n";
    let expected = [
        "enum a_b::E",
        "variant a_b::E::A",
        "variant a_b::E::C { a: u8, .. }",
        "struct a_b::S { .. }",
        "field a_b::S::a: u8",
        "fn a_b::S::h(&self)",
        "trait a_b::T",
        "fn a_b::T::a(&self)",
    ];
    assert_surface(&[("lib.rs", text)], &expected);
}

#[test]
fn items_of_tests_are_not_listed() {
    let text = "#[cfg(test)] pub mod absent;\n#[cfg(feature = \"testkit\")] pub mod kit;\n\
        #[cfg(any(test, feature = \"testkit\"))] pub fn f() {}\n#[cfg(feature = \"net\")] pub struct S;\n\
        #[cfg(feature = \"testkit\")] impl S { pub fn probe(&self) {} }\n\
        #[cfg(feature = \"testkit\")] pub use kit::Kit;\n";
    assert_surface(&[("lib.rs", text), ("kit.rs", "pub struct Kit;")], &["struct a_b::S"]);
}

#[test]
fn private_modules_show_re_exported_items() {
    let lib = "mod inner;\npub use inner::{Shown, f as g};\npub use inner::deep::Deep;\n";
    let inner = "pub mod deep;\nuse self::deep::Deep as Alias;\npub struct Shown(pub u8);\npub struct Unseen;\n\
        pub fn f() {}\nimpl Alias { pub const N: u8 = 1; }\n";
    let deep = "pub struct Deep;\nimpl super::Shown { pub fn new(mut n: u8) -> Self { n += 1; Self(n) } }\n";
    let expected = [
        "struct a_b::Deep",
        "const a_b::Deep::N: u8",
        "struct a_b::Shown",
        "field a_b::Shown::0: u8",
        "fn a_b::Shown::new(n: u8) -> Self",
        "fn a_b::g()",
    ];
    assert_surface(&[("lib.rs", lib), ("inner/mod.rs", inner), ("inner/deep.rs", deep)], &expected);
}

#[test]
fn globs_show_public_items() {
    let lib = "mod inner;\nmod other { pub use super::inner::*; pub struct Other; }\npub use other::*;\n";
    let inner =
        "pub struct A;\npub(crate) struct B;\npub mod m { pub fn f() {} }\npub use crate::other::*;\n";
    let expected = ["struct a_b::A", "struct a_b::Other", "mod a_b::m", "fn a_b::m::f()"];
    assert_surface(&[("lib.rs", lib), ("inner.rs", inner)], &expected);
}

#[test]
fn a_second_path_is_a_line_of_its_own() {
    let lib = "pub mod m;\npub use m::S;\npub use m as n;\npub use bytes::Bytes;\nmod join { pub fn join() {} }\n\
        pub use join::join;\n";
    let expected = [
        "use a_b::Bytes = bytes::Bytes",
        "use a_b::S = a_b::m::S",
        "fn a_b::join()",
        "mod a_b::m",
        "struct a_b::m::S",
        "use a_b::n = a_b::m",
    ];
    assert_surface(&[("lib.rs", lib), ("m.rs", "pub struct S;")], &expected);
}

#[test]
fn a_line_says_all_of_the_signature() {
    let text = "#[non_exhaustive] pub enum E { #[non_exhaustive] A(u8) }\npub struct S<T> { pub a: T }\n\
        impl<T: Copy> S<T> { pub const fn get(&self) -> T { self.a } pub fn set(mut self: Box<Self>) {} }\n\
        pub trait T: Send + 'static { type A: Copy; const N: u8 = 1; fn f(&mut self) {} }\n\
        pub type Alias<T> = Vec<S<T>>;\npub static X: u8 = 1;\n#[macro_export] macro_rules! m { () => {} }\n\
        pub async fn f<A>(a: &A, (b, _): (u8, u8)) -> Result<(), u8>\nwhere\n    A: Copy,\n{ Ok(()) }\n";
    let expected = [
        "type a_b::Alias<T> = Vec<S<T>>",
        "#[non_exhaustive] enum a_b::E",
        "#[non_exhaustive] variant a_b::E::A(u8)",
        "struct a_b::S<T>",
        "field a_b::S::a: T",
        "const fn a_b::S::get(&self) -> T in impl<T: Copy> S<T>",
        "fn a_b::S::set(self: Box<Self>) in impl<T: Copy> S<T>",
        "trait a_b::T: Send + 'static",
        "type a_b::T::A: Copy",
        "const a_b::T::N: u8 { .. }",
        "fn a_b::T::f(&mut self) { .. }",
        "static a_b::X: u8",
        "async fn a_b::f<A>(a: &A, _: (u8, u8)) -> Result<(), u8> where A: Copy",
        "macro a_b::m!",
    ];
    assert_surface(&[("lib.rs", text)], &expected);
}

#[test]
fn nothing_is_left_out_in_silence() {
    for text in
        ["mod absent;", "mod m {}\npub use m::Absent;", "mod m {}\nimpl m::Absent { pub fn f() {} }", "?"]
    {
        assert!(listed(&[("lib.rs", text)]).is_err(), "{text}");
    }
    assert!(listed(&[]).is_err());
}
