//! What was measured while one thing grew.

use serde_json::{Map, Value, json};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Keys,
    Value,
    Voters,
    Clients,
    Log,
    State,
}

/// A figure that each point has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its heading in a table.
    pub(crate) heading: &'static str,
    /// Its name for programs, with its unit.
    pub(crate) name: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
    /// In which panel it is drawn, if at all; of several in one, all but the first are dashed.
    pub(crate) panel: Option<&'static str>,
}

/// What was measured at one size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) size: f64,
    /// The size, for people.
    pub(crate) label: String,
    /// What was done, where it is more than one thing.
    pub(crate) line: &'static str,
    /// A figure for each column; none if there is no such thing.
    pub(crate) figures: Vec<Option<f64>>,
}

/// All sizes of one part.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) part: Part,
    /// What stays as it is meanwhile.
    pub(crate) title: String,
    pub(crate) columns: &'static [Column],
    pub(crate) points: Vec<Point>,
    /// What the columns mean.
    pub(crate) legend: &'static str,
}

impl Part {
    /// In the order in which they are measured.
    pub(crate) const ALL: [Self; 6] =
        [Self::Keys, Self::Value, Self::Voters, Self::Clients, Self::Log, Self::State];

    /// Returns its word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Value => "value",
            Self::Voters => "voters",
            Self::Clients => "clients",
            Self::Log => "log",
            Self::State => "state",
        }
    }

    /// Reads its word.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

impl Column {
    /// Makes one that is drawn.
    pub(crate) const fn drawn(
        heading: &'static str,
        name: &'static str,
        digits: usize,
        panel: &'static str,
    ) -> Self {
        Self { heading, name, digits, panel: Some(panel) }
    }

    /// Makes one that is only told.
    pub(crate) const fn told(heading: &'static str, name: &'static str, digits: usize) -> Self {
        Self { heading, name, digits, panel: None }
    }
}

impl Curve {
    /// Returns the lines, in their order.
    pub(crate) fn lines(&self) -> Vec<&'static str> {
        let mut lines: Vec<&str> = Vec::new();
        for point in &self.points {
            if !lines.contains(&point.line) {
                lines.push(point.line);
            }
        }
        lines
    }

    /// Returns the points of a line.
    pub(crate) fn of(&self, line: &str) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.line == line)
    }

    /// Returns how many times as large each figure is at the end of a line as at its beginning.
    pub(crate) fn ratios(&self, line: &str) -> Vec<Option<f64>> {
        let all: Vec<&Point> = self.of(line).collect();
        let figure = |point: Option<&&Point>, place: usize| {
            point.and_then(|point| *point.figures.get(place)?).filter(|figure| *figure > 0.0)
        };
        (0..self.columns.len())
            .map(|place| Some(figure(all.last(), place)? / figure(all.first(), place)?))
            .collect()
    }

    /// Tells all of it to programs.
    pub(crate) fn json(&self) -> Value {
        let points = self.points.iter().map(|point| {
            let mut told = Map::new();
            told.insert("size".to_owned(), json!(point.size));
            if !point.line.is_empty() {
                told.insert("line".to_owned(), json!(point.line));
            }
            for (column, figure) in self.columns.iter().zip(&point.figures) {
                let rounded = figure.map(|figure| (figure * 1e4).round() / 1e4);
                told.insert(column.name.to_owned(), json!(rounded));
            }
            Value::Object(told)
        });
        json!({
            "part": self.part.name(), "title": self.title,
            "points": points.collect::<Vec<_>>(),
        })
    }
}

/// Writes a number with commas.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a number of bytes, in the largest unit of which it is a whole number.
pub(crate) fn bytes(number: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &(u32, &str)| number > 0 && number.is_multiple_of(1 << shift);
    match units.into_iter().find(fits) {
        Some((shift, unit)) => format!("{} {unit}", number >> shift),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::drawn("OPS/S", "perSecond", 0, "operations a second"),
        Column::drawn("P50 ms", "p50Ms", 2, "latency in ms"),
        Column::told("LOST", "lost", 0),
    ];

    /// Two lines: puts get slower with ten times as many, gets do not.
    pub(crate) fn curve() -> Curve {
        let point = |size, line, figures: [Option<f64>; 3]| Point {
            size,
            label: count(size as u64),
            line,
            figures: figures.to_vec(),
        };
        Curve {
            part: Part::Keys,
            title: "64 clients".to_owned(),
            columns: &COLUMNS,
            points: vec![
                point(100.0, "put", [Some(1_000.0), Some(0.5), None]),
                point(1_000.0, "put", [Some(250.0), Some(2.0), None]),
                point(100.0, "get", [Some(3_000.0), Some(0.125), Some(0.0)]),
                point(1_000.0, "get", [Some(3_000.0), Some(0.25), Some(7.0)]),
            ],
            legend: "LOST: nothing, one hopes.\n",
        }
    }

    #[test]
    fn a_ratio_holds_the_last_of_a_line_against_its_first() {
        let curve = curve();
        assert_eq!(curve.lines(), ["put", "get"]);
        assert_eq!(curve.ratios("put"), [Some(0.25), Some(4.0), None]);
        assert_eq!(curve.ratios("get"), [Some(1.0), Some(2.0), None], "nothing grows from 0");
    }

    #[test]
    fn programs_are_told_each_figure_by_its_name() {
        let told = curve().json();
        assert_eq!(told["part"], "keys");
        let first = json!({
            "size": 100.0, "line": "put", "perSecond": 1000.0, "p50Ms": 0.5, "lost": null
        });
        assert_eq!(told["points"][0], first);
    }

    #[test]
    fn sizes_are_written_for_people() {
        let all = [count(0), count(999), count(4_096), count(10_000_000)];
        assert_eq!(all, ["0", "999", "4,096", "10,000,000"]);
        let all = [bytes(0), bytes(256), bytes(640 << 10), bytes(1 << 30), bytes(1_000)];
        assert_eq!(all, ["0 B", "256 B", "640 KiB", "1 GiB", "1000 B"]);
    }
}
