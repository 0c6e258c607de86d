//! Where nodes are to be reached: what can be told of an address before anything is written that
//! relies on it. What cannot be right is refused; what is doubtful, because names may lead
//! elsewhere on other machines, is warned of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use consensus::{Configuration, NodeId};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::change::Draft;
use crate::codes;
use crate::invocation::Invocation;
use crate::report::{Report, Result};

#[cfg(test)]
mod tests;

/// How long names may take to be resolved; those that take longer are not judged.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest part of a host's name, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Names that always lead to the machine that asks.
const LOCAL_NAMES: [&str; 4] =
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

/// A node, and where it is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: String,
    address: String,
    /// Whether it is about to be written, or stands there already.
    is_new: bool,
}

/// A host, spelled in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

/// A place whose address is taken apart.
struct Spot<'a> {
    place: &'a Place,
    host: Host,
    port: u16,
    /// What the name leads to on this machine; empty if that is not known.
    found: BTreeSet<IpAddr>,
}

/// What is to be said of addresses that may be written.
type Warnings = Vec<String>;

/// Judges the first nodes of a cluster.
///
/// # Errors
/// If an address cannot be right.
pub(crate) async fn check_first_members(
    invocation: &Invocation,
    nodes: &[(String, String)],
) -> Result<()> {
    let place = |(name, address): &(String, String)| Place {
        name: name.clone(),
        address: address.clone(),
        is_new: true,
    };
    check(invocation, &nodes.iter().map(place).collect::<Vec<_>>()).await
}

/// Judges nodes that are to become members of a configuration; one of its members may leave.
///
/// # Errors
/// If an address cannot be right.
pub(crate) async fn check_newcomers(
    invocation: &Invocation,
    configuration: &Configuration,
    nodes: &[(String, String)],
    leaving: Option<NodeId>,
) -> Result<()> {
    let members = configuration.members().iter();
    let stays = members.filter(|(id, member)| {
        Some(**id) != leaving && nodes.iter().all(|(name, _)| *name != member.name)
    });
    let stays = stays.map(|(_, member)| (&member.name, &member.address, false));
    let known = |name: &String, address: &String| {
        let mut members = configuration.members().values();
        members.any(|member| member.name == *name && member.address == *address)
    };
    let come = nodes.iter().map(|(name, address)| (name, address, !known(name, address)));
    let place = |(name, address, is_new): (&String, &String, bool)| Place {
        name: name.clone(),
        address: address.clone(),
        is_new,
    };
    check(invocation, &stays.chain(come).map(place).collect::<Vec<_>>()).await
}

/// Judges the addresses that a change of members writes.
///
/// # Errors
/// If an address cannot be right.
pub(crate) async fn check_change(
    invocation: &Invocation,
    configuration: &Configuration,
    draft: &Draft,
) -> Result<()> {
    let stays = |id: &NodeId| draft.voters.contains(id) || draft.learners.contains(id);
    let places: Vec<Place> = draft
        .members
        .iter()
        .filter(|(id, _)| stays(id))
        .map(|(id, member)| Place {
            name: member.name.clone(),
            address: member.address.clone(),
            is_new: configuration.member(*id).is_none_or(|now| now.address != member.address),
        })
        .collect();
    check(invocation, &places).await
}

async fn check(invocation: &Invocation, places: &[Place]) -> Result<()> {
    if places.iter().all(|place| !place.is_new) {
        return Ok(());
    }
    let mut spots = take_apart(places)?;
    resolve(&mut spots).await;
    for warning in judge(&spots, invocation.global.yes)? {
        invocation.output.remark(&format!("warning: {warning}"));
    }
    Ok(())
}

fn take_apart(places: &[Place]) -> Result<Vec<Spot<'_>>> {
    let spot = |place| {
        let (host, port) = split(place)?;
        let found = match &host {
            Host::Ip(ip) => BTreeSet::from([*ip]),
            Host::Name(_) => BTreeSet::new(),
        };
        Ok(Spot { place, host, port, found })
    };
    places.iter().map(spot).collect()
}

