//! What a run needs of the machine: programs, network namespaces, small disks, and a shim that
//! makes a process believe in a broken disk or another time.

pub(crate) mod command;
pub(crate) mod disk;
pub(crate) mod leftovers;
pub(crate) mod line;
pub(crate) mod network;
pub(crate) mod shim;
