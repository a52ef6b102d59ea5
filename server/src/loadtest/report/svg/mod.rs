//! Plots as SVG.
//!
//! Our own, since what a plot of this report needs is small: lines over time, two axes, shaded
//! phases. Plotters has no phases and no legend that wraps, and writes colours and fonts into each
//! element, so that one picture cannot suit a light and a dark page; Charming draws with a script,
//! which a page that is mailed, or read in ten years, must not need. Here colours are classes, and
//! the page's style says what they are.

mod bands;
mod line;
mod scale;

use std::fmt::Write as _;

use super::html::escaped;
use crate::loadtest::findings::Phase;
use line::pixels;
use scale::{Scale, Tick};

/// Colours and dashes that the page has for lines; a seventh line looks like the first.
pub(super) const LOOKS: usize = 6;

/// What a plot shows.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// What it is called.
    pub(crate) title: String,
    /// What its figures are of.
    pub(crate) unit: String,
    /// Its lines, which share this unit.
    pub(crate) lines: Vec<Line>,
    /// Its shaded stretches.
    pub(crate) phases: Vec<Phase>,
    /// Whether an axis by powers of ten is right if the figures are far apart.
    pub(crate) may_be_logarithmic: bool,
}

/// A line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What it is called.
    pub(crate) name: String,
    /// Seconds and figures, in order of time; `None` is a gap.
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

impl Line {
    /// Its figures.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        self.points.iter().filter_map(|(_, value)| *value)
    }
}

impl Chart {
    /// When the last thing in it happens, in seconds.
    pub(super) fn end(&self) -> f64 {
        let times = self.lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at));
        let times = times.chain(self.phases.iter().map(|phase| phase.to_s));
        times.fold(0.0, f64::max)
    }
}

/// How large a picture is, in pixels of its own; the page stretches it a little.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// For the page's style.
    pub(super) class: &'static str,
    width: f64,
    height: f64,
    ticks: u32,
}

/// For a screen on a desk, and for paper.
pub(super) const WIDE: Size = Size { class: "wide", width: 880.0, height: 300.0, ticks: 8 };
/// For a telephone: the same letters on half the width.
pub(super) const NARROW: Size = Size { class: "narrow", width: 390.0, height: 260.0, ticks: 4 };

const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 38.0;
/// Height of a row of phases' names.
const ROW: f64 = 15.0;
/// Letters of 11 pixels are so wide, on the safe side.
const LETTER: f64 = 6.4;

/// The inner rectangle of a picture, and its axes.
struct Frame {
    x: Scale,
    y: Scale,
    top: f64,
    bottom: f64,
    right: f64,
}

impl Frame {
    fn at_x(&self, seconds: f64) -> f64 {
        LEFT + self.x.part(seconds) * (self.right - LEFT)
    }

    fn at_y(&self, value: f64) -> f64 {
        self.bottom - self.y.part(value) * (self.bottom - self.top)
    }
}

/// The picture of a chart. `id` is unique in the page; `about` is heard by those who do not see it.
pub(super) fn draw(chart: &Chart, size: Size, id: &str, about: &str) -> String {
    let values = chart.lines.iter().flat_map(Line::values).collect::<Vec<_>>();
    let y = Scale::of_values(values.iter().copied(), &chart.unit, chart.may_be_logarithmic, 5);
    let right = size.width - RIGHT;
    let mut frame = Frame {
        x: Scale::of_time(chart.end(), size.ticks),
        y,
        top: TOP,
        bottom: size.height - BOTTOM,
        right,
    };
    let phases = &chart.phases;
    let names = phases.iter().map(|phase| (frame.at_x(phase.from_s) + 3.0, width(&phase.name)));
    let names = bands::places(&names.collect::<Vec<_>>(), LEFT, right);
    let rows = names.iter().flatten().map(|place| place.row + 1).max().unwrap_or(0);
    frame.top += rows as f64 * ROW;

    let mut svg = format!(
        "<svg class=\"plot {}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        size.class,
        size.width,
        size.height,
        escaped(&chart.title),
        escaped(about),
    );
    draw_bands(&mut svg, &frame, phases, &names);
    draw_axes(&mut svg, &frame);
    draw_lines(&mut svg, &frame, &chart.lines);
    if values.is_empty() {
        let (x, y) = ((LEFT + right) / 2.0, (frame.top + frame.bottom) / 2.0);
        text(&mut svg, "empty", x, y, "no figures");
    }
    svg.push_str("</svg>");
    svg
}