/// Reads an address: brackets, the dot at a name's end, case, and zeros before numbers go.
fn split(place: &Place) -> Result<(Host, u16)> {
    let wrong = |why: &str| refused(place, why);
    let (host, port) = place.address.rsplit_once(':').ok_or_else(|| wrong("there is no port"))?;
    let port = port.parse().map_err(|_| wrong("the port is no number"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((Host::Ip(ip.to_canonical()), port));
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok((Host::Ip(ip), port));
    }
    // The resolver takes 127.1, 0x7f000001 and 010.0.0.1 for addresses, and people others than it.
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = digits(last) || last.starts_with("0x");
    if is_number && place.is_new {
        return Err(wrong("it looks like an IPv4 address, which has four numbers from 0 to 255"));
    }
    if place.is_new && !name.split('.').all(is_label) {
        return Err(wrong("this is no host's name"));
    }
    Ok((Host::Name(name), port))
}

/// Says whether a text may stand between the dots of a host's name.
fn is_label(text: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

/// Asks for all names at the same time.
async fn resolve(spots: &mut [Spot<'_>]) {
    let mut asking = JoinSet::new();
    for (at, spot) in spots.iter().enumerate() {
        if let Host::Name(name) = &spot.host {
            let asked = (name.clone(), spot.port);
            asking.spawn(async move {
                let found = tokio::net::lookup_host(asked).await;
                let found = found.map(|all| all.map(|one| one.ip().to_canonical()).collect());
                (at, found.unwrap_or_default())
            });
        }
    }
    let deadline = Instant::now() + RESOLVE_TIMEOUT;
    while let Ok(Some(joined)) = timeout_at(deadline, asking.join_next()).await {
        if let Ok((at, found)) = joined {
            spots[at].found = found;
        }
    }
}

/// Judges. `sure` is who has been told that two names lead to one place, and goes on.
fn judge(spots: &[Spot<'_>], sure: bool) -> Result<Warnings> {
    let mut warnings = Warnings::new();
    for spot in spots.iter().filter(|spot| spot.place.is_new) {
        if let Some((ip, why)) = spot.found.iter().find_map(|ip| Some((ip, unusable(ip)?))) {
            let why = match &spot.host {
                Host::Ip(_) => why.to_owned(),
                Host::Name(name) => format!("{name} is {ip} on this machine, and {why}"),
            };
            return Err(refused(spot.place, &why));
        }
    }
    loopback(spots, &mut warnings)?;
    for (at, one) in spots.iter().enumerate() {
        for other in &spots[..at] {
            if one.place.is_new || other.place.is_new {
                same_place(other, one, sure, &mut warnings)?;
            }
        }
    }
    same_machine(spots, &mut warnings);
    Ok(warnings)
}

impl Spot<'_> {
    /// Whether it is reached from its own machine only, whoever asks.
    fn is_local(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => {
                LOCAL_NAMES.contains(&name.as_str()) || name.ends_with(".localhost")
            }
        }
    }

    /// Whether the name leads to this machine here, and perhaps elsewhere on others.
    fn is_local_here(&self) -> bool {
        !self.found.is_empty() && self.found.iter().all(IpAddr::is_loopback)
    }
}

/// Says why no other machine can reach an address, if none can.
fn unusable(ip: &IpAddr) -> Option<&'static str> {
    let link_local = |ip: &Ipv6Addr| (ip.segments()[0] & 0xffc0) == 0xfe80;
    match ip {
        _ if ip.is_unspecified() => Some("this means all addresses of the machine that uses it"),
        _ if ip.is_multicast() => Some("this is a multicast address, no machine's own"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("this is the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("addresses from 0.0.0.0/8 are no machine's"),
        IpAddr::V6(v6) if link_local(v6) => {
            Some("a link-local address needs an interface, which is another one on each machine")
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn refused(place: &Place, why: &str) -> Report {
    let Place { name, address, .. } = place;
    let message = format!("{name} cannot be reached by others at {address}: {why}");
    Report::new(codes::NO_ADDRESS, message)
        .help(format!("{name}=HOST:PORT    (a name or an address that all other nodes can dial)"))
}

/// A cluster is on one machine, with loopback addresses, or it is not.
fn loopback(spots: &[Spot<'_>], warnings: &mut Warnings) -> Result<()> {
    let local = |spot: &&Spot<'_>| spot.is_local() || spot.is_local_here();
    let Some(remote) = spots.iter().find(|spot| !local(spot)) else {
        return Ok(());
    };
    for spot in spots.iter().filter(local) {
        let Place { name, address, is_new } = spot.place;
        if !spot.is_local() {
            if *is_new {
                let found = spot.found.first().map(ToString::to_string).unwrap_or_default();
                warnings.push(format!(
                    "{name}: {address} is {found} on this machine; the other nodes must find \
                     another address under this name"
                ));
            }
            continue;
        }
        let (other, at) = (&remote.place.name, &remote.place.address);
        if *is_new || remote.place.is_new {
            let message = format!(
                "{name} is to be reached at {address}, which leads each machine to itself, and \
                 {other} is elsewhere, at {at}"
            );
            let report = Report::new(codes::LOOPBACK, message).help(
                "give every node an address that the others can dial, or all of them loopback",
            );
            let update = format!("raftctl member update {name} --address HOST:PORT");
            return Err(match *is_new {
                true => report,
                false => report.help(format!("{update}    (first, for it is a member already)")),
            });
        }
    }
    Ok(())
}

/// No two nodes answer at one address and port.
fn same_place(one: &Spot<'_>, other: &Spot<'_>, sure: bool, warnings: &mut Warnings) -> Result<()> {
    if one.port != other.port {
        return Ok(());
    }
    let shared = one.found.intersection(&other.found).next();
    if one.host != other.host && shared.is_none() {
        return Ok(());
    }
    let port = one.port;
    let place = shared
        .map_or_else(|| other.place.address.clone(), |ip| SocketAddr::new(*ip, port).to_string());
    let message = format!(
        "{} ({}) and {} ({}) are one place: {place}",
        one.place.name, one.place.address, other.place.name, other.place.address
    );
    // Loopback leads to the machine itself everywhere.
    let by_name = one.host != other.host && !shared.is_some_and(IpAddr::is_loopback);
    if by_name && sure {
        warnings.push(message);
        return Ok(());
    }
    let report = Report::new(codes::ONE_PLACE, message);
    Err(match by_name {
        true => report.help("add --yes if only this machine finds one place under both names"),
        false => report.help(
            "each node has an address and port of its own; two that change places go by way of a \
             third address",
        ),
    })
}

/// Nodes on one machine fail together; on loopback that is understood.
fn same_machine(spots: &[Spot<'_>], warnings: &mut Warnings) {
    let mut machines: BTreeMap<IpAddr, Vec<&Spot<'_>>> = BTreeMap::new();
    for spot in spots {
        if let Some(ip) = spot.found.first().filter(|ip| !ip.is_loopback()) {
            machines.entry(*ip).or_default().push(spot);
        }
    }
    for (ip, spots) in machines {
        if spots.len() > 1 && spots.iter().any(|spot| spot.place.is_new) {
            let names: Vec<&str> = spots.iter().map(|spot| spot.place.name.as_str()).collect();
            let names = names.join(" ");
            warnings.push(format!("{names} are on one machine, {ip}: they fail together"));
        }
    }
}
