//! The real `weir-chdb`, started on free ports and folders of its own, as its clients and its operator see it.

mod clients;
mod crash;
mod crate_client;
mod engine;
mod heads;
mod http;
mod limits;
mod rights;
mod start;
mod stop;
