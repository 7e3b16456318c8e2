//! What programs of a real session may reach, what is recorded of it, and what is said when the model
//! can't be reached. Nothing here needs the internet: the servers are on the machine's loopback.

mod packages;
#[path = "../provider/mod.rs"]
mod provider;
mod records;
mod rules;
mod troubles;
mod world;
