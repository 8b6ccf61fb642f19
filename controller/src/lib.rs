//! Everything of Postern that touches the world: files, processes, sockets and the command line.
//!
//! - [`source`]: Kubernetes objects out of files, and what is wrong with them ([`diagnostic`]);
//! - [`engine`]: from there through the translator to the xDS server ([`publish`]);
//! - [`envoy`]: real Envoys as child processes, with the configuration of [`bootstrap`];
//! - [`run`](mod@run): all of it together, until told to stop;
//! - [`echo`]: a backend to try things out;
//! - [`cli`]: the command line, a thin layer over the rest.

pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod controller;
pub mod diagnostic;
pub mod drain;
pub mod echo;
pub mod engine;
pub mod envoy;
pub mod inspect;
pub mod kubernetes;
pub mod publish;
pub mod run;
pub mod source;
pub mod spawner;
pub mod telemetry;
pub mod terminal;
pub mod translation;
pub mod verdict;
