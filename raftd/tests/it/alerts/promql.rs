//! As much of PromQL as the alert rules use, over samples that were scraped from running nodes:
//! selectors, ranges, arithmetic, comparisons, `and`, and four functions. `promtool` judges the
//! same where it is installed; what this one does not know, it refuses.

use std::collections::BTreeMap;

/// Labels in order; the name of a metric is `__name__`.
pub(crate) type Labels = BTreeMap<String, String>;

/// What was scraped: for each series its values, with when, in seconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) series: BTreeMap<Labels, Vec<(f64, f64)>>,
    pub(crate) now: f64,
}

/// Values by their labels.
type Vector = Vec<(Labels, f64)>;

#[derive(Debug)]
enum Value {
    Scalar(f64),
    Vector(Vector),
    Range(Vec<(Labels, Vec<(f64, f64)>)>),
}

/// A value older than this is none, in seconds.
const STALE_S: f64 = 300.0;

/// Returns what an expression gives at the end of a history.
///
/// # Errors
/// If it is not understood.
pub(crate) fn evaluate(expression: &str, history: &History) -> Result<Vector, String> {
    let mut parser = Parser { tokens: tokens(expression)?, at: 0, history };
    let value = parser.both()?;
    if parser.at < parser.tokens.len() {
        return Err(format!("{:?} is left", &parser.tokens[parser.at..]));
    }
    match value {
        Value::Vector(vector) => Ok(vector),
        Value::Scalar(_) | Value::Range(_) => Err("it is no vector".to_owned()),
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        let start = at;
        let word = |letter: char| letter.is_ascii_alphanumeric() || "_.:".contains(letter);
        match letters[at] {
            letter if letter.is_whitespace() => {
                at += 1;
                continue;
            }
            '"' => {
                let rest = &letters[at + 1..];
                let end =
                    rest.iter().position(|letter| *letter == '"').ok_or("no end of a text")?;
                at += end + 2;
            }
            letter if word(letter) => {
                while at < letters.len() && word(letters[at]) {
                    at += 1;
                }
            }
            '=' | '!' | '<' | '>' => {
                at += 1;
                at += usize::from(letters.get(at) == Some(&'='));
            }
            _ => at += 1,
        }
        tokens.push(letters[start..at].iter().collect());
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    history: &'a History,
}

impl Parser<'_> {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let is_it = self.peek() == wanted;
        self.at += usize::from(is_it);
        is_it
    }

    fn want(&mut self, wanted: &str) -> Result<(), String> {
        let found = self.peek().to_owned();
        if self.accept(wanted) { Ok(()) } else { Err(format!("{wanted} wanted, {found:?} found")) }
    }

    /// `a and on (label, ..) b`
    fn both(&mut self) -> Result<Value, String> {
        let mut left = self.compared()?;
        while self.accept("and") {
            let on = if self.accept("on") { Some(self.names()?) } else { None };
            let (Value::Vector(ours), Value::Vector(theirs)) = (left, self.compared()?) else {
                return Err("and stands between vectors".to_owned());
            };
            let key = |labels: &Labels| key(labels, on.as_deref());
            let is_there = |one: &(Labels, f64)| theirs.iter().any(|it| key(&it.0) == key(&one.0));
            left = Value::Vector(ours.into_iter().filter(is_there).collect());
        }
        Ok(left)
    }

    fn names(&mut self) -> Result<Vec<String>, String> {
        self.want("(")?;
        let mut names = vec![self.next()];
        while self.accept(",") {
            names.push(self.next());
        }
        self.want(")").map(|()| names)
    }

    /// Keeps what compares so.
    fn compared(&mut self) -> Result<Value, String> {
        let left = self.summed()?;
        let holds: fn(f64, f64) -> bool = match self.peek() {
            "==" => |a, b| a == b,
            "!=" => |a, b| a != b,
            "<" => |a, b| a < b,
            ">" => |a, b| a > b,
            "<=" => |a, b| a <= b,
            ">=" => |a, b| a >= b,
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.summed()?;
        let pairs = paired(left, right)?;
        let kept = pairs.into_iter().filter(|(_, ours, theirs)| holds(*ours, *theirs));
        Ok(Value::Vector(kept.map(|(labels, ours, _)| (labels, ours)).collect()))
    }

    fn summed(&mut self) -> Result<Value, String> {
        let mut left = self.multiplied()?;
        loop {
            let operate: fn(f64, f64) -> f64 = match self.peek() {
                "+" => |a, b| a + b,
                "-" => |a, b| a - b,
                _ => return Ok(left),
            };
            self.at += 1;
            left = operated(left, self.multiplied()?, operate)?;
        }
    }

    fn multiplied(&mut self) -> Result<Value, String> {
        let mut left = self.single()?;
        loop {
            let operate: fn(f64, f64) -> f64 = match self.peek() {
                "*" => |a, b| a * b,
                "/" => |a, b| a / b,
                _ => return Ok(left),
            };
            self.at += 1;
            left = operated(left, self.single()?, operate)?;
        }
    }

    fn single(&mut self) -> Result<Value, String> {
        if self.accept("(") {
            let value = self.both()?;
            return self.want(")").map(|()| value);
        }
        let word = self.next();
        if let Ok(number) = word.parse() {
            return Ok(Value::Scalar(number));
        }
        match word.as_str() {
            "time" => {
                self.want("(")?;
                self.want(")").map(|()| Value::Scalar(self.history.now))
            }
            "increase" | "rate" => {
                self.want("(")?;
                let Value::Range(range) = self.both()? else {
                    return Err(format!("{word} takes a range"));
                };
                self.want(")").map(|()| Value::Vector(grown(range, word == "rate")))
            }
            "histogram_quantile" => {
                self.want("(")?;
                let Value::Scalar(quantile) = self.both()? else {
                    return Err("a quantile is a number".to_owned());
                };
                self.want(",")?;
                let Value::Vector(buckets) = self.both()? else {
                    return Err("buckets are a vector".to_owned());
                };
                self.want(")").map(|()| Value::Vector(quantiles(quantile, &buckets)))
            }
            _ => self.selected(word),
        }
    }

    /// `name{label="value"}`, with a range behind it or without.
    fn selected(&mut self, name: String) -> Result<Value, String> {
        if !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            return Err(format!("{name:?} is no name"));
        }
        let mut wanted = vec![("__name__".to_owned(), name)];
        if self.accept("{") {
            while !self.accept("}") {
                let label = self.next();
                self.want("=")?;
                wanted.push((label, self.next().trim_matches('"').to_owned()));
                self.accept(",");
            }
        }
        let history = self.history;
        let fits =
            |labels: &Labels| wanted.iter().all(|(name, value)| labels.get(name) == Some(value));
        let found = history.series.iter().filter(|(labels, _)| fits(labels));
        if self.accept("[") {
            let since = history.now - seconds(&self.next())?;
            self.want("]")?;
            let within = |points: &[(f64, f64)]| {
                points.iter().copied().filter(|(at, _)| *at >= since).collect()
            };
            return Ok(Value::Range(
                found.map(|(labels, points)| (labels.clone(), within(points))).collect(),
            ));
        }
        let last = found.filter_map(|(labels, points)| {
            let (at, value) = *points.last()?;
            (at >= history.now - STALE_S).then(|| (labels.clone(), value))
        });
        Ok(Value::Vector(last.collect()))
    }
}

