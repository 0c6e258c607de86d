//! Takes over a snapshot's state as a whole: fills a new directory, then puts it in force.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};
use state_machine::Pair;

use crate::database::database;
use crate::error::StorageError;
use crate::options;
use crate::snapshot::SnapshotReader;
use crate::space::Sizes;
use crate::state::checkpoint::check_applied;
use crate::state::{Live, StateStore, links};

/// A table becomes no larger than this, but for its last pair.
const TABLE_BYTES: u64 = 64 * 1024 * 1024;

impl StateStore {
    /// Replaces the state by a snapshot's, durably. The snapshot is verified on the way; on any
    /// error, and after a crash before the end, the old state is in force. Views of the old state
    /// stay good.
    ///
    /// Its pairs come in order: they are written once, as tables that the database takes over as
    /// they are. By way of a memtable they would be written twice more, by its flush and by the
    /// compaction of what was flushed.
    ///
    /// # Errors
    /// If the snapshot is damaged or of another entry than it says, or the state cannot be written.
    pub fn replace_from<R: Read>(
        &mut self,
        snapshot: &mut SnapshotReader<R>,
    ) -> Result<(), StorageError> {
        let place = self.live.place.next(&self.data_directory)?;
        let options = options::state(Sizes::at(place.path()));
        let mut tables = Tables::new(place.path(), &options);
        while let Some(pairs) = snapshot.next_chunk()? {
            tables.push(&pairs)?;
        }
        let tables = tables.finish()?;
        let next = Live::open(place, &links(&self.data_directory))?;
        next.take_over(tables)?;
        check_applied(&next, snapshot.header())?;
        next.place.enforce(&self.data_directory)?;
        let old = std::mem::replace(&mut self.live, Arc::new(next));
        old.place.give_up();
        Ok(())
    }
}

impl Live {
    /// Moves tables into the database, durably.
    fn take_over(&self, tables: Vec<PathBuf>) -> Result<(), StorageError> {
        if tables.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db
            .ingest_external_file_opts(&options, tables)
            .map_err(|error| database("taking over the state", &error))
    }
}

/// Tables that are being written beside a database that is not open yet, each synced when it is
/// complete.
struct Tables<'a> {
    directory: &'a Path,
    options: &'a Options,
    open: Option<SstFileWriter<'a>>,
    done: Vec<PathBuf>,
}

impl<'a> Tables<'a> {
    fn new(directory: &'a Path, options: &'a Options) -> Self {
        Self { directory, options, open: None, done: Vec::new() }
    }

    /// Adds pairs, which follow those before.
    fn push(&mut self, pairs: &[Pair]) -> Result<(), StorageError> {
        for (key, value) in pairs {
            let table = match &mut self.open {
                Some(table) => table,
                None => self.begin()?,
            };
            table.put(key, value).map_err(|error| failed(&error))?;
            if table.file_size() >= TABLE_BYTES {
                self.end()?;
            }
        }
        Ok(())
    }

    /// The names are none of the database's own: it removes those that it does not know.
    fn begin(&mut self) -> Result<&mut SstFileWriter<'a>, StorageError> {
        let path = self.directory.join(format!("snapshot-{}", self.done.len()));
        let table = SstFileWriter::create(self.options);
        table.open(&path).map_err(|error| failed(&error))?;
        self.done.push(path);
        Ok(self.open.insert(table))
    }

    fn end(&mut self) -> Result<(), StorageError> {
        match self.open.take() {
            Some(mut table) => table.finish().map_err(|error| failed(&error)),
            None => Ok(()),
        }
    }

    /// Returns the files.
    fn finish(mut self) -> Result<Vec<PathBuf>, StorageError> {
        self.end()?;
        Ok(self.done)
    }
}

fn failed(error: &rocksdb::Error) -> StorageError {
    database("filling the state", error)
}
