//! The structs that prost makes of the schemas; private, so that only this crate names prost.
#![allow(missing_docs, clippy::all, unreachable_pub)]

pub(crate) mod raftd {
    pub(crate) mod peer {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/raftd.peer.v1.rs"));
        }
    }
    pub(crate) mod enrol {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/raftd.enrol.v1.rs"));
        }
    }
    pub(crate) mod client {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/raftd.client.v1.rs"));
        }
    }
}

pub(crate) use raftd::client::v1 as client;
pub(crate) use raftd::enrol::v1 as enrol;
pub(crate) use raftd::peer::v1 as peer;
