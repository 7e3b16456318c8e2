//! Previews end to end: the real server, a real sandbox, real programs that listen in it, and what a
//! browser and an attacker send. Needs what `cargo xtask test` prepares, python3 and Node.

#[cfg(test)]
mod access;
#[cfg(test)]
mod apps;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod localhost;
#[cfg(test)]
mod world;
