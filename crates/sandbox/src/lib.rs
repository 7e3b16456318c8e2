//! Sandboxes: the trait `Driver` and the drivers.

/// Starts and stops sandboxes.
pub trait Driver: Send + Sync {}
