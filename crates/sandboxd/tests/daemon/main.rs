//! The daemon as a process, seen from where the server is.

#[cfg(test)]
mod attachments;
#[cfg(test)]
mod confinement;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod init;
#[cfg(test)]
mod links;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod support;
#[cfg(test)]
mod terminals;