/// Reads `15m`.
fn seconds(text: &str) -> Result<f64, String> {
    let unit = text.chars().last().ok_or("no duration")?;
    let factor = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        _ => return Err(format!("{text} is no duration")),
    };
    let number: f64 = text.trim_end_matches(unit).parse().map_err(|_| "no number")?;
    Ok(number * factor)
}

/// What two series are matched by: some labels, or all but the name.
fn key(labels: &Labels, on: Option<&[String]>) -> Labels {
    let counts = |name: &String| on.map_or(name != "__name__", |on| on.contains(name));
    let labels = labels.iter().filter(|(name, _)| counts(name));
    labels.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn paired(left: Value, right: Value) -> Result<Vec<(Labels, f64, f64)>, String> {
    Ok(match (left, right) {
        (Value::Vector(left), Value::Scalar(right)) => {
            left.into_iter().map(|(labels, value)| (labels, value, right)).collect()
        }
        (Value::Scalar(left), Value::Vector(right)) => {
            right.into_iter().map(|(labels, value)| (labels, left, value)).collect()
        }
        (Value::Vector(left), Value::Vector(right)) => {
            let other = |labels: &Labels| {
                let wanted = key(labels, None);
                right.iter().find(|(labels, _)| key(labels, None) == wanted)
            };
            let pairs = left.into_iter().filter_map(|(labels, value)| {
                let theirs = other(&labels)?.1;
                Some((labels, value, theirs))
            });
            pairs.collect()
        }
        (left, right) => return Err(format!("{left:?} and {right:?} do not go together")),
    })
}

fn operated(left: Value, right: Value, operate: fn(f64, f64) -> f64) -> Result<Value, String> {
    if let (Value::Scalar(left), Value::Scalar(right)) = (&left, &right) {
        return Ok(Value::Scalar(operate(*left, *right)));
    }
    let pairs = paired(left, right)?.into_iter();
    Ok(Value::Vector(pairs.map(|(l, a, b)| (key(&l, None), operate(a, b))).collect()))
}

/// How much counters have grown; one that fell was begun anew.
fn grown(range: Vec<(Labels, Vec<(f64, f64)>)>, a_second: bool) -> Vector {
    let grown = range.into_iter().filter_map(|(labels, points)| {
        let ((first, _), (last, _)) = (points.first()?, points.last()?);
        let grown: f64 = points
            .windows(2)
            .map(|pair| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 })
            .sum();
        let divisor = if a_second { last - first } else { 1.0 };
        (points.len() > 1).then(|| (key(&labels, None), grown / divisor))
    });
    grown.collect()
}

