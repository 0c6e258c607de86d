//! What a durable write of the log takes, beside what the disk takes for as many bytes.
//!
//! ```text
//! cargo bench -p storage --bench log [-- FILTER]
//! ```
//!
//! - `raftd` is one call of [`LogStore::write`], as the daemon's disk lane makes it: the log of a
//!   data directory with RocksDB's settings of production, synced. Memtables are written out and
//!   merged meanwhile, and the note of where the log ends is synced by its own thread, as always.
//! - `raw, growing` appends as many bytes to a file and calls fdatasync. The file has a new length
//!   each time, which the file system has to write down as well; RocksDB's log grows so, too.
//! - `raw, overwritten` does that within a file that is there already: the least that a durable
//!   write can take.
//!
//! As many bytes are those of the batch that RocksDB is given, with all that is stored beside the
//! values; what RocksDB's log adds to them, 7 bytes every 32 KiB, is not counted. Making entries is
//! not measured, nor is compacting the log, which happens whenever it has got [`LOG_BYTES_MAX`].
//! Values do not compress.
//!
//! The last line is the ratio of medians: a few syncs take many times as long as the others, and
//! are in the means that stand above it.
//!
//! All files are in cargo's directory for temporary files: `CARGO_TARGET_DIR` points to the disk
//! that is to be measured.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consensus::{
    Chain, ClusterTime, Configuration, Entry, EntryId, LogIndex, Majority, Member, NodeId, Payload,
    SnapshotMeta, Term, Voters, Write, WriteId,
};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use protocol::BootstrapRecord;
use storage::{DataDirectory, LogStore};

/// The log is compacted when it has got so many bytes: what keeps entries for followers and for
/// restarts is about that large.
const LOG_BYTES_MAX: usize = 64 << 20;

/// A growing file is cut when it has got so many bytes, and a file to write over has so many.
const FILE_BYTES: u64 = 256 << 20;

const SAMPLES: usize = 20;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASUREMENT: Duration = Duration::from_secs(5);

/// The first entry of every log is the configuration that the cluster was made with.
const FIRST: EntryId = EntryId { term: Term::new(1), index: LogIndex::new(1) };

/// What one write holds.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    entries: usize,
    value_bytes: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "1 x 256 B", entries: 1, value_bytes: 256 },
    Shape { name: "64 x 256 B", entries: 64, value_bytes: 256 },
    Shape { name: "16 x 64 KiB", entries: 16, value_bytes: 64 << 10 },
];

/// Does a write and says how long it took.
trait Writer {
    fn write(&mut self) -> Duration;
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for shape in SHAPES {
        let directory = tempfile::tempdir_in(place).expect("cargo has made it");
        let mut ours = Ours::found(&directory.path().join("node"), shape);
        let bytes = ours.append().1;
        let mut growing = Growing::create(&directory.path().join("growing"), bytes);
        let mut overwritten = Overwritten::create(&directory.path().join("overwritten"), bytes);
        let medians = [
            measure(&mut criterion, shape, "raftd", &mut ours),
            measure(&mut criterion, shape, "raw, growing", &mut growing),
            measure(&mut criterion, shape, "raw, overwritten", &mut overwritten),
        ];
        if let [Some(ours), Some(growing), Some(overwritten)] = medians {
            let (of_growing, of_overwritten) = (ours / growing, ours / overwritten);
            println!(
                "{:24}raftd:  {of_growing:.2} times growing, {of_overwritten:.2} times \
                 overwritten; {bytes} bytes a write",
                ""
            );
        }
    }
    criterion.final_summary();
}

/// Returns the median of all writes, in seconds; `None` if a filter leaves it out.
fn measure(
    criterion: &mut Criterion,
    shape: Shape,
    name: &str,
    writer: &mut impl Writer,
) -> Option<f64> {
    let mut all = Vec::new();
    let mut group = criterion.benchmark_group(format!("log/{}", shape.name));
    let bytes = (shape.entries * shape.value_bytes) as u64;
    group.throughput(Throughput::Bytes(bytes)).sampling_mode(SamplingMode::Flat);
    group.sample_size(SAMPLES).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|count| {
            let before = all.len();
            all.extend((0..count).map(|_| writer.write()));
            all[before..].iter().sum()
        });
    });
    group.finish();
    all.sort_unstable();
    all.get(all.len() / 2).map(Duration::as_secs_f64)
}

/// The log of a node.
struct Ours {
    log: LogStore,
    configuration: Configuration,
    shape: Shape,
    values: Vec<Bytes>,
    last: EntryId,
    chain: Chain,
    /// What has been written since the log was compacted.
    bytes: usize,
}

