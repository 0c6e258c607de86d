//! The addresses that the daemon listens on.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use crate::config::address;
use crate::config::keys::{Key, LISTEN_MAX};
use crate::config::layer::Layer;
use crate::exit::{Exit, Failure};

/// Reads one address or several, with commas between them.
pub(super) fn addresses(
    text: &str,
    key: &Key,
    layer: &Layer,
) -> Result<(SocketAddr, Vec<SocketAddr>), Failure> {
    let read = text.split(',').map(|one| address(one, key, layer));
    let mut all: Vec<SocketAddr> = read.collect::<Result<_, _>>()?;
    check(&all).map_err(|why| refused(&layer.name(key), key, text, &why))?;
    let first = all.remove(0);
    Ok((first, all))
}

/// Says why these cannot be listened on together.
pub(super) fn check(all: &[SocketAddr]) -> Result<(), String> {
    if all.len() > LISTEN_MAX {
        return Err(format!("{} addresses, {LISTEN_MAX} at most", all.len()));
    }
    for (place, one) in all.iter().enumerate() {
        if let Some(why) = no_place(one.ip()) {
            return Err(format!("{one} {why}: nobody can connect to it"));
        }
        for other in &all[..place] {
            // A port of 0 is another one for each.
            if one == other && one.port() != 0 {
                return Err(format!("{one} is named twice"));
            }
            if includes(*one, *other) || includes(*other, *one) {
                let (all, one) = if includes(*one, *other) { (one, other) } else { (other, one) };
                return Err(format!("{all} is all addresses, {one} with them"));
            }
        }
    }
    Ok(())
}

/// `shown` says how the key is called in the message.
pub(super) fn refused(shown: &str, key: &Key, value: impl Debug, why: &str) -> Failure {
    let message = format!("{shown} = {value:?}: {why}");
    Failure::new(Exit::Config, message).hint(format!("{}: {}", key.name, key.kind))
}

/// Says whether listening on one address takes the other one's port as well: `[::]` is all
/// addresses of both families.
fn includes(all: SocketAddr, one: SocketAddr) -> bool {
    let is_of_it = all.is_ipv6() || one.is_ipv4();
    all.port() == one.port() && all.port() != 0 && all.ip().is_unspecified() && is_of_it
}

/// Says why an address is no place of one machine.
fn no_place(ip: IpAddr) -> Option<&'static str> {
    match ip.to_canonical() {
        ip if ip.is_multicast() => Some("is a group of machines"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("is all machines"),
        _ => None,
    }
}
