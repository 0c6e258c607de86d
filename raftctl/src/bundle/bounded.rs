//! Reading files of a bundle, which are small.

use std::path::Path;

use protocol::BootstrapRecord;

use crate::codes;
use crate::report::{Report, Result};

/// The largest plan or record that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a record of a history; `None` if it does not exist.
///
/// # Errors
/// If it cannot be read, or is none.
pub(super) fn read_record(path: &Path) -> Result<Option<BootstrapRecord>> {
    let Some(bytes) = read_bounded(path)? else { return Ok(None) };
    let bad = |error| Report::new(codes::LOCAL_FILE, format!("{}: {error}", path.display()));
    BootstrapRecord::decode(&bytes).map(Some).map_err(bad)
}

/// Reads a small file; `None` if it does not exist.
pub(super) fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Report::io(path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Report::io(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("{}: larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(Report::new(codes::LOCAL_FILE, message));
    }
    Ok(Some(bytes))
}
