//! The words that the algorithm and its driver share: plain values, most of them public.

pub(crate) mod actions;
pub(crate) mod config;
pub(crate) mod configuration;
pub(crate) mod entry;
pub(crate) mod freedom;
pub(crate) mod ids;
pub(crate) mod input;
pub(crate) mod log_view;
pub(crate) mod membership;
pub(crate) mod message;
pub(crate) mod status;
