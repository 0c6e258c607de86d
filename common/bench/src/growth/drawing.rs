//! The curves as a drawing: a row of panels for each part, a panel for each kind of figure. Both
//! scales are logarithmic, so that what is flat is level, and what grows as its cause does rises by
//! as much as that goes to the right.

use std::fmt::Write as _;

use crate::growth::curve::{Column, Curve, Point, count};

/// The size of a panel, in pixels.
const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 170.0;

/// Room around the lines of a panel: left for figures, below for sizes, above for the title.
const LEFT: f64 = 50.0;
const BELOW: f64 = 22.0;
const ABOVE: f64 = 24.0;
const RIGHT: f64 = 22.0;

/// Room above all panels, and above those of a part.
const HEAD: f64 = 44.0;
const TITLE: f64 = 26.0;

/// A colour for each line, and how the columns of a panel are drawn.
const COLOURS: [&str; 3] = ["#c2410c", "#1d4ed8", "#15803d"];
const DASHES: [&str; 3] = ["", "5 3", "2 3"];

/// Draws all curves.
pub(crate) fn svg(setting: &str, curves: &[Curve]) -> String {
    let most = curves.iter().map(|curve| panels(curve).len()).max().unwrap_or(1).max(3);
    let (width, row) = (most as f64 * WIDTH, TITLE + HEIGHT);
    let height = HEAD + curves.len() as f64 * row;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\">What raftd costs as work grows</text>\n\
         <text x=\"12\" y=\"36\" fill=\"#555555\">{setting}</text>\n"
    );
    for (place, curve) in curves.iter().enumerate() {
        let y = HEAD + place as f64 * row;
        let _ = writeln!(svg, "<g transform=\"translate(0 {y})\">");
        title(&mut svg, curve, width);
        for (place, name) in panels(curve).into_iter().enumerate() {
            let x = place as f64 * WIDTH;
            let _ = writeln!(svg, "<g transform=\"translate({x} {TITLE})\">");
            panel(&mut svg, curve, name);
            svg.push_str("</g>\n");
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the titles of the panels, in their order.
fn panels(curve: &Curve) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for name in curve.columns.iter().filter_map(|column| column.panel) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn title(svg: &mut String, curve: &Curve, width: f64) {
    let (name, text) = (curve.part.name(), &curve.title);
    let _ = write!(
        svg,
        "<path d=\"M12 4H{}\" stroke=\"#bbbbbb\"/><text x=\"12\" y=\"22\" font-size=\"12\">\
         <tspan font-weight=\"bold\">{name}</tspan>: {text}",
        width - 12.0
    );
    for (line, colour) in
        curve.lines().into_iter().zip(COLOURS).filter(|(line, _)| !line.is_empty())
    {
        let _ = write!(svg, "  <tspan fill=\"{colour}\" font-weight=\"bold\">{line}</tspan>");
    }
    svg.push_str("</text>\n");
}

/// Where sizes and figures are in a panel.
struct Scale {
    /// The logarithms of the least and of the largest.
    sizes: (f64, f64),
    figures: (f64, f64),
    /// What stands for a size of 0: a tenth of the least other one.
    nothing: f64,
}

impl Scale {
    /// Returns none if there is nothing to be drawn.
    fn of(points: &[Point], places: &[usize]) -> Option<Self> {
        let sizes = points.iter().map(|point| point.size);
        let (least, most) = ends(sizes.filter(|size| *size > 0.0))?;
        let nothing = least / 10.0;
        let least = if points.iter().any(|point| point.size <= 0.0) { nothing } else { least };
        let drawn =
            points.iter().flat_map(|point| places.iter().map(|place| point.figures[*place]));
        let (low, high) = ends(drawn.flatten().filter(|figure| *figure > 0.0))?;
        let low = low.log10().floor();
        let high = high.log10().ceil().max(low + 1.0);
        Some(Self { sizes: (least.log10(), most.log10()), figures: (low, high), nothing })
    }

    fn x(&self, size: f64) -> f64 {
        let (low, high) = self.sizes;
        let share = (size.max(self.nothing).log10() - low) / (high - low).max(0.1);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, figure: f64) -> f64 {
        let (low, high) = self.figures;
        ABOVE + (high - figure.log10()) / (high - low) * (HEIGHT - ABOVE - BELOW)
    }
}

fn ends(all: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    all.fold(None, |ends, one| {
        let (least, most) = ends.unwrap_or((one, one));
        Some((least.min(one), most.max(one)))
    })
}

fn panel(svg: &mut String, curve: &Curve, name: &str) {
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"16\" font-weight=\"bold\">{name}</text>");
    let is_here = |(_, column): &(usize, &Column)| column.panel == Some(name);
    let columns = curve.columns.iter().enumerate().filter(is_here);
    let places: Vec<usize> = columns.map(|(place, _)| place).collect();
    let Some(scale) = Scale::of(&curve.points, &places) else { return };
    grid(svg, curve, &scale);
    for (line, colour) in curve.lines().into_iter().zip(COLOURS) {
        for (place, dash) in places.iter().zip(DASHES) {
            let at = |point: &Point| {
                let figure = point.figures[*place].filter(|figure| *figure > 0.0)?;
                Some((scale.x(point.size), scale.y(figure)))
            };
            let drawn: Vec<(f64, f64)> = curve.of(line).filter_map(at).collect();
            let path: Vec<String> = drawn.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
                 stroke-dasharray=\"{dash}\"/>",
                path.join(" ")
            );
            for (x, y) in drawn {
                let _ = write!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>"
                );
            }
            svg.push('\n');
        }
    }
}

