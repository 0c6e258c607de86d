//! What a person sees while waiting: lines on standard error, durations that can be read aloud.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Says a line on standard error, where it never mixes with data.
pub(crate) fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// Formats a duration with a unit that suits its length.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Runs `work`, and calls `beat` with the time gone by whenever another `interval` has passed.
pub(crate) fn with_heartbeat<T>(
    interval: Duration,
    beat: impl Fn(Duration) + Send,
    work: impl FnOnce() -> T,
) -> T {
    let start = Instant::now();
    let (finished, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while waiting.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                beat(start.elapsed());
            }
        });
        let result = work();
        drop(finished);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_aloud() {
        assert_eq!(human(Duration::from_millis(840)), "0.8 s");
        assert_eq!(human(Duration::from_millis(9_999)), "10.0 s");
        assert_eq!(human(Duration::from_millis(42_700)), "42 s");
        assert_eq!(human(Duration::from_secs(60)), "1 min 00 s");
        assert_eq!(human(Duration::from_secs(1_507)), "25 min 07 s");
    }

    #[test]
    fn the_heart_beats_while_work_goes_on_and_stops_with_it() {
        let (sender, beats) = channel();
        let result = with_heartbeat(
            Duration::from_millis(1),
            move |_| {
                let _ = sender.send(());
            },
            || beats.recv().map(|()| 7),
        );
        assert_eq!(result, Ok(7), "work returned only because a beat arrived");
    }
}
