//! The embedded broker: everything in this process's memory.
