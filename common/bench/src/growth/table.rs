//! A curve as a table.

use crate::growth::curve::Curve;
use crate::table::aligned;

/// Writes a curve for people; below each line stands how its figures have grown.
pub(crate) fn text(curve: &Curve) -> String {
    let name = curve.part.name();
    let mut header = vec![name.to_uppercase(), String::new()];
    header.extend(curve.columns.iter().map(|column| column.heading.to_owned()));
    let mut rows = vec![header];
    for line in curve.lines() {
        for point in curve.of(line) {
            let mut row = vec![point.label.clone(), line.to_owned()];
            let cells = curve.columns.iter().zip(&point.figures);
            row.extend(cells.map(|(column, figure)| some(*figure, column.digits)));
            rows.push(row);
        }
        let mut row = vec!["last to first".to_owned(), line.to_owned()];
        row.extend(curve.ratios(line).into_iter().map(times));
        rows.push(row);
    }
    if curve.lines() == [""] {
        rows.iter_mut().for_each(|row| _ = row.remove(1));
    }
    let words = if curve.lines() == [""] { 1 } else { 2 };
    format!("{name}: {}\n\n{}\n{}", curve.title, aligned(&rows, words), curve.legend)
}

/// Writes how many times as large something is: two digits, or all of those before the point.
fn times(ratio: Option<f64>) -> String {
    let Some(ratio) = ratio else { return "-".to_owned() };
    let digits = (1.0 - ratio.log10().floor()).clamp(0.0, 6.0);
    format!("x{ratio:.*}", digits as usize)
}

fn some(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::curve::tests::curve;

    #[test]
    fn each_line_ends_with_how_it_has_grown() {
        let expected = "\
keys: 64 clients

KEYS                OPS/S  P50 ms  LOST
100            put   1000    0.50     -
1,000          put    250    2.00     -
last to first  put  x0.25    x4.0     -
100            get   3000    0.12     0
1,000          get   3000    0.25     7
last to first  get   x1.0    x2.0     -

LOST: nothing, one hopes.
";
        assert_eq!(text(&curve()), expected);
    }

    #[test]
    fn a_ratio_has_two_digits_that_count() {
        let all = [0.00454, 0.046, 0.99, 1.0, 13.94, 286.2].map(|ratio| times(Some(ratio)));
        assert_eq!(all, ["x0.0045", "x0.046", "x0.99", "x1.0", "x14", "x286"]);
    }

    #[test]
    fn a_single_line_needs_no_name() {
        let mut curve = curve();
        curve.points.truncate(1);
        curve.points[0].line = "";
        assert!(
            text(&curve).contains("KEYS           OPS/S  P50 ms  LOST\n100"),
            "{}",
            text(&curve)
        );
    }
}