impl Ours {
    /// Founds a cluster of one.
    fn found(path: &Path, shape: Shape) -> Self {
        let (cluster, me) = ([7; 16], NodeId::new(1).expect("not 0"));
        let mut directory = DataDirectory::open_or_create(path, cluster, me).expect("it is new");
        let (name, address) = ("n1".to_owned(), "localhost:7400".to_owned());
        let member = Member { incarnation: directory.incarnation(), name, address };
        let voters = Voters::Stable(Majority::new([me]));
        let members = BTreeMap::from([(me, member)]);
        let configuration = Configuration::new(voters, BTreeSet::new(), members);
        let configuration = configuration.expect("the voter is a member");
        let record = BootstrapRecord {
            cluster,
            configuration: configuration.clone(),
            machine: "kv".into(),
            machine_version: 1,
            parent: None,
        };
        LogStore::bootstrap(&mut directory, &record).expect("it is new");
        let (log, _) = LogStore::open(&directory).expect("it was made just now");
        let chain = log.reader().chain(FIRST.index).expect("the disk is good");
        let noise = noise(shape.entries * shape.value_bytes);
        let values = noise.chunks(shape.value_bytes).map(Bytes::copy_from_slice).collect();
        let chain = chain.expect("it is the first");
        Self { log, configuration, shape, values, last: FIRST, chain, bytes: 0 }
    }

    /// Returns how long it took, and the bytes of it.
    fn append(&mut self) -> (Duration, usize) {
        let write = Write { append: self.entries(), ..nothing() };
        assert_eq!(write.append.len(), self.shape.entries, "all of them go in one write");
        let began = Instant::now();
        let bytes = self.log.write(std::slice::from_ref(&write)).expect("the disk is good");
        let took = began.elapsed();
        self.bytes += bytes;
        if self.bytes > LOG_BYTES_MAX {
            self.compact();
        }
        (took, bytes)
    }

    /// Makes the next entries, chained as the leader's driver does it.
    fn entries(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for value in &self.values {
            self.last.index = self.last.index.next();
            let payload = Payload::Command(value.clone());
            let mut entry = Entry::new(self.last, ClusterTime::ZERO, payload);
            self.chain = protocol::chain(self.chain, &entry);
            entry.chain = self.chain;
            entries.push(entry);
        }
        entries
    }

    /// Forgets all but the last entry, as if a snapshot stood for them.
    fn compact(&mut self) {
        let index = self.last.index.prev().expect("entries were written");
        let meta = SnapshotMeta {
            last: EntryId { index, ..self.last },
            configuration: self.configuration.clone(),
            configuration_index: FIRST.index,
            stamp: ClusterTime::ZERO,
            chain: Chain::ZERO,
        };
        let write = Write { compact_to: Some(meta), ..nothing() };
        self.log.write(&[write]).expect("the disk is good");
        self.bytes = 0;
    }
}

impl Writer for Ours {
    fn write(&mut self) -> Duration {
        self.append().0
    }
}

/// A file that begins anew when it is large.
struct Growing {
    file: File,
    bytes: Vec<u8>,
    length: u64,
}

impl Growing {
    fn create(path: &Path, bytes: usize) -> Self {
        // Appending: cut, it goes on from its new end.
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.expect("the directory is there");
        Self { file, bytes: noise(bytes), length: 0 }
    }
}

impl Writer for Growing {
    fn write(&mut self) -> Duration {
        if self.length > FILE_BYTES {
            self.file.set_len(0).and_then(|()| self.file.sync_all()).expect("it is ours");
            self.length = 0;
        }
        let began = Instant::now();
        self.file.write_all(&self.bytes).expect("there is room");
        self.file.sync_data().expect("the disk is good");
        let took = began.elapsed();
        self.length += self.bytes.len() as u64;
        took
    }
}

/// A file that is written over from its beginning, again and again.
struct Overwritten {
    file: File,
    bytes: Vec<u8>,
    at: u64,
}

impl Overwritten {
    fn create(path: &Path, bytes: usize) -> Self {
        let mut file = File::create(path).expect("the directory is there");
        let piece = noise(1 << 20);
        for _ in 0..FILE_BYTES.div_ceil(piece.len() as u64) {
            file.write_all(&piece).expect("there is room");
        }
        file.sync_all().expect("the disk is good");
        Self { file, bytes: noise(bytes), at: 0 }
    }
}

impl Writer for Overwritten {
    fn write(&mut self) -> Duration {
        if self.at + self.bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        let began = Instant::now();
        self.file.write_all_at(&self.bytes, self.at).expect("there is room");
        self.file.sync_data().expect("the disk is good");
        let took = began.elapsed();
        self.at += self.bytes.len() as u64;
        took
    }
}

/// Returns bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    getrandom::fill(&mut noise).expect("the system has random bytes");
    noise
}

fn nothing() -> Write {
    Write {
        id: WriteId::ZERO,
        hard_state: None,
        truncate_from: None,
        append: Vec::new(),
        compact_to: None,
    }
}
