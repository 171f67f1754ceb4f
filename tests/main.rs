//! The gateway as its users meet it: the real binary, real sockets, real files and signals. This page is the table of
//! contents.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test a broken expectation is a failure"
)]

/// One gateway of one test: its files, its process, its addresses, its events.
mod harness;
/// Answers held to the description of the API.
mod schemas;

/// Power for a time: eligible assignments that are activated, approved, and end.
mod access;
/// One line for each request, permitted or not.
mod access_log;
/// The operators' API over the network.
mod admin_api;
mod admin_contract;
/// Whoever may only look, by the command line.
mod admin_reader;
/// What it answers instead of what was wished for.
mod admin_refusals;
/// Rules over the events: who is told, what is contained, and how that is lifted.
mod alerts;
/// API keys over their life: scopes, rotation, last use.
mod api_keys;
/// The gateway's signed word to upstreams of who calls.
mod assertions;
/// `audit verify`: events as they were written, and every change of them.
mod audit;
/// What an audit proposes becomes one change; keys that nobody uses.
mod audit_applied;
/// Good and bad credentials of every kind, and routes that demand, allow or ignore them.
mod authentication;
/// Roles, groups, denies, networks, assurance and disclosure, decided on live requests.
mod authorization;
/// Who fails too often is kept out for a while, and nobody else.
mod bans;
/// How large bodies may be, either way.
mod bodies;
/// Tokens that are bound to a certificate or a key of their holder: proofs, replays, downgrades.
mod bound_tokens;
/// Thresholds of risk that are worked out from good traffic, and scores that are worked out again.
mod calibration;
/// Whose address counts: the peer's, or the one that a trusted proxy names.
mod client_address;
/// Client certificates as principals: whom they name, beside other credentials, and for how long.
mod client_certificates;
/// `check`, `can`, `explain` and `key`, with their exit codes.
mod command_line;
/// What an operator asks a running gateway, and has it do.
mod control;
/// Cross-origin requests: preflights, and whose scripts may read an answer.
mod cors;
/// Decisions as data: the cases in `tests/decisions`.
mod decisions;
/// What somebody sees first.
mod demo;
/// What nginx, Node and Python make of a target is what was authorised, or they never see it.
mod differential;
/// Groups from a directory: real OpenLDAP, and what stands in for Active Directory.
mod directory;
/// SIGTERM ends the process, not the requests.
mod drain;
/// Killed under load: which events are on disk, and what the next start says.
mod durability;
/// What was recorded is searched, counted and explained.
mod event_history;
/// One refusal, one event: complete, without secrets, and not lost when the log is rotated.
mod events;
/// Several hundred refusals, every reason code among them: as many events, in every sink and every format, without a secret.
mod every_refusal;
/// Who may change somebody's second factors.
mod factor_changes;
/// Networks that keep themselves current from a list, and hold back what looks wrong.
mod feeds;
/// `fmt` and `config schema`: one layout, and a description for editors.
mod fmt;
/// What is permitted reaches the upstream and its answer the caller, byte for byte, in every framing.
mod forwarding;
/// Where a client is: countries as conditions, and what events say of it.
mod geo;
/// Versions, approvals, rollback and backups: what becomes live, by whose word, and how it comes back.
mod governance;
/// `audit run`: which permissions are used, and which grants are unused, too wide or dangerous.
mod grants;
/// gRPC to a real etcd: its trailers arrive.
mod grpc;
/// Which headers cross the gateway, and which only the gateway may set.
mod headers;
/// HTTP/2: the same rules and the same events, and streams that end when they should.
mod http2;
/// What the RFCs say about frames, streams and fields of HTTP/2, case by case.
mod http2_conformance;
/// Floods of HTTP/2 frames end for who sends them, and for nobody else.
mod http2_floods;
/// HTTP/2 to upstreams: a real nginx, by prior knowledge.
mod http2_upstreams;
/// What another policy would have done to requests that were made: `replay`, `policy preview`.
mod insight;
/// Opaque tokens, of which their provider is asked.
mod introspection;
/// More at once than the limits allow.
mod limits;
/// Who is refused by our own change, or by the end of what they had for a time, is banned by nobody.
mod locked_out;
/// Browsers log in at a real provider, stay so for a while, and log out.
mod login;
/// How a provider's word comes through a browser: answers as forms, logouts in frames.
mod login_answers;
/// What a login confirms is confirmed once, whatever becomes of the process.
mod login_proofs;
/// Requests that could be read in two ways are refused with their reason and one event, and nobody behind sees them.
mod malformed;
/// A real nginx behind the gateway acts on the path that was authorised.
mod nginx;
/// What operators ask from elsewhere, and what they see where no gateway runs.
mod operators;
/// Health and metrics.
mod ops;
/// Users with passwords: who is let in, who waits, and what a change of the file does.
mod passwords;
/// The path that was decided on is the path that is forwarded.
mod paths;
/// What survives a restart, and a disk that is full.
mod persistence;
/// `policy diff`: what changes from one policy to another.
mod policy_diff;
/// `test`: a policy held to its cases, with coverage and JUnit.
mod policy_tests;
/// What is said of devices, and by whom.
mod posture;
/// The keys of identity providers are fetched: new ones work on first use, and what cannot be judged is a 503.
mod provider_keys;
/// Whom a trusted proxy names with the PROXY protocol is the client.
mod proxy_protocol;
/// `list` and `who-can`: all that somebody may do, and all who may do something.
mod questions;
/// How often, and how much at once: by address, principal and route.
mod rates;
/// A refusal as a problem, as a page and as a status of gRPC.
mod refusal_forms;
/// A reload is all or nothing, and costs no request.
mod reload;
/// A public access log, replayed.
mod replay;
/// Reports of the operators' API, held to its description.
mod reports;
/// Credentials that count no longer: on requests, on what is open, and after a kill.
mod revocations;
/// What is new asks for a step-up, evidence denies, and what either came to is in the event.
mod risk;
/// Rewriting, header rules, redirects, fixed answers and maintenance.
mod routes;
/// Second factors: added, asked for by the gateway's page, used once, and locked; a passkey in a real browser.
mod second_factors;
/// Other people's examples, each with its source, counted.
mod second_opinion;
/// Every byte that the process writes, and every kind of secret that it is given.
mod secrets;
/// Whoever is refused asks for access by themselves, over HTTP.
mod self_service;
/// The service manager: what it is told, sockets that it passes on, and one process that takes over from another.
mod service;
/// Events over the network: syslog to a real rsyslogd, and receivers over HTTP, Azure's and OpenTelemetry's among them.
mod sinks;
/// Clients that say nothing, or too little.
mod slow_clients;
/// What follows a refused request on its connection is never taken for another request.
mod smuggling;
/// More refusals than usual: noticed, and put down to what turned them away.
mod spikes;
/// Answers that stream and requests that wait, as long as they are permitted.
mod streams;
/// TLS on a listener: which certificate is shown, and which one is demanded.
mod tls;
/// `X-Request-Id`, W3C trace context and `Via`.
mod tracing;
/// WebSocket and other upgrades: when a tunnel opens, what it carries, and when it ends.
mod tunnels;
/// Upstreams that are down, silent, rude, or of their own opinion.
mod upstream_faults;
