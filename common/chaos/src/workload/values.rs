//! Values as they go over the wire. A history has their names alone: the bytes of a large value
//! follow from its name, and one that differs in a single byte is none of ours.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;

use crate::random::Random;

/// Values of so many bytes and more lie apart from the state's tables; these are of all sizes from
/// there to sixteen times that.
const LARGE_BYTES: (u64, u64) = (4096, 16 * 4096);

/// What stands before the size in the name of a large value.
const SIZED: char = '+';

/// Returns the name of a large value: this, and how many bytes it has.
pub(super) fn large(name: &str, random: &mut Random) -> String {
    format!("{name}{SIZED}{}", random.between(LARGE_BYTES.0, LARGE_BYTES.1))
}

/// Makes the value of a name.
pub(super) fn bytes(name: &str) -> Bytes {
    let mut made = name.as_bytes().to_vec();
    if let Some(size) = size(name) {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let mut random = Random::new(hasher.finish());
        made.push(b'\n');
        while made.len() < size {
            made.extend_from_slice(&random.next().to_le_bytes());
        }
        made.truncate(size);
    }
    made.into()
}

/// Returns the name of a value. What is not that value to the last byte gets a name that nothing
/// has: no order of the history has a place for it.
pub(super) fn name(value: &[u8]) -> String {
    let line = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = String::from_utf8_lossy(line).into_owned();
    if bytes(&name) == value {
        return name;
    }
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("damaged-{:016x}-of-{}-bytes", hasher.finish(), value.len())
}

fn size(name: &str) -> Option<usize> {
    name.rsplit_once(SIZED).and_then(|(_, size)| size.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_name_to_the_last_byte() {
        let mut random = Random::new(7);
        for name in ["v1-2-3".to_owned(), "7".to_owned(), large("v1-2-3", &mut random)] {
            let value = bytes(&name);
            assert_eq!(super::name(&value), name);
            let mut damaged = value.to_vec();
            *damaged.last_mut().expect("it is not empty") ^= 1;
            assert_ne!(super::name(&damaged), name);
        }
        let name = large("v1-2-3", &mut random);
        let value = bytes(&name);
        assert!(value.len() >= 4096, "{}", value.len());
        assert!(super::name(&value[..value.len() - 1]).starts_with("damaged-"));
        assert_ne!(value, bytes(&large("v1-2-3", &mut random)), "each is its own");
    }
}
