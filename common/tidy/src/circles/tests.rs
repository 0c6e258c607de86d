//! What is a circle, and what is none.

use super::*;

/// Returns the circles of a crate, which is given as pairs of path below `src/` and text.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> =
        files.iter().map(|(path, text)| File::new(format!("x/src/{path}"), *text)).collect();
    let files: Vec<&File> = files.iter().collect();
    check("x", "x/src/lib.rs", &files).iter().map(ToString::to_string).collect()
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\nfn f() { crate::a::g(); }\n"),
    ];
    let ties =
        "x: a circle of 2 files\n  x/src/a.rs -> x/src/b.rs: B\n  x/src/b.rs -> x/src/a.rs: g";
    assert_eq!(found(&files), [ties]);
}

#[test]
fn a_way_round_through_others_is_a_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
        ("a.rs", "use super::b;\nfn f() { b::g(); }\n"),
        ("b.rs", "use crate::{c::{C}, d::D};\npub fn g() {}\n"),
        ("c.rs", "use self::super::a::f;\npub struct C;\n"),
        ("d.rs", "pub struct D;\n"),
    ];
    let found = found(&files);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("x: a circle of 3 files\n"), "{}", found[0]);
    assert!(!found[0].contains("d.rs"), "{}", found[0]);
}

#[test]
fn arrows_that_all_point_down_are_no_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
        ("a.rs", "use crate::b::B;\nuse std::fmt;\npub struct A(B);\n"),
        ("b.rs", "use other::a::A;\npub struct B(A);\n"),
    ];
    assert_eq!(found(&files), [""; 0]);
}

#[test]
fn a_face_hides_no_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"),
        ("a.rs", "use crate::B;\npub struct A(B);\n"),
        ("b.rs", "use crate::A;\npub struct B(A);\n"),
    ];
    assert_eq!(found(&files).len(), 1);
}

#[test]
fn a_face_that_hands_everything_on_hides_no_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::*;\npub use b::*;\n"),
        ("a.rs", "use crate::B;\npub struct A(B);\n"),
        ("b.rs", "use crate::A;\npub struct B(A);\n"),
    ];
    assert_eq!(found(&files).len(), 1);
}

#[test]
fn a_file_of_one_macro_is_no_face() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::B;\nrows! { A B }\n"),
        ("b.rs", "use crate::a::A;\npub struct B(A);\n"),
    ];
    assert_eq!(found(&files).len(), 1);
}

#[test]
fn a_face_makes_no_circle() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"),
        ("a.rs", "use crate::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\n"),
    ];
    assert_eq!(found(&files), [""; 0]);
}

#[test]
fn a_module_and_those_below_it_may_use_each_other() {
    let parent = "mod b;\npub struct A;\nfn f() { b::g(A); }\n";
    let files = [
        ("lib.rs", "mod a;\nmod c;\n"),
        ("a.rs", parent),
        ("a/b.rs", "use super::A;\npub fn g(_: A) {}\n"),
        ("c.rs", "pub struct C;\n"),
    ];
    assert_eq!(found(&files), [""; 0]);
    let outside = ("c.rs", "use crate::a::A;\npub struct C(A);\n");
    let child = ("a/b.rs", "use crate::c::C;\npub fn g(_: C) {}\n");
    assert_eq!(found(&[files[0], files[1], child, outside]).len(), 1, "through another family");
}

#[test]
fn a_family_has_more_than_two_generations() {
    let files = [
        ("lib.rs", "mod a;\npub struct L;\nfn f() { a::g(); }\n"),
        ("a.rs", "mod b;\npub fn g() { b::h(); }\n"),
        ("a/b.rs", "use crate::L;\npub fn h() -> L {}\n"),
    ];
    assert_eq!(found(&files), [""; 0]);
    let unused = ("a.rs", "mod b;\nuse crate::c::C;\npub fn g(_: C) {}\n");
    let files = [
        ("lib.rs", "mod a;\nmod c;\n"),
        unused,
        ("a/b.rs", "use super::g;\npub fn h() { g(); }\n"),
        ("c.rs", "use crate::a::b::h;\npub struct C;\n"),
    ];
    assert_eq!(found(&files).len(), 1, "the way round leaves the family");
}

#[test]
fn what_only_tests_use_ties_nothing() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
    ];
    assert_eq!(found(&files), [""; 0]);
}

#[test]
fn modules_inside_a_file_belong_to_it() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "pub mod inner {\n    use super::super::b::B;\n    pub struct A(B);\n}\n"),
        ("b.rs", "use crate::a::inner::A;\npub struct B;\n"),
    ];
    assert_eq!(found(&files).len(), 1);
}
