//! The page that a scrape gets, in OpenMetrics or in the older text format of Prometheus.

use std::fmt::Write as _;
use std::time::Instant;

use prometheus_client::encoding::text::encode;

use crate::observe::board::{Board, Posted};
use crate::observe::catalogue::{Catalogue, Row};
use crate::observe::shown::Shown;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4, which everything reads.
    Text,
}

/// All metrics of a node.
pub(crate) struct Exposition {
    all: Catalogue,
    shown: Shown,
}

impl Exposition {
    pub(crate) fn new(board: &Board) -> Self {
        let mut all = Catalogue::new();
        let shown = Shown::new(&mut all);
        board.counted().register(&mut all);
        Self { all, shown }
    }

    /// Returns what the manual says of each metric.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.all.rows
    }

    /// Writes a page of what is counted, and of what the loop has posted.
    pub(crate) fn page(
        &self,
        format: Format,
        posted: &Posted,
        now: Instant,
        is_ready: bool,
    ) -> String {
        self.shown.show(posted, now, is_ready);
        let mut page = String::new();
        encode(&mut page, &self.all.registry).expect("a text takes everything");
        match format {
            Format::OpenMetrics => page,
            Format::Text => older(&page),
        }
    }
}

impl Format {
    /// Returns what somebody gets who accepts this: OpenMetrics only if it is asked for.
    pub(crate) fn accepted(accept: &str) -> Self {
        let media = accept.split(',').filter_map(|range| range.split(';').next());
        let asked = media.map(str::trim).any(|media| media == "application/openmetrics-text");
        if asked { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes a page of OpenMetrics in the older format: there a counter's description has the name of
/// its samples, and there are neither units nor an end.
fn older(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, meaning)) = help.take().filter(|(helped, _)| *helped == name) {
                line_of(&mut text, &format!("# HELP {name}{suffix} {meaning}"));
            }
            line_of(&mut text, &format!("# TYPE {name}{suffix} {kind}"));
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            line_of(&mut text, line);
        }
    }
    text
}

fn line_of(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a text takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_counted_is_on_the_page_in_either_format() {
        let board = Board::default();
        board.counted().sync.observe(Duration::from_millis(3));
        board.counted().sync.observe(Duration::from_secs(100));
        board.counted().dropped.inc();
        let exposition = Exposition::new(&board);
        let page = |format| exposition.page(format, &board.read(), Instant::now(), true);
        let (open, text) = (page(Format::OpenMetrics), page(Format::Text));
        for sample in [
            "raftd_log_sync_seconds_bucket{le=\"0.0025\"} 0\n",
            "raftd_log_sync_seconds_bucket{le=\"0.005\"} 1\n",
            "raftd_log_sync_seconds_bucket{le=\"60.0\"} 1\n",
            "raftd_log_sync_seconds_bucket{le=\"+Inf\"} 2\n",
            "raftd_log_sync_seconds_sum 100.003\n",
            "raftd_log_sync_seconds_count 2\n",
            "raftd_messages_dropped_total 1\n",
            "raftd_ready 1\n",
        ] {
            assert!(open.contains(sample) && text.contains(sample), "{sample}{open}");
        }
        assert!(open.contains("# TYPE raftd_messages_dropped counter\n"), "{open}");
        assert!(open.contains("# UNIT raftd_log_sync_seconds seconds\n"), "{open}");
        assert!(open.ends_with("# EOF\n"));
        assert!(text.contains("# TYPE raftd_messages_dropped_total counter\n"), "{text}");
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
        assert!(!open.contains("raftd_term"), "what is not known yet is left out");
    }

    #[test]
    fn open_metrics_is_given_to_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/html, application/xhtml+xml", "text/plain;version=0.0.4"] {
            assert_eq!(Format::accepted(other), Format::Text, "{other}");
        }
    }
}
