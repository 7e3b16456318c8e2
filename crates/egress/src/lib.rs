//! The gateway for outgoing traffic of sandboxes.

/// The gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {}
