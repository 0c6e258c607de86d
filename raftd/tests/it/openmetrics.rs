//! A strict reader of OpenMetrics 1.0, as far as a node writes it: whatever the specification does
//! not allow is an error, with its line.

use std::collections::{BTreeMap, BTreeSet};

/// A page, by sample: its name and its labels in order.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) families: BTreeMap<String, Family>,
}

/// What belongs to one description.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) unit: String,
    help: String,
    pub(crate) samples: Vec<Sample>,
}

/// A number with its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// The first line that is not allowed, and why.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?;
        let mut page = Self::default();
        let mut current = String::new();
        for line in body.split_terminator('\n') {
            let wrong = |why: &str| format!("{why}: {line:?}");
            if let Some(rest) = line.strip_prefix("# ") {
                let mut parts = rest.splitn(3, ' ');
                let (Some(what), Some(name), Some(text)) =
                    (parts.next(), parts.next(), parts.next())
                else {
                    return Err(wrong("a description of nothing"));
                };
                if name != current {
                    if !is_name(name) || page.families.contains_key(name) {
                        return Err(wrong("a name that is none, or comes twice"));
                    }
                    page.families.insert(name.to_owned(), Family::default());
                    name.clone_into(&mut current);
                }
                page.family(&current).describe(what, text).map_err(|why| wrong(&why))?;
            } else {
                let sample = sample(line).map_err(|why| wrong(&why))?;
                page.family(&current).add(&current, sample).map_err(|why| wrong(&why))?;
            }
        }
        for (name, family) in &page.families {
            family.check(name).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(page)
    }

    /// Returns all samples of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples.filter(move |sample| sample.name == name)
    }

    /// Returns the value of the one sample of this name with these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            labels.iter().all(|(name, value)| sample.label(name) == Some(*value))
        };
        let found: Vec<&Sample> = self.all(name).filter(fits).collect();
        assert!(found.len() <= 1, "{name} {labels:?} is not one sample: {found:?}");
        found.first().map(|sample| sample.value)
    }

    fn family(&mut self, name: &str) -> &mut Family {
        self.families.entry(name.to_owned()).or_default()
    }
}

impl Family {
    fn describe(&mut self, what: &str, text: &str) -> Result<(), String> {
        let known = ["counter", "gauge", "histogram", "info", "unknown"];
        let place = match what {
            "HELP" => &mut self.help,
            "TYPE" if known.contains(&text) => &mut self.kind,
            "UNIT" => &mut self.unit,
            _ => return Err("neither HELP, nor UNIT, nor a known TYPE".to_owned()),
        };
        if !place.is_empty() || !self.samples.is_empty() {
            return Err("described twice, or behind its samples".to_owned());
        }
        text.clone_into(place);
        Ok(())
    }

    fn add(&mut self, family: &str, sample: Sample) -> Result<(), String> {
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "gauge" | "unknown" => &[""],
            "info" => &["_info"],
            _ => return Err("a sample without a type".to_owned()),
        };
        let suffix = sample.name.strip_prefix(family);
        if !suffix.is_some_and(|suffix| suffixes.contains(&suffix)) {
            return Err(format!("a sample among those of {family}"));
        }
        if self.kind != "gauge" && (sample.value.is_nan() || sample.value < 0.0) {
            return Err("a count below 0".to_owned());
        }
        self.samples.push(sample);
        Ok(())
    }

    fn check(&self, name: &str) -> Result<(), String> {
        if self.help.is_empty() || self.kind.is_empty() || self.samples.is_empty() {
            return Err("it lacks a description, a type or samples".to_owned());
        }
        if !self.unit.is_empty() && !name.ends_with(&format!("_{}", self.unit)) {
            return Err(format!("its name does not end with its unit {}", self.unit));
        }
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            labels.sort();
            if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err("a label comes twice".to_owned());
            }
            if !seen.insert((&sample.name, labels)) {
                return Err("a sample comes twice".to_owned());
            }
        }
        if self.kind == "histogram" { self.check_buckets(name) } else { Ok(()) }
    }

    /// Buckets are in order and cumulative, and the last one counts all. A node has no histograms
    /// with labels of their own.
    fn check_buckets(&self, name: &str) -> Result<(), String> {
        let of = |suffix: &str| {
            let name = format!("{name}{suffix}");
            self.samples.iter().filter(move |sample| sample.name == name)
        };
        let mut before = (f64::NEG_INFINITY, 0.0);
        for bucket in of("_bucket") {
            let bound = match bucket.label("le") {
                Some("+Inf") => f64::INFINITY,
                Some(bound) => bound.parse().map_err(|_| "le is no number")?,
                None => return Err("a bucket without a bound".to_owned()),
            };
            if bucket.labels.len() != 1 || bound <= before.0 || bucket.value < before.1 {
                return Err("buckets are not in order".to_owned());
            }
            before = (bound, bucket.value);
        }
        let counts: Vec<f64> = of("_count").map(|sample| sample.value).collect();
        let is_whole = before.0 == f64::INFINITY && counts == [before.1];
        if is_whole && of("_sum").count() == 1 {
            return Ok(());
        }
        Err("its last bucket does not count all".to_owned())
    }
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// Reads `name{label="value",..} number`.
fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no number")?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return Err("no name".to_owned());
    }
    let (labels, number) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let number = number.strip_prefix(' ').ok_or("no blank before the number")?;
    let value = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

type Labels = Vec<(String, String)>;

fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Vec::new();
    loop {
        let (name, behind) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a label"));
        }
        let mut value = String::new();
        let mut letters = behind.char_indices();
        let end = loop {
            match letters.next().ok_or("a value that does not end")? {
                (at, '"') => break at,
                (_, '\\') => match letters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, letter @ ('"' | '\\'))) => value.push(letter),
                    _ => return Err("an escape that is none".to_owned()),
                },
                (_, letter) => value.push(letter),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &behind[end + 1..];
        if let Some(number) = rest.strip_prefix('}') {
            return Ok((labels, number));
        }
        rest = rest.strip_prefix(',').ok_or("labels without a comma")?;
    }
}

#[test]
fn what_the_format_does_not_allow_is_found() {
    let good = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n\
                a_seconds{b=\"x\\\"y\"} 1.5\n\
                # HELP c Events.\n# TYPE c counter\nc_total 2\n# EOF\n";
    let page = Page::parse(good).unwrap();
    assert_eq!(page.value("a_seconds", &[("b", "x\"y")]), Some(1.5));
    for (from, to) in [
        ("# EOF\n", ""),
        ("c_total 2", "c 2"),
        ("c_total 2", "c_total -2"),
        ("c_total 2", "c_total 2\nc_total 3"),
        ("c_total 2", "c_total two"),
        ("c_total 2", "c_total 2\na_seconds 1"),
        ("# TYPE c counter\n", ""),
        ("# TYPE c counter", "# TYPE c tally"),
        ("# HELP c Events.\n", ""),
        ("a_seconds seconds", "a_seconds bytes"),
        ("b=\"x\\\"y\"", "b=\"x\\\"y\",b=\"z\""),
        ("b=\"x\\\"y\"", "b=\"x\\y\""),
        ("b=\"x\\\"y\"", "b=x"),
        ("# HELP c", "# HELP a_seconds"),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        assert!(Page::parse(&bad).is_err(), "{bad}");
    }
}
