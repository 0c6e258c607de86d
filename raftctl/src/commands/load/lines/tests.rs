use super::*;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// A file with this text, as long as the directory lives.
fn file(text: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::fs::write(&path, text).expect("it may be written");
    (directory, path)
}

fn source(path: &Path) -> std::result::Result<Source, String> {
    let shown = path.display().to_string();
    Source::open(path, Grammar::Plain).map_err(|report| report.message.replace(&shown, "file"))
}

/// All pairs, and how reading ended.
async fn fed(source: Source, from_line: u64) -> (Vec<(String, String)>, Result<Count>) {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut pairs = Vec::new();
    let mut feed = source.feed(from_line);
    loop {
        match feed.recv().await.expect("reading has an end") {
            Fed::Lines(lines) => {
                pairs.extend(lines.iter().map(|line| (text(&line.key), text(&line.value))));
            }
            Fed::End(end) => return (pairs, end),
        }
    }
}

/// A FIFO that a thread writes this to.
fn fifo(text: &'static [u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("it may be made");
    let writer = path.clone();
    std::thread::spawn(move || std::fs::write(writer, text));
    (directory, path)
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_line_is_a_key_a_tab_and_a_value() {
    for (text, pairs) in [
        (&b""[..], vec![]),
        (b"a\t1\nb\t\n", vec![pair("a", "1"), pair("b", "")]),
        (b"a\tx\ty", vec![pair("a", "x\ty")]),
        (b"a\0b\t\0\n", vec![pair("a\0b", "\0")]),
    ] {
        let (_directory, path) = file(text);
        let source = source(&path).expect("its lines are good");
        let lines = pairs.len() as u64;
        assert_eq!(source.lines(), Some(lines));
        let is_open = !text.is_empty() && !text.ends_with(b"\n");
        let count = Count { lines, is_open, ..Count::default() };
        let told = format!("line {lines}, the last one, has no newline: is the input whole?");
        assert_eq!(count.warnings().contains(&told), is_open);
        assert_eq!(fed(source, 1).await, (pairs, Ok(count)));
    }
}

#[test]
fn a_bad_line_is_named_by_its_number() {
    let long_key = [&[b'k'; KEY_BYTES_MAX + 1][..], b"\tv\n"].concat();
    let long_value = [b"k\t", &vec![b'v'; VALUE_BYTES_MAX + 1][..], b"\n"].concat();
    let endless = vec![b'x'; 3 * LINE_BYTES_MAX];
    for (text, why) in [
        (&b"a\t1\nno tab\n"[..], "file:2: no tab; a line is KEY<TAB>VALUE"),
        (b"a\t1\n\nb\t2\n", "file:2: an empty line; a line is KEY<TAB>VALUE"),
        (b"\tvalue\n", "file:1: the key is empty"),
        (&long_key, "file:1: the key has 1025 bytes, at most 1024 are allowed"),
        (&long_value, "file:1: the value has 1044481 bytes, at most 1044480 are allowed"),
        (&endless, "file:1: longer than 1045506 bytes"),
    ] {
        let (_directory, path) = file(text);
        assert_eq!(source(&path).map(|_| ()), Err(why.to_owned()));
    }
}

#[test]
fn the_largest_line_is_taken() {
    let text = [&[b'k'; KEY_BYTES_MAX][..], b"\t", &vec![b'v'; VALUE_BYTES_MAX], b"\n"].concat();
    for text in [&text[..], &text[..text.len() - 1]] {
        let (_directory, path) = file(text);
        assert_eq!(source(&path).map(|source| source.lines()), Ok(Some(1)));
    }
}

#[tokio::test]
async fn a_fifo_is_read_once_and_its_end_tells_how_much_it_was() {
    let (_directory, path) = fifo(b"a\t1\nb\t2\nc\t3");
    let source = source(&path).expect("it can be opened");
    assert_eq!(source.lines(), None);
    assert!(matches!(source.again(), Again::Gone(_)));
    let count = Count { lines: 3, is_open: true, ..Count::default() };
    assert_eq!(fed(source, 2).await, (vec![pair("b", "2"), pair("c", "3")], Ok(count)));
}

#[tokio::test]
async fn what_comes_before_a_bad_line_of_a_fifo_is_given_and_bad_lines_can_be_skipped() {
    let (_directory, path) = fifo(b"a\t1\nno tab\nb\t2\n");
    let (pairs, end) = fed(source(&path).expect("it can be opened"), 1).await;
    assert_eq!(pairs, [pair("a", "1")]);
    let report = end.expect_err("the second line is bad");
    assert_eq!(report.code, Some(codes::BAD_LINE));
    assert!(report.message.ends_with("fifo:2: no tab; a line is KEY<TAB>VALUE"), "{report:?}");

    let (_directory, path) = fifo(b"a\t1\nno tab\nb\t2\n");
    let (pairs, end) = fed(source(&path).expect("it can be opened"), 3).await;
    assert_eq!((pairs, end.map(|count| count.lines)), (vec![pair("b", "2")], Ok(3)));
}

#[tokio::test]
async fn a_file_that_grows_shrinks_or_is_rewritten_meanwhile_is_noticed() {
    for (text, pairs) in [
        (&b"a\t1\nb\t2\nc\t3\n"[..], vec![pair("a", "1"), pair("b", "2")]),
        (b"a\t1\n", vec![pair("a", "1")]),
        (b"a\t1\nno tab\n", vec![pair("a", "1")]),
        (b"", vec![]),
    ] {
        let (_directory, path) = file(b"a\t1\nb\t2\n");
        let source = source(&path).expect("its lines are good");
        std::fs::write(&path, text).expect("it may be written");
        let (read, end) = fed(source, 1).await;
        assert_eq!(read, pairs);
        let report = end.expect_err("it is another file now");
        assert_eq!(report.code, Some(codes::INPUT_CHANGED), "{report:?}");
    }
}

#[tokio::test]
async fn carriage_returns_belong_to_the_values_and_are_told() {
    let (_directory, path) = file(b"a\t1\nb\t2\r\nc\t3\r\n");
    let (pairs, end) = fed(source(&path).expect("its lines are good"), 1).await;
    assert_eq!(pairs, [pair("a", "1"), pair("b", "2\r"), pair("c", "3\r")]);
    let warnings = end.expect("nothing changed it").warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("2 values end with a carriage return, the first on line 2"));
}

