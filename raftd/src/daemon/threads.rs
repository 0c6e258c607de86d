//! Whether the system lets this process have the threads that a node needs. The database is told
//! of a thread that it does not get by an exception which ends the process without a word, or
//! waits for that thread for ever.

use std::sync::RwLock;
use std::thread::{self, Builder};

use crate::exit::{Exit, Failure};

/// A node has some twenty when it is idle, and more while it works.
const THREADS_MIN: usize = 48;

/// Starts as many threads as a node may need, and lets them end.
///
/// # Errors
/// If there cannot be so many.
pub(super) fn check() -> Result<(), Failure> {
    try_all(Builder::new)
}

fn try_all(thread: impl Fn() -> Builder) -> Result<(), Failure> {
    let gate = RwLock::new(());
    thread::scope(|scope| {
        let closed = gate.write();
        for number in 0..THREADS_MIN {
            let waits = || drop(gate.read());
            if let Err(error) = thread().name("check".to_owned()).spawn_scoped(scope, waits) {
                return Err(too_few(number, &error));
            }
        }
        drop(closed);
        Ok(())
    })
}

fn too_few(number: usize, error: &std::io::Error) -> Failure {
    let message = format!(
        "the system gives this process {number} threads more, and a node needs {THREADS_MIN}: \
         {error}"
    );
    Failure::new(Exit::Io, message).hint(
        "raise TasksMax=, LimitNPROC= or LimitAS= in its unit (systemctl edit), pids.max of its \
         container, or ulimit -u and -v",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_gives_too_few_threads_is_named() {
        assert!(check().is_ok());
        // No address space has room for that.
        let none = try_all(|| Builder::new().stack_size(1 << 50)).expect_err("it has no room");
        let said = "gives this process 0 threads more, and a node needs 48";
        assert!(none.message.contains(said), "{}", none.message);
        assert_eq!(none.exit, Exit::Io);
    }
}
