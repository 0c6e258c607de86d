//! Addresses: names that lead to several, of which the first is dead; IPv6; a machine without it.

use std::time::{Duration, Instant};

use crate::failure::{Failure, Result, must};
use crate::network::{has_v6, v6};
use crate::world::{NAMES, World};

/// An address that nobody has.
const NOBODY: u8 = 202;

/// How long a command may take that meets the dead address first: it is given a quarter of a
/// second, and processes have to start.
const DETOUR_MAX: Duration = Duration::from_secs(3);

/// A process that gets no socket of IPv6, as on a machine without it.
const WITHOUT_V6: &str = "[Service]\nRestrictAddressFamilies=\n\
                          RestrictAddressFamilies=AF_UNIX AF_INET\n";

pub(super) fn names(world: &mut World) -> Result<String> {
    if !has_v6() {
        return Err(Failure::Lacking("this machine's kernel has no IPv6".to_owned()));
    }
    let refused = world.try_raftctl("member update n2 --address 0.0.0.0:7400 --yes")?;
    let why = "this means all addresses of the machine that uses it";
    must(!refused.is_well() && refused.err.contains(why), || refused.all())?;
    // Where there is IPv6, it goes first: n2 has a dead one, n3 a good one.
    let (two, three) = (world.host("n2").address.clone(), world.host("n3").address.clone());
    let text = format!(
        "127.0.0.1 localhost\n{} n2.test\n{two} n2.test\n{} n3.test\n{three} n3.test\n",
        v6(NOBODY),
        v6(3)
    );
    for host in NAMES {
        world.host(host).write("etc/hosts", &text)?;
    }
    world.operator.name_hosts(&text)?;
    world.drop_in("n1", "no-ipv6", WITHOUT_V6)?;
    for node in ["n2", "n3"] {
        world.raftctl(&format!("member update {node} --address {node}.test:7400 --yes"))?;
    }
    for host in NAMES {
        world.on(host, "systemctl restart raftd")?;
        world.healthy()?;
    }
    let said = world.journal("n1", 30)?;
    must(said.contains("this machine has no IPv6: listening on all IPv4 addresses"), || said)?;
    let found = world.on("n1", "getent ahosts n2.test | head -n 1")?;
    must(found.starts_with(&v6(NOBODY)), || format!("the dead address is not first: {found}"))?;
    let began = Instant::now();
    let value = world.raftctl("-e n2.test:7400 kv get greeting")?;
    let took = began.elapsed();
    must(value.trim() == "hello", || format!("greeting is {value:?}"))?;
    must(took < DETOUR_MAX, || format!("it took {took:?} by way of the dead address"))?;
    // And back, so that the other steps find what they know.
    world.drop_in("n1", "no-ipv6", "")?;
    for (node, address) in [("n2", two), ("n3", three)] {
        world.raftctl(&format!("member update {node} --address {address}:7400 --yes"))?;
    }
    world.on("n1", "systemctl restart raftd")?;
    world.healthy()?;
    Ok(format!(
        "all voters follow, also to and from the machine without IPv6; a request by a name whose \
         first address is dead took {} ms",
        took.as_millis()
    ))
}