#[tokio::test]
async fn reading_ahead_has_a_limit() {
    let text = b"key\tvalue\n".repeat(200_000);
    let (_directory, path) = file(&text);
    let mut feed = source(&path).expect("its lines are good").feed(1);
    let mut lines = 0;
    while let Some(Fed::Lines(batch)) = feed.recv().await {
        let bytes: usize = batch.iter().map(Line::size).sum();
        assert!(bytes <= READ_BYTES + LINE_BYTES_MAX, "{bytes}");
        assert!(feed.len() <= BATCHES_MAX);
        lines += batch.len();
    }
    assert_eq!(lines, 200_000);
}

#[tokio::test]
async fn quoted_lines_hold_any_key_and_any_value() {
    for (text, grammar, pairs) in [
        (&b"$'a\\tb'\t$'1\\n2'\n"[..], Grammar::Quoted, vec![pair("a\tb", "1\n2")]),
        (b"a\\n\tC:\\x\n", Grammar::Quoted, vec![pair("a\\n", "C:\\x")]),
        (b"$'a'\t$'b'\n", Grammar::Plain, vec![pair("$'a'", "$'b'")]),
        (b"a\t$''\n", Grammar::Quoted, vec![pair("a", "")]),
    ] {
        let (_directory, path) = file(text);
        let source = Source::open(&path, grammar).expect("its lines are good");
        assert_eq!(fed(source, 1).await.0, pairs);
    }
    for (text, why) in [
        (&b"$'a\tb\n"[..], "file:1: the key: it begins with $' and does not end with '"),
        (b"$''\tb\n", "file:1: the key is empty"),
        (b"a\t$'\\q'\n", "file:1: the value: a backslash in $'..' stands before"),
    ] {
        let (_directory, path) = file(text);
        let refused = Source::open(&path, Grammar::Quoted).map(|_| ()).expect_err("it is bad");
        let shown = path.display().to_string();
        let said = refused.message.replace(&shown, "file");
        assert!(said.starts_with(why), "{said}");
    }
}

#[test]
fn what_is_hardly_meant_to_be_lines_is_told_and_a_key_is_still_any_bytes() {
    for (text, told) in [
        (&b"\x1f\x8b\x08"[..], "file:1: no tab; a line is KEY<TAB>VALUE (it begins like a file"),
        (b"\x1f\x8b\t1\nx", "file:2: no tab; a line is KEY<TAB>VALUE (it begins like a file"),
        (b"\xff\xfea\0\n\0", "file:1: no tab; a line is KEY<TAB>VALUE (it begins like text in"),
    ] {
        let (_directory, path) = file(text);
        let why = source(&path).err().expect("a line is bad");
        assert!(why.starts_with(told), "{why}");
    }
    let (_directory, path) = file(b"\xef\xbb\xbfa\t1\nb\t2\n");
    let count = source(&path).expect("its lines are good").count().expect("they were counted");
    let told = "it begins like text with a byte order mark: that is part of the first key";
    assert_eq!(count.warnings(), [told]);
}
