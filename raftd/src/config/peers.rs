//! Where members are dialled, whatever the configuration in the log says: the table `[peers]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::keys::ADVERTISE_DEFAULT;
use super::layer::Layer;
use crate::exit::{Exit, Failure};

/// The longest address, in bytes, as everywhere.
const ADDRESS_BYTES_MAX: usize = protocol::limits::ADDRESS_BYTES_MAX;

/// Puts the tables of all layers together, name by name; the last layer that has a name counts.
pub(super) fn read(layers: &[Layer]) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for layer in layers {
        for (name, address) in &layer.peers {
            let (known, text) = (name.trim(), address.trim());
            if let Some(why) = wrong(known, text) {
                let place = layer.place(&format!("peers.{name}"));
                return Err(refused(&format!("{place}: "), name, address, why));
            }
            all.insert(known.to_owned(), text.to_owned());
        }
    }
    Ok(all)
}

/// Checks a table that a program has made.
pub(super) fn check(peers: &BTreeMap<String, String>) -> Result<(), Failure> {
    for (name, address) in peers {
        if let Some(why) = wrong(name, address) {
            return Err(refused("", name, address, why));
        }
    }
    Ok(())
}

/// Says what is wrong with an entry.
fn wrong(name: &str, address: &str) -> Option<&'static str> {
    if name.is_empty() || !is_address(address) {
        return Some("not a member and HOST:PORT");
    }
    is_everywhere(address).then_some("no place: it means all addresses of the machine that uses it")
}

/// Says why an address cannot be the one that others dial.
pub(super) fn not_dialled(shown: &str, address: &str) -> Option<Failure> {
    if is_everywhere(address) {
        let message = format!(
            "{shown} = {address:?} is no place that others could dial: it means all addresses of \
             the machine that uses it"
        );
        return Some(Failure::new(Exit::Config, message).hint(
            "that is for `listen`; others dial this machine's name, or one of its addresses \
             (ip -brief address), with the port",
        ));
    }
    if is_address(address) {
        return None;
    }
    let message = format!("{shown} = {address:?} is not HOST:PORT");
    Some(Failure::new(Exit::Config, message).hint(format!(
        "for instance n1.example:7400 or [2001:db8::1]:7400; \"{ADVERTISE_DEFAULT}\" for what the \
         configuration in the log says"
    )))
}

/// Says whether an address stands for all addresses of a machine, so that it cannot be dialled.
fn is_everywhere(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified())
}

fn refused(place: &str, name: &str, address: &str, why: &str) -> Failure {
    let message = format!("{place}peers: {name:?} = {address:?} is {why}");
    Failure::new(Exit::Config, message)
        .hint("for instance n1 = \"n1.example:7400\"; a line that is left out changes nothing")
}

/// Says whether a text is a name or an IP address with a port.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !host.is_empty() && host.chars().all(plain)
        }
    };
    is_host && matches!(port.parse::<u16>(), Ok(1..)) && text.len() <= ADDRESS_BYTES_MAX
}
