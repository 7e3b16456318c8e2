//! Ways into sandboxes that are not the API.

pub mod preview;
