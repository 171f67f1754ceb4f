//! Who is told, and how: each kind of notifier against a real receiver.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a broken expectation is a failure")]

/// Mail, to a real server.
mod email;
/// Programs that behave, and that do not.
mod exec;
/// Requests, to a receiver by the test's rules.
mod webhook;
/// What they share.
mod world;
