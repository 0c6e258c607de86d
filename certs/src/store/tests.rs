#![allow(clippy::unwrap_used)]

use tempfile::tempdir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_key_is_private_only_without_any_bit_for_others() {
    const ME: u32 = 1000;
    for (mode, owner, user, expected) in [
        (0o600, ME, ME, true),
        (0o400, ME, ME, true),
        (0o640, ME, ME, false),
        (0o604, ME, ME, false),
        (0o620, ME, ME, false),
        (0o644, ME, ME, false),
        (0o440, 0, ME, true),
        (0o640, 0, ME, true),
        (0o444, 0, ME, false),
        (0o660, 0, ME, false),
        (0o440, 0, 0, false),
    ] {
        assert_eq!(is_private(mode, owner, user), expected, "{mode:o} of {owner} for {user}");
    }
}

#[test]
fn a_written_file_has_its_mode_and_leaves_no_temporary_behind() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("node.key");
    write_atomically(&path, b"one", SECRET).unwrap();
    write_atomically(&path, b"two", SECRET).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(directory.path()), ["node.key"]);
}

#[test]
fn a_write_that_fails_names_the_path_and_leaves_the_old_file() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("taken");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), b"old").unwrap();
    let error = write_atomically(&path, b"new", PUBLIC).unwrap_err();
    assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
    assert_eq!(names(directory.path()), ["taken"]);
    assert_eq!(fs::read(path.join("inside")).unwrap(), b"old");
}

#[test]
fn a_directory_appears_with_all_of_its_files_or_not_at_all() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("a/b/ca");
    let files: [(&str, &[u8], u32); 2] = [("x", b"1", PUBLIC), ("y", b"2", SECRET)];
    create_directory_with(&target, &files).unwrap();
    assert_eq!(mode(&target), 0o700);
    assert_eq!((mode(&target.join("x")), mode(&target.join("y"))), (0o644, 0o600));

    let again = create_directory_with(&target, &files).unwrap_err();
    assert!(matches!(again, CertError::NotEmpty { .. }), "{again}");
    let unwritable: [(&str, &[u8], u32); 2] = [("x", b"1", PUBLIC), ("no/such", b"2", SECRET)];
    let broken = directory.path().join("a/b/broken");
    create_directory_with(&broken, &unwritable).unwrap_err();
    assert_eq!(names(&directory.path().join("a/b")), ["ca"]);
}

#[test]
fn an_empty_directory_is_filled() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("ca");
    fs::create_dir(&target).unwrap();
    create_directory_with(&target, &[("x", b"1", PUBLIC)]).unwrap();
    assert_eq!(names(&target), ["x"]);
}

#[test]
fn a_file_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("big.crt");
    fs::write(&path, vec![b'a'; MAX_PEM_BYTES as usize]).unwrap();
    assert_eq!(read_public(&path).unwrap().len() as u64, MAX_PEM_BYTES);
    fs::write(&path, vec![b'a'; MAX_PEM_BYTES as usize + 1]).unwrap();
    let error = read_public(&path).unwrap_err();
    assert!(matches!(error, CertError::TooLarge { limit: MAX_PEM_BYTES, .. }), "{error}");
}

#[test]
fn text_that_is_not_pem_is_refused_with_the_reason() {
    let certificate = |text: &[u8]| parse_certificates(text, "node.crt").unwrap_err().to_string();
    assert!(certificate(b"").contains("node.crt: no BEGIN CERTIFICATE line"));
    assert!(certificate(b"\x30\x82\x01").contains("no BEGIN CERTIFICATE line"));
    assert!(certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n").contains("cut off"));
    let broken = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    assert!(certificate(broken).contains("not base64"));
    let many = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(5);
    assert!(certificate(&many).contains("more than 4 certificates"));
    let two = &many[..many.len() / 5 * 2];
    let error = parse_sole_certificate(two, "ca.crt").unwrap_err().to_string();
    assert!(error.contains("ca.crt: 2 certificates where one is expected"), "{error}");
    assert!(text(vec![0x30, 0x82, 0xff], "x").unwrap_err().to_string().contains("not DER"));
}

#[test]
fn no_piece_of_a_broken_key_is_in_its_error() {
    let broken = b"-----BEGIN PRIVATE KEY-----\nSECRETSECRET\x01\n-----END PRIVATE KEY-----\n";
    let error = parse_key(broken, "node.key").unwrap_err();
    assert_eq!(error.to_string(), "node.key: the PEM text is not base64");
    assert!(!format!("{error:?}").contains("SECRET"));
    let encrypted =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = parse_key(encrypted, "node.key").unwrap_err().to_string();
    assert!(error.contains("no unencrypted PEM private key"), "{error}");
}

#[test]
fn a_path_without_a_name_is_an_error() {
    let error = write_atomically(Path::new("/"), b"x", PUBLIC).unwrap_err();
    assert!(matches!(error, CertError::Io { .. }), "{error}");
}