/// Quantiles of histograms, within a bucket in proportion.
fn quantiles(quantile: f64, buckets: &Vector) -> Vector {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (labels, count) in buckets {
        let mut rest = key(labels, None);
        let bound = rest.remove("le").unwrap_or_default().replace("+Inf", "inf");
        let bound = bound.parse().expect("a bound is a number");
        histograms.entry(rest).or_default().push((bound, *count));
    }
    let quantiles = histograms.into_iter().filter_map(|(labels, mut buckets)| {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last()?.1;
        let rank = quantile * all;
        let place = buckets.iter().position(|(_, count)| *count >= rank)?;
        let before = if place > 0 { buckets[place - 1] } else { (0.0, 0.0) };
        let (bound, count) = buckets[place];
        let within = (rank - before.1) / (count - before.1);
        let value =
            if bound.is_finite() { before.0 + (bound - before.0) * within } else { before.0 };
        (all > 0.0).then_some((labels, value))
    });
    quantiles.collect()
}

#[test]
fn expressions_give_what_prometheus_would() {
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mut history = History { now: 1_000.0, ..History::default() };
    let mut add = |pairs: &[(&str, &str)], points: &[(f64, f64)]| {
        history.series.insert(labels(pairs), points.to_vec());
    };
    add(&[("__name__", "a"), ("i", "1")], &[(940.0, 1.0), (970.0, 5.0), (1_000.0, 2.0)]);
    add(&[("__name__", "a"), ("i", "2")], &[(1_000.0, 9.0)]);
    add(&[("__name__", "b"), ("i", "1"), ("x", "y")], &[(1_000.0, 1.0)]);
    add(&[("__name__", "old"), ("i", "1")], &[(100.0, 1.0)]);
    for (bound, count) in [("0.1", 90.0), ("1.0", 100.0), ("+Inf", 100.0)] {
        add(&[("__name__", "h_bucket"), ("le", bound)], &[(1_000.0, count)]);
    }
    for (expression, wanted) in [
        ("a", vec![2.0, 9.0]),
        ("a{i=\"2\"} > 3", vec![9.0]),
        ("a > 2 * 2", vec![9.0]),
        ("a - time() < 0 - 995", vec![-998.0]),
        ("a and on (i) b{x=\"y\"} == 1", vec![2.0]),
        ("a and b", vec![]),
        ("a == a", vec![2.0, 9.0]),
        ("old", vec![]),
        ("increase(a[1m])", vec![6.0]),
        ("rate(a[2m])", vec![0.1]),
        ("histogram_quantile(0.95, h_bucket)", vec![0.55]),
    ] {
        let found = evaluate(expression, &history).unwrap();
        let found: Vec<f64> = found.into_iter().map(|(_, value)| value).collect();
        let same = found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(same && found.len() == wanted.len(), "{expression}: {found:?}");
    }
    for wrong in ["a or b", "1", "a[5m]", "avg(a)", "a >", "a{i=~\"1\"}", "increase(a)"] {
        assert!(evaluate(wrong, &history).is_err(), "{wrong}");
    }
}
