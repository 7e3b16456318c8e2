//! The front door, with a real server on a real database: who gets in, what is refused and how.

mod app;
mod authorization;
mod pages;
mod problems;
mod sign_in;
mod starting;
mod streams;
