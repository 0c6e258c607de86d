//! Sends a snapshot's file to a peer. The file is checked meanwhile: a receiver would notice that
//! it is damaged, and so would the next ones, but none of them can do anything about it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consensus::Term;
use protocol::SnapshotOffer;
use storage::{SnapshotFile, SnapshotReader, StorageError};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use transport::{SnapshotError, SnapshotSender};

use crate::lanes::pacer::Pacer;

/// So many bytes are read and sent at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// The file is checked so many times as fast as it is sent.
const CHECKED_FASTER: u64 = 4;

/// Why a snapshot was not delivered: a sentence for the log.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The file is not as it was written, or cannot be read.
    File(String),
    /// The way, or the receiver.
    Way(String),
}

/// Why sending has ended.
enum Unsent {
    /// The way, or a receiver that did not look at any of it: this says nothing of the file.
    Way(String),
    /// It could not be read, or the receiver refused what it got: the file may be damaged.
    Doubted(String),
}

/// Sends the file from where the receiver has got to; returns when that has stored all of it.
pub(super) async fn run(
    sender: &SnapshotSender,
    term: Term,
    snapshot: SnapshotFile,
    bytes_per_s_max: u64,
    progress: &AtomicU64,
) -> Result<(), Broken> {
    let path = snapshot.path.clone();
    let rate = bytes_per_s_max.saturating_mul(CHECKED_FASTER);
    // Gone when this has ended in any way: then nobody needs the check any more.
    let asked = Arc::new(());
    let asks = Arc::downgrade(&asked);
    let check = spawn_blocking(move || check(&path, rate, || asks.strong_count() > 0));
    let checked = async { check.await.unwrap_or_else(|error| Err(Broken::Way(said(error)))) };
    let ended = both(checked, send(sender, term, snapshot, bytes_per_s_max, progress)).await;
    drop(asked);
    ended
}

/// What is damaged is damaged, whatever the receiver makes of it; but a file is not read to its end
/// because the way broke: until that is told, the follower is sent nothing, and the file is judged
/// the next time.
async fn both(
    check: impl Future<Output = Result<(), Broken>>,
    sending: impl Future<Output = Result<(), Unsent>>,
) -> Result<(), Broken> {
    let (mut check, mut sending) = (pin!(check), pin!(sending));
    let (checked, sent) = tokio::select! {
        checked = &mut check => {
            checked?;
            (Ok(()), sending.await)
        }
        sent = &mut sending => match sent {
            Err(Unsent::Way(why)) => return Err(Broken::Way(why)),
            Ok(()) | Err(Unsent::Doubted(_)) => (check.await, sent),
        },
    };
    checked?;
    sent.map_err(|unsent| match unsent {
        Unsent::Way(why) | Unsent::Doubted(why) => Broken::Way(why),
    })
}

/// Reads the whole file, as long as it is `wanted`.
pub(super) fn check(
    path: &Path,
    bytes_per_s_max: u64,
    wanted: impl Fn() -> bool,
) -> Result<(), Broken> {
    let mut pacer = Pacer::new(bytes_per_s_max);
    let mut read = || {
        let mut file = SnapshotReader::open(path)?;
        let mut before = 0;
        while wanted() && file.next_chunk()?.is_some() {
            std::thread::sleep(pacer.pass(file.offset().saturating_sub(before)));
            before = file.offset();
        }
        Ok(())
    };
    read().map_err(|error: StorageError| match error.is_of_the_file() {
        true => Broken::File(said(error)),
        // It may be whole: it is tried again.
        false => Broken::Way(said(error)),
    })
}

async fn send(
    sender: &SnapshotSender,
    term: Term,
    snapshot: SnapshotFile,
    bytes_per_s_max: u64,
    progress: &AtomicU64,
) -> Result<(), Unsent> {
    let path = snapshot.path.clone();
    let opened = spawn_blocking(move || File::open(path)).await;
    let file = Arc::new(opened.map_err(doubted)?.map_err(doubted)?);
    let head = Bytes::from(snapshot.header.encode());
    let offer = SnapshotOffer { term, head, size_bytes: snapshot.bytes };
    let offered = sender.offer(&offer).await;
    let (mut outgoing, begin) = offered.map_err(|error| Unsent::Way(said(error)))?;
    let mut pacer = Pacer::new(bytes_per_s_max);
    let mut at = begin;
    while at < snapshot.bytes {
        let size = PIECE_BYTES.min(snapshot.bytes - at);
        let reader = Arc::clone(&file);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(size).expect("a piece is small")];
            reader.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
        });
        let piece = read.await.map_err(doubted)?.map_err(doubted)?;
        outgoing.send(piece).await.map_err(unsent)?;
        at += size;
        progress.store(at, Ordering::Relaxed);
        sleep(pacer.pass(size)).await;
    }
    outgoing.finish().await.map_err(unsent)
}

fn unsent(error: SnapshotError) -> Unsent {
    match error {
        SnapshotError::Refused(_) => doubted(error),
        SnapshotError::Broken(_) | SnapshotError::Silent(_) | SnapshotError::Protocol(_) => {
            Unsent::Way(said(error))
        }
    }
}

fn doubted(error: impl std::fmt::Display) -> Unsent {
    Unsent::Doubted(said(error))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A blip cost the time in which the whole file is read, and nothing was sent meanwhile.
    #[tokio::test]
    async fn a_way_that_breaks_is_told_before_the_file_is_checked() {
        let way = ready(Err(Unsent::Way("it broke".to_owned())));
        let told = timeout(Duration::from_secs(60), both(pending(), way)).await;
        assert!(matches!(told, Ok(Err(Broken::Way(why))) if why == "it broke"));
        let broken = || ready(Err(Broken::File("a wrong sum".to_owned())));
        let slow = async {
            tokio::task::yield_now().await;
            broken().await
        };
        let refused = ready(Err(Unsent::Doubted("a wrong sum came".to_owned())));
        assert!(matches!(both(slow, refused).await, Err(Broken::File(_))));
        assert!(matches!(both(broken(), pending()).await, Err(Broken::File(_))));
    }
}
