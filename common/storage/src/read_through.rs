//! Reads the whole log from the disk while it is used: what rots where nobody reads is found while
//! other members still have it.

use bytes::Bytes;
use consensus::{Chain, LogIndex};
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode};
use std::path::Path;

use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{CONFIGURATION, LOG, META, Owner, index_of};
use crate::options;
use crate::record::Record;

/// Checks every record that is on the disk now; returns how many bytes that were. `pass` is told of
/// so many bytes at a time; it may wait, and ends the work by `false`.
///
/// It reads through a database of its own, past caches where the file system allows it.
///
/// # Errors
/// [`StorageError::Corrupt`] if anything is damaged. Other errors say nothing about the log: files
/// come and go meanwhile.
pub(crate) fn read_through(
    path: &Path,
    owner: &Owner,
    pass: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, StorageError> {
    let db = open(path, true).or_else(|_| open(path, false))?;
    let (mut bytes, mut before) = (0, None::<(LogIndex, Chain)>);
    for item in db.iterator_cf(family(&db, LOG)?, IteratorMode::Start) {
        let (key, value) = item.map_err(|error| database("reading the log through", &error))?;
        let size = value.len() as u64;
        let record = Record::decode(owner, index_of(&key)?, Bytes::from(value))?;
        for (header, raw) in record.raw_headers() {
            let id = header.id;
            let follows = before.filter(|(last, _)| last.next() == id.index);
            if let Some((_, chain)) = follows
                && protocol::chain_of(chain, raw) != header.chain
            {
                let why = "it and the entry before it are whole, and do not belong to one log";
                return Err(StorageError::corrupt(format!("log entry {id}"), why));
            }
            record.entry(id.index)?;
            before = Some((id.index, header.chain));
        }
        bytes += size;
        if !pass(size) {
            break;
        }
    }
    Ok(bytes)
}

fn open(path: &Path, direct: bool) -> Result<DB, StorageError> {
    let mut options = options::reading();
    options.set_use_direct_reads(direct);
    let families =
        [LOG, CONFIGURATION, META].map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    DB::open_cf_descriptors_read_only(&options, path, families, false)
        .map_err(|error| database("reading the log through", &error))
}
