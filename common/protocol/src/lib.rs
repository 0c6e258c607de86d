//! What goes over the wire and on to the disk.