fn draw_bands(svg: &mut String, frame: &Frame, phases: &[Phase], names: &[Option<bands::Place>]) {
    for (n, phase) in phases.iter().enumerate() {
        let from = frame.at_x(phase.from_s);
        // A moment is seen too.
        let wide = (frame.at_x(phase.to_s) - from).max(1.5);
        let _ = write!(
            svg,
            "<rect class=\"band b{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            n % 2,
            pixels(from),
            pixels(frame.top),
            pixels(wide),
            pixels(frame.bottom - frame.top),
        );
    }
    for (phase, place) in phases.iter().zip(names) {
        let Some(place) = place else { continue };
        let y = frame.top - 4.0 - place.row as f64 * ROW;
        let from = frame.at_x(phase.from_s);
        stroke(svg, "edge", (from, y - 8.0), (from, frame.bottom));
    }
    for (phase, place) in phases.iter().zip(names) {
        let Some(place) = place else { continue };
        text(svg, "phase", place.x, frame.top - 4.0 - place.row as f64 * ROW, &phase.name);
    }
}

fn draw_axes(svg: &mut String, frame: &Frame) {
    for Tick { at, label } in &frame.y.ticks {
        let y = frame.at_y(*at);
        stroke(svg, "grid", (LEFT, y), (frame.right, y));
        text(svg, "y", LEFT - 7.0, y + 4.0, label);
    }
    for Tick { at, label } in &frame.x.ticks {
        let x = frame.at_x(*at);
        stroke(svg, "mark", (x, frame.bottom), (x, frame.bottom + 4.0));
        text(svg, "x", x, frame.bottom + 16.0, label);
    }
    stroke(svg, "axis", (LEFT, frame.bottom), (frame.right, frame.bottom));
    let since = format!("since the scenario began, in {}", frame.x.unit);
    text(svg, "x unit", (LEFT + frame.right) / 2.0, frame.bottom + 32.0, &since);
    let unit = match frame.y.is_logarithmic() {
        true => "logarithmic".to_owned(),
        false => spoken_unit(&frame.y.unit),
    };
    text(svg, "unit", 4.0, 12.0, &unit);
}

fn draw_lines(svg: &mut String, frame: &Frame, lines: &[Line]) {
    for (n, line) in lines.iter().enumerate() {
        let look = n % LOOKS;
        let place = |at: f64, value: f64| (frame.at_x(at), frame.at_y(value));
        for stretch in line::stretches(&line.points, place) {
            let _ = match stretch.as_slice() {
                // A line needs two points.
                [(x, y)] => write!(
                    svg,
                    "<circle class=\"dot l{look}\" cx=\"{}\" cy=\"{}\" r=\"3\"/>",
                    pixels(*x),
                    pixels(*y)
                ),
                points => {
                    write!(svg, "<path class=\"line l{look}\" d=\"{}\"/>", line::path(points))
                }
            };
        }
    }
}

/// `1/s` on an axis is read as "a second".
fn spoken_unit(unit: &str) -> String {
    unit.replace("1/s", "a second")
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let (x, y) = (pixels(x), pixels(y));
    let _ = write!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(words));
}

fn stroke(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = write!(
        svg,
        "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
        pixels(from.0),
        pixels(from.1),
        pixels(to.0),
        pixels(to.1),
    );
}

fn width(words: &str) -> f64 {
    words.chars().count() as f64 * LETTER
}

#[cfg(test)]
mod tests;
