//! What the scanner takes for code, for a function and for a test.

use super::*;

#[test]
fn comments_and_literals_are_blank_and_lines_stay() {
    let check = |text: &str, expected: &str| {
        let code = code_of(text);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{text}");
        assert_eq!(code.matches('\n').count(), text.matches('\n').count(), "{text}");
        assert_eq!(code.chars().count(), text.chars().count(), "{text}");
    };
    check("a // b\nc", "a c");
    check("a /* b /* c */ \n d */ e", "a e");
    check(r#"a("b \" { c", d)"#, "a( , d)");
    check(r##"a(r#"b " { "#, d)"##, "a( , d)");
    check(r#"a(b"b", c"c", br"\", d)"#, "a( , , , d)");
    check(r"a('{', '\'', '\u{7b}', b'{', d)", "a( , , , , d)");
    check("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}");
    check("let r#type = br + r;", "let r#type = br + r;");
    check("\"two\nlines\" b", "b");
    check("unfinished \"", "unfinished");
}

#[test]
fn a_needle_is_found_only_as_words_of_its_own() {
    assert_eq!(occurrences("rand::a operand::b", "rand::"), [0]);
    assert_eq!(occurrences("HashMap HashMapper MyHashMap", "HashMap"), [0]);
    assert_eq!(occurrences("a.unwrap() a.unwrap_or(b)", ".unwrap()"), [1]);
}

#[test]
fn functions_are_found_with_the_lines_of_their_bodies() {
    let code = code_of(
        "trait T {\n    fn declared(&self) -> [u8; 4];\n}\n\
         fn short() {}\n\
         fn long(f: fn(u8) -> u8, a: [u8; 2]) -> u8\nwhere\n    u8: Copy,\n\
         {\n    if true {\n        \"}\";\n    }\n    1\n}\n",
    );
    let function = |name: &str, line, body| Function { name: name.to_owned(), line, body };
    assert_eq!(functions(&code), [function("short", 4, 0), function("long", 5, 4)]);
}

#[test]
fn test_regions_end_with_their_block() {
    let code = code_of("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
    assert_eq!(test_lines(&code), [false, true, true, true, true, false, false]);
    let other = code_of("#[cfg(any(test, feature = \"chaos\"))]\nmod hooks {}\n");
    assert!(test_lines(&other).iter().all(|test| !test), "hooks may be in the product");
    let declaration = code_of("#[cfg(test)]\nmod tests;\nfn product() {\n}\n");
    assert!(test_lines(&declaration).iter().all(|test| !test), "the block is of another item");
}

#[test]
fn test_files_are_known_by_folder_or_by_declaration() {
    let files = [
        File::new("a/src/lib.rs", "#[cfg(test)]\nmod properties;\nmod product;\n"),
        File::new("a/src/properties.rs", ""),
        File::new("a/src/product.rs", "#[cfg(test)]\nmod cases;\n"),
        File::new("a/src/product/cases.rs", ""),
        File::new("a/src/product/cases/more.rs", ""),
        File::new("a/src/cases.rs", ""),
        File::new("a/tests/failover.rs", ""),
    ];
    let found = test_files(&files);
    let expected = [
        "a/src/product/cases.rs",
        "a/src/product/cases/more.rs",
        "a/src/properties.rs",
        "a/tests/failover.rs",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}
