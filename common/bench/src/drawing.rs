//! The latencies as a drawing: for each work, how long the slowest share of requests takes.

use std::fmt::Write as _;

use crate::figures::Figures;
use crate::results::Results;
use crate::systems::NAMES;
use crate::work::Work;

/// Panels in a row, and the size of each, in pixels.
const COLUMNS: usize = 3;
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 210.0;

/// Room around the lines of a panel: left for figures, below for shares, above for the title.
const LEFT: f64 = 52.0;
const BELOW: f64 = 30.0;
const ABOVE: f64 = 26.0;
const RIGHT: f64 = 12.0;

/// Room above all panels, for the heading.
const HEAD: f64 = 56.0;

/// Nines that are drawn: up to 99.99 %.
const NINES: f64 = 4.0;

/// A colour for each of the systems.
const COLOURS: [&str; NAMES.len()] = ["#c2410c", "#1d4ed8", "#15803d"];

/// Draws all works.
pub(crate) fn svg(results: &Results) -> String {
    let rows = results.works.len().div_ceil(COLUMNS);
    let (width, height) = (COLUMNS as f64 * WIDTH, HEAD + rows as f64 * HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\">Latency in ms that a share of requests stays \
         below</text>\n<text x=\"12\" y=\"36\" fill=\"#555555\" font-size=\"10\">{}</text>\n",
        results.setting
    );
    for (place, system) in results.systems.iter().enumerate() {
        let x = 12.0 + place as f64 * 90.0;
        let colour = colour(system.name);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"51\" fill=\"{colour}\" font-weight=\"bold\">{}</text>",
            system.name
        );
    }
    for (place, (work, all)) in results.works.iter().enumerate() {
        let x = (place % COLUMNS) as f64 * WIDTH;
        let y = HEAD + (place / COLUMNS) as f64 * HEIGHT;
        let lines = results.systems.iter().zip(all);
        let lines: Vec<(&str, &Figures)> =
            lines.filter_map(|(system, figures)| Some((system.name, figures.as_ref()?))).collect();
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel(&mut svg, *work, &lines);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn colour(system: &str) -> &'static str {
    NAMES.iter().position(|name| *name == system).map_or("#000000", |place| COLOURS[place])
}

/// Draws a work: both scales are logarithmic.
fn panel(svg: &mut String, work: Work, lines: &[(&str, &Figures)]) {
    let _ =
        writeln!(svg, "<text x=\"{LEFT}\" y=\"16\" font-weight=\"bold\">{}</text>", work.title());
    let points = lines.iter().flat_map(|(_, figures)| drawn(figures)).map(|(_, us)| us);
    let (least, most) =
        points.fold((f64::MAX, 0.0_f64), |(least, most), us| (least.min(us), most.max(us)));
    if most <= 0.0 {
        return;
    }
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let x = |nines: f64| LEFT + nines / NINES * (WIDTH - LEFT - RIGHT);
    let y = |us: f64| ABOVE + (high - us.log10()) / (high - low) * (HEIGHT - ABOVE - BELOW);
    for nines in 0..=4_u32 {
        let (at, bottom) = (x(f64::from(nines)), HEIGHT - BELOW);
        let label = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"][nines as usize];
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {ABOVE}V{bottom}\" stroke=\"#e5e5e5\"/><text x=\"{at:.1}\" \
             y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555555\">{label}</text>",
            bottom + 14.0
        );
    }
    let mut step = low;
    while step <= high {
        let us = 10_f64.powf(step);
        let at = y(us);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#e5e5e5\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#555555\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 5.0,
            at + 4.0,
            us / 1e3
        );
        step += 1.0;
    }
    for (system, figures) in lines {
        let path: Vec<String> =
            drawn(figures).map(|(nines, us)| format!("{:.1},{:.1}", x(nines), y(us))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
            path.join(" "),
            colour(system)
        );
    }
}

/// Returns the points of a line: how many nines, and microseconds.
fn drawn(figures: &Figures) -> impl Iterator<Item = (f64, f64)> + '_ {
    let point = |(share, us): &(f64, f64)| (-(1.0 - share).log10(), us.max(1.0));
    figures.curve.iter().map(point).filter(|(nines, _)| *nines <= NINES + 0.01)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::QUICK;

    #[test]
    fn a_line_goes_from_the_quickest_to_the_slowest_within_the_panel() {
        let curve = vec![(0.0, 100.0), (0.9, 1_000.0), (0.99, 10_000.0)];
        let figures = Figures { curve, ..Figures::default() };
        let mut svg = String::new();
        panel(&mut svg, QUICK[0], &[("raftd", &figures)]);
        let bottom = HEIGHT - BELOW;
        let middle = LEFT + 2.0 / NINES * (WIDTH - LEFT - RIGHT);
        assert!(svg.contains(&format!("points=\"{LEFT:.1},{bottom:.1} ")), "{svg}");
        assert!(svg.contains(&format!(" {middle:.1},{ABOVE:.1}\"")), "{svg}");
        assert!(svg.contains(COLOURS[0]));
    }

    #[test]
    fn a_work_that_nobody_did_has_a_title_and_no_line() {
        let mut svg = String::new();
        panel(&mut svg, QUICK[0], &[]);
        assert!(svg.contains(&QUICK[0].title()) && !svg.contains("polyline"));
    }
}
