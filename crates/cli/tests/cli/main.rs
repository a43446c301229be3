//! The built command, as a user meets it: text and JSON, exit status, what is written and what is not.

mod advise;
mod bad_files;
mod bad_requests;
mod bad_weights;
mod bench;
mod check;
mod client;
mod command;
mod compress;
mod convert;
mod devices;
mod emulate;
mod facts;
mod fix;
mod full_disk;
mod inspect;
mod plan;
mod protobuf;
mod report;
mod run;
mod serve;
mod show;
mod size;
mod terminal;
mod trace;
mod verify;
