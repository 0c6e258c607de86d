//! Tokens, and hosts that enrol.

use super::page::{Code, Page, pages};
use crate::exit::Exit;

pages! {
NO_TOKEN 530 Absent "no such token"
"A token is named by its id, as `raftctl token list` shows it, or by the name of its node, which
finds those that are unused. They are in the directory of the cluster, where `raftctl init` put
the authority; another operator's tokens are in another directory."

TOKEN_REFUSED 531 Refused "a token that counts no longer"
"The token was revoked, has expired, or its file is gone. Nothing was signed. An expired one is
judged by the clock of the operator's machine alone, which made it. Make another one: `raftctl
token create NAME=HOST:PORT`, or run `raftctl member add` again."

TOKEN_USED 532 Refused "a token was used by another host"
"A token is good for one key, which is made on the host and never leaves it. Another host, with
another key, has used this one before; nothing was signed for the second. If that is the right
host, `raftd enroll` on it began anew with an empty directory: make another token. If nobody knows
the first one, the token was stolen: its node must not be added. `raftctl member list` shows
whether it was, and a certificate that was issued to it has the node's id: give the right host
another name, which gets another id."

ENROL_PROOF 533 Denied "whoever answers does not have the token"
"At the address of the node, somebody waits for the operator's side and could not prove that it has
the token; or what was proven was proven on another connection: somebody stands in between.
Nothing was signed, and nothing that was said is of any use to who heard it. The causes: `raftd
enroll` has another token there, an older one of the same node perhaps (`raftctl token list`, and
the id that it prints); the address leads to another machine; an attack."

ENROL_CLOCK 534 Refused "the host's clock is wrong"
"The clock of the host differs from this machine's by more than five minutes: it would find its
certificate not valid yet, or its peers' expired. Nothing was signed, and the token is as good as
before. Set the clock of whichever is wrong (`timedatectl`, chrony), and run both commands again."

ENROL_BROKEN 535 Failed "an enrolment broke off"
"The host and the operator's side had begun, and then one of them ended, the network broke, or the
host could not write its files; the message says which. The token may be used again by the same
host, with the same key: run both commands again."
}