/// Draws a line for each size, and one for each power of ten.
fn grid(svg: &mut String, curve: &Curve, scale: &Scale) {
    let bottom = HEIGHT - BELOW;
    let first = curve.lines().first().copied().unwrap_or_default();
    for point in curve.of(first) {
        let x = scale.x(point.size);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {ABOVE}V{bottom}\" stroke=\"#e5e5e5\"/><text x=\"{x:.1}\" \
             y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
            bottom + 13.0,
            short(&point.label)
        );
    }
    let (low, high) = scale.figures;
    for step in low as i32..=high as i32 {
        let y = scale.y(10_f64.powi(step));
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#e5e5e5\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#555555\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 5.0,
            y + 3.5,
            power(step)
        );
    }
}

/// Writes a power of ten.
fn power(exponent: i32) -> String {
    match u32::try_from(exponent) {
        Ok(exponent) => short(&count(10_u64.saturating_pow(exponent))),
        Err(_) => format!("{:.*}", exponent.unsigned_abs() as usize, 10_f64.powi(exponent)),
    }
}

/// Writes thousands and millions in short.
fn short(label: &str) -> String {
    match label.strip_suffix(",000,000").map(|millions| (millions, "M")) {
        Some((millions, unit)) => format!("{millions}{unit}"),
        None => label.strip_suffix(",000").map_or(label.to_owned(), |some| format!("{some}k")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::curve::tests::curve;

    #[test]
    fn a_line_goes_from_the_least_size_to_the_largest_within_its_panel() {
        let svg = svg("today", &[curve()]);
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (top, bottom) = (ABOVE, HEIGHT - BELOW);
        // A figure of 1,000 is the upper end of its decade, where 3,000 lies in the next.
        let y = |share: f64| top + share * (bottom - top);
        let (first, last) = (y(0.5), y(1.0 - 250_f64.log10() / 2.0 + 1.0));
        let line = format!("points=\"{left:.1},{first:.1} {right:.1},{last:.1}\"");
        assert!(svg.contains(&line), "{line} is not in {svg}");
        assert_eq!(svg.matches("<polyline").count(), 4, "two lines in two panels");
        assert_eq!(svg.matches("LOST").count(), 0, "that is only told");
        assert!(svg.contains(&format!("fill=\"{}\" font-weight=\"bold\">get", COLOURS[1])));
    }

    #[test]
    fn nothing_stands_a_decade_before_the_least() {
        let mut curve = curve();
        curve.points[0].size = 0.0;
        let scale = Scale::of(&curve.points, &[0]).expect("there are figures");
        assert_eq!(scale.sizes, (1.0, 3.0));
        assert!((scale.x(0.0) - LEFT).abs() < 1e-9);
        assert!(Scale::of(&curve.points, &[2]).is_some(), "one is above 0");
        assert!(Scale::of(&curve.points[..2], &[2]).is_none());
    }

    #[test]
    fn powers_and_sizes_are_short() {
        let all = [-3, -1, 0, 2, 3, 5, 6].map(power);
        assert_eq!(all, ["0.001", "0.1", "1", "100", "1k", "100k", "1M"]);
        assert_eq!([short("1,024"), short("64 KiB"), short("0")], ["1,024", "64 KiB", "0"]);
    }
}
