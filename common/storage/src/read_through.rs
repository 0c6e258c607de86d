//! Reads the whole log from the disk while it is used: what rots where nobody reads is found while
//! other members still have it.

use bytes::Bytes;
use consensus::{Chain, LogIndex};
use rocksdb::{ColumnFamilyDescriptor, DB};
use std::path::Path;

use crate::compacted;
use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{COMPACTED_KEY, CONFIGURATION, LOG, META, Owner};
use crate::options;
use crate::seek::Records;

/// Checks every record of the log that is on the disk now, but not what was compacted; returns how
/// many bytes that were. `pass` is told of so many bytes at a time; it may wait, and ends the work
/// by `false`.
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
    let doing = "reading the log through";
    let base = db.get_cf(family(&db, META)?, COMPACTED_KEY);
    let base = match base.map_err(|error| database(doing, &error))? {
        Some(bytes) => compacted::decode(&Bytes::from(bytes))?.last.index,
        None => LogIndex::ZERO,
    };
    let mut records = Records::new(&db, *owner, base.next(), None)?;
    let mut before = None::<(LogIndex, Chain)>;
    loop {
        let begun = records.bytes;
        let Some((_, record)) = records.next_record()? else { break };
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
        if !pass(records.bytes - begun) {
            break;
        }
    }
    Ok(records.bytes)
}

fn open(path: &Path, direct: bool) -> Result<DB, StorageError> {
    let mut options = options::reading();
    options.set_use_direct_reads(direct);
    let families =
        [LOG, CONFIGURATION, META].map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    DB::open_cf_descriptors_read_only(&options, path, families, false)
        .map_err(|error| database("reading the log through", &error))
}
