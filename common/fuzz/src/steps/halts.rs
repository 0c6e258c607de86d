//! The sentences with which a core halts because somebody contradicts what it has promised.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// What a core may say as its last word once a message was altered or invented.
const SENTENCES: [&str; 1] = ["committed entries are never cut off (§3.6)"];

thread_local! {
    /// Whether contradictions are expected on this thread.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Lets a core do one thing. Returns nothing if it halted, which it may do only where `strangers`
/// have spoken.
pub(super) fn may_halt<T>(strangers: bool, step: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let halted = panic.payload_as_str().is_some_and(|why| SENTENCES.contains(&why));
            if !(halted && EXPECTED.get()) {
                usual(panic);
            }
        }));
    });
    EXPECTED.set(strangers);
    let ended = panic::catch_unwind(AssertUnwindSafe(step));
    EXPECTED.set(false);
    match ended {
        Ok(done) => Some(done),
        Err(payload) => {
            let why = payload.downcast_ref::<&str>().copied();
            let why = why.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let halted = strangers && why.is_some_and(|why| SENTENCES.contains(&why));
            if halted { None } else { panic::resume_unwind(payload) }
        }
    }
}
