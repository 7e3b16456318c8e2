//! Fetching a runtime.
