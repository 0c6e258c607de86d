//! How values are read off the command line.

use std::time::Duration;

/// Reads a duration with its unit.
///
/// # Errors
/// If there is no unit, or the duration is below a millisecond, negative or above a day.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Err(format!("without a unit; for instance {text}s"));
    }
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "not a duration; for instance 10s, 500ms or 2m".to_owned())?;
    let parsed = Duration::try_from(parsed).map_err(|_| "negative".to_owned())?;
    if parsed < Duration::from_millis(1) || parsed > Duration::from_secs(86_400) {
        return Err("from 1ms to 24h".to_owned());
    }
    Ok(parsed)
}

/// Reads `host:port`; the host may be a name, an IPv4 address, or an IPv6 address in brackets.
///
/// # Errors
/// If there is no host or no port.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    if text.len() > protocol::limits::ADDRESS_BYTES_MAX {
        return Err(format!("longer than {} bytes", protocol::limits::ADDRESS_BYTES_MAX));
    }
    let wanted = || "not HOST:PORT, as n1.example:7400 or [2001:db8::1]:7400".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let named = !host.is_empty() && host.chars().all(plain);
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let v6 = bracketed.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    match port.parse::<u16>() {
        Ok(1..) if named || v6 => Ok(text.to_owned()),
        _ => Err(wanted()),
    }
}

/// Reads a cluster's name.
///
/// # Errors
/// If it could not be part of a file's name or a certificate.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match text.parse::<certs::Name>() {
        Ok(name) => Ok(name.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a machine's name, and its version behind a colon where that is not 1.
///
/// # Errors
/// If the name could not be part of a file's name, or the version is no number.
pub(crate) fn machine(text: &str) -> Result<String, String> {
    let (plain, version) = text.rsplit_once(':').unwrap_or((text, "1"));
    name(plain)?;
    let version: u32 = version.parse().map_err(|_| "the version behind the colon is no number")?;
    Ok(if version == 1 { plain.to_owned() } else { format!("{plain}:{version}") })
}

/// Returns the name and the version of what [`machine`] has read.
pub(crate) fn machine_of(text: &str) -> (&str, u32) {
    let parts =
        text.rsplit_once(':').and_then(|(name, version)| Some((name, version.parse().ok()?)));
    parts.unwrap_or((text, 1))
}

/// Reads `n1=host:port`.
///
/// # Errors
/// If one of them is missing or makes no sense, or the name would be taken for an id.
pub(crate) fn node(text: &str) -> Result<(String, String), String> {
    let (name_text, address) =
        text.split_once('=').ok_or("not NAME=HOST:PORT, as n1=n1.example:7400")?;
    if !name_text.is_empty() && name_text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a node called {name_text} would be mistaken for the one of that id"));
    }
    Ok((name(name_text)?, endpoint(address)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program whose machine was of another version than 1 could not be founded.
    #[test]
    fn a_machine_may_have_a_version() {
        for (text, read, of) in [
            ("kv", "kv", ("kv", 1)),
            ("lock:1", "lock", ("lock", 1)),
            ("lock:27", "lock:27", ("lock", 27)),
        ] {
            assert_eq!(machine(text).as_deref(), Ok(read));
            assert_eq!(machine_of(read), of);
        }
        for wrong in ["", ":2", "lock:", "lock:two", "lock:-1", "lock:4294967296"] {
            assert!(machine(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_bounds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "10", "soon", "-1s", "0s", "1us", "25h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_has_a_name_that_is_no_id() {
        assert_eq!(node("n1=a:1"), Ok(("n1".to_owned(), "a:1".to_owned())));
        assert!(node("2a=a:1").is_ok());
        for bad in ["2=a:1", "007=a:1", "=a:1", "a:1", "N=a:1", "n1=a"] {
            assert!(node(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_have_host_and_port() {
        for good in ["n1:7400", "10.0.0.1:1", "[::1]:7400", "a-b.c_d:65535"] {
            assert_eq!(endpoint(good).as_deref(), Ok(good));
        }
        for bad in ["", "n1", ":7400", "n1:", "n1:0", "n1:65536", "::1:7400", "[x]:1", "a b:1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
        assert!(endpoint(&format!("{}:1", "x".repeat(300))).is_err());
    }
}
