//! What is replicated: the machine's seam, the command envelope, the built-in machines.
