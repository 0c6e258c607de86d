//! A bridge, and hosts on it, each in a network namespace of its own.

use crate::call::{Clock, call};
use crate::failure::Result;

/// What all namespaces of a run begin with.
pub(crate) const PREFIX: &str = "raftd-hosts-";

/// The namespace of the bridge.
const SWITCH: &str = "raftd-hosts-switch";

/// The network's first three bytes.
const NET: &str = "10.222.74";

/// Makes the bridge.
///
/// # Errors
/// If the kernel or `ip` says no.
pub(crate) fn make(clock: &Clock) -> Result<()> {
    call(clock, "ip", &["netns", "add", SWITCH])?;
    call(clock, "ip", &["-n", SWITCH, "link", "add", "br0", "type", "bridge"])?;
    call(clock, "ip", &["-n", SWITCH, "link", "set", "br0", "up"]).map(drop)
}

/// Adds a host with this number; returns its address.
///
/// # Errors
/// As [`make`].
pub(crate) fn add(clock: &Clock, name: &str, number: u8) -> Result<String> {
    let (space, port, address) = (space(name), format!("p{number}"), format!("{NET}.{number}"));
    let ip = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        call(clock, "ip", &words).map(drop)
    };
    ip(&format!("netns add {space}"))?;
    ip(&format!("-n {space} link add eth0 type veth peer name {port} netns {SWITCH}"))?;
    ip(&format!("-n {space} link set lo up"))?;
    ip(&format!("-n {space} addr add {address}/24 dev eth0"))?;
    ip(&format!("-n {space} link set eth0 up"))?;
    ip(&format!("-n {SWITCH} link set {port} master br0"))?;
    ip(&format!("-n {SWITCH} link set {port} up"))?;
    Ok(address)
}

/// Lets the bridge pass only frames up to so many bytes to and from a host, without a word to
/// anybody: a path whose MTU has become smaller, and a router that does not tell.
///
/// # Errors
/// As [`make`].
pub(crate) fn narrow(clock: &Clock, number: u8, mtu_bytes: u16) -> Result<()> {
    let (port, mtu) = (format!("p{number}"), mtu_bytes.to_string());
    call(clock, "ip", &["-n", SWITCH, "link", "set", &port, "mtu", &mtu]).map(drop)
}

/// Returns the name of a host's namespace.
pub(crate) fn space(name: &str) -> String {
    format!("{PREFIX}{name}")
}
