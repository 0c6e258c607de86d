//! The results as a table.

use std::fmt::Write as _;

use crate::figures::Figures;
use crate::results::Results;

const HEADER: [&str; 12] = [
    "WORK",
    "SYSTEM",
    "OPS/S",
    "P50 ms",
    "P99 ms",
    "P99.9 ms",
    "CPU us/op",
    "GENERATOR",
    "MEMORY MB",
    "WRITTEN",
    "SYNCS/op",
    "RATIO",
];

/// What the columns mean.
const LEGEND: &str = "\
CPU: of the three nodes together. GENERATOR: of what loads them, also in us/op. MEMORY: of the
largest node. WRITTEN: bytes that a node wrote to its disk for a byte of values. SYNCS: of the three
nodes' logs, where told. RATIO: operations a second of raftd to those of this system.
";

/// Writes all results for people.
pub(crate) fn text(results: &Results) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEADER.map(str::to_owned).to_vec()];
    for (work, all) in &results.works {
        let ours = results.systems.iter().zip(all).find(|(system, _)| system.name == "raftd");
        let ours = ours.and_then(|(_, figures)| figures.as_ref()).map(|figures| figures.per_s);
        for (system, figures) in results.systems.iter().zip(all) {
            if let Some(figures) = figures {
                rows.push(row(work.title(), system.name, figures, ours));
            }
        }
    }
    format!("{}\n\n{}\n{LEGEND}", results.setting, aligned(&rows, 2))
}

/// Writes rows of cells below one another: the first columns are words, which stand at the left,
/// the others are figures, which stand at the right.
pub(crate) fn aligned(rows: &[Vec<String>], words: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column < words {
                write!(line, "{cell:<width$}  ")
            } else {
                write!(line, "{cell:>width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(title: String, system: &str, figures: &Figures, ours: Option<f64>) -> Vec<String> {
    let ms = |us: f64| format!("{:.2}", us / 1e3);
    let some = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    vec![
        title,
        system.to_owned(),
        format!("{:.0}", figures.per_s),
        ms(figures.p50_us),
        ms(figures.p99_us),
        ms(figures.p999_us),
        format!("{:.1}", figures.nodes_us),
        format!("{:.1}", figures.generator_us),
        format!("{:.0}", figures.resident / 1e6),
        some(figures.written, 1),
        some(figures.syncs, 3),
        some(ours.filter(|_| system != "raftd").map(|ours| ours / figures.per_s), 2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::QUICK;

    #[test]
    fn a_system_stands_below_ours_with_its_ratio() {
        let figures = |per_s| Some(Figures { per_s, written: Some(2.0), ..Figures::default() });
        let row = |ours| row("put".into(), "etcd", &figures(10.0).expect("some"), ours);
        assert_eq!(row(Some(45.0)).last().map(String::as_str), Some("4.50"));
        assert_eq!(row(None).last().map(String::as_str), Some("-"));
        let results = Results {
            systems: Vec::new(),
            works: vec![(QUICK[0], Vec::new())],
            setting: "today".into(),
        };
        assert!(text(&results).starts_with("today\n\nWORK  SYSTEM  OPS/S"));
    }
}
