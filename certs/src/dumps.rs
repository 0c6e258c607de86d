//! Core dumps: a process that holds keys and people's data leaves no copy of its memory behind,
//! whatever limits it was started with, and no other process of its user may look into it.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps the memory of this process out of core dumps and of debuggers, from now on.
///
/// # Errors
/// If the system refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A limit does not hold back a program that the kernel is told to give dumps to.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
