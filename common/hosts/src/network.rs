//! A bridge, and hosts on it, each in a network namespace of its own.

use std::path::Path;

use crate::call::{Clock, call};
use crate::failure::Result;

/// What all namespaces of a run begin with.
pub(crate) const PREFIX: &str = "raftd-hosts-";

/// The namespace of the bridge.
const SWITCH: &str = "raftd-hosts-switch";

/// The network's first three bytes.
const NET: &str = "10.222.74";

/// The same of IPv6: addresses that only this network has (RFC 4193).
const NET_V6: &str = "fd74:222:74:1";

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
    if has_v6() {
        // Without the second in which an address is tried out.
        ip(&format!("-n {space} addr add {}/64 dev eth0 nodad", v6(number)))?;
    }
    ip(&format!("-n {space} link set eth0 up"))?;
    ip(&format!("-n {SWITCH} link set {port} master br0"))?;
    ip(&format!("-n {SWITCH} link set {port} up"))?;
    Ok(address)
}

/// Says whether the kernel has IPv6.
pub(crate) fn has_v6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

/// Returns the IPv6 address of the host with this number; nobody has one that was not added.
pub(crate) fn v6(number: u8) -> String {
    format!("{NET_V6}::{number}")
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
