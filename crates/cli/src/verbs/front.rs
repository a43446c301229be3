//! The Pareto front of a search: as a table, and as a picture.

use crate::human;
use crate::table::Table;
use anemone::{Found, Point};

/// The front as a table.
pub(super) fn table(found: &Found) -> String {
    let mut table = Table::new(&[">package", ">bits per element", ">loss", ">loss, added up", ""]);
    for p in &found.front {
        table.row(vec![
            human::bytes(p.bytes),
            format!("{:.2}", p.bits),
            share(p.measured),
            share(p.predicted),
            if p.chosen { "chosen".to_owned() } else { String::new() },
        ]);
    }
    format!("\nFront of {} measured predictions:\n{}", found.runs, table.render())
}

fn share(loss: f64) -> String {
    format!("{:.3} %", loss * 100.0)
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 60.0;

/// A range of numbers along one side of the picture.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, v: f64) -> f64 {
        let span = (self.most - self.least).max(f64::MIN_POSITIVE);
        self.from + (v - self.least) / span * (self.to - self.from)
    }

    /// Round numbers, about five of them: multiples of 1, 2 or 5 times a power of ten.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.most - self.least).max(f64::MIN_POSITIVE) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough);
        let step = step.unwrap_or(power * 10.0);
        let first = (self.least / step).ceil();
        let ticks = (0..12).map(|i| (first + f64::from(i)) * step);
        ticks.filter(|t| *t <= self.most * (1.0 + 1e-9)).collect()
    }
}

/// The front as a picture (SVG): size to the right, loss upwards, measured and added up.
pub(super) fn svg(title: &str, front: &[Point]) -> String {
    let bytes = || front.iter().map(|p| p.bytes as f64);
    let losses = || front.iter().flat_map(|p| [p.measured, p.predicted]).filter(|l| l.is_finite());
    let x = Axis {
        least: bytes().fold(f64::INFINITY, f64::min) / 1e6,
        most: bytes().fold(0.0, f64::max) / 1e6,
        from: LEFT,
        to: WIDTH - RIGHT,
    };
    let y = Axis { least: 0.0, most: losses().fold(1e-6, f64::max) * 100.0, from: HEIGHT - BOTTOM, to: TOP };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let (bottom, middle) = (HEIGHT - BOTTOM, HEIGHT / 2.0);
    for t in x.ticks() {
        let at = x.at(t);
        out +=
            &format!("<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\n");
        out += &format!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 18.0,
            tick(t)
        );
    }
    for t in y.ticks() {
        let at = y.at(t);
        out += &format!(
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n",
            WIDTH - RIGHT
        );
        out += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            at + 4.0,
            tick(t)
        );
    }
    out += &line(front, &x, &y, |p| p.predicted, "#999\" stroke-dasharray=\"4 3");
    out += &line(front, &x, &y, |p| p.measured, "#06c");
    for p in front.iter().filter(|p| p.measured.is_finite()) {
        let (cx, cy) = (x.at(p.bytes as f64 / 1e6), y.at(p.measured * 100.0));
        let (radius, fill) = if p.chosen { (6, "#c30") } else { (3, "#06c") };
        let about = format!("{}, {:.2} bits, loss {}", human::bytes(p.bytes), p.bits, share(p.measured));
        out += &format!(
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{radius}\" fill=\"{fill}\"><title>{about}</title></circle>\n"
        );
    }
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    out += &format!("<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{title}</text>\n");
    out += &format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">package, MB</text>\n",
        WIDTH / 2.0,
        HEIGHT - 14.0
    );
    out += &format!(
        "<text x=\"18\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle:.1})\">loss, %; dashed: added up</text>\n"
    );
    out + "</svg>\n"
}

fn line(front: &[Point], x: &Axis, y: &Axis, of: impl Fn(&Point) -> f64, stroke: &str) -> String {
    let points = front.iter().filter(|p| of(p).is_finite());
    let points: Vec<String> =
        points.map(|p| format!("{:.1},{:.1}", x.at(p.bytes as f64 / 1e6), y.at(of(p) * 100.0))).collect();
    format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\"/>\n", points.join(" "))
}

fn tick(v: f64) -> String {
    let text = format!("{v:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_a_point_per_row_and_round_ticks() {
        let point =
            |bytes, measured, chosen| Point { bytes, bits: 4.0, predicted: measured * 1.1, measured, chosen };
        let picture = svg("a<b", &[point(9_000_000, 0.0, false), point(4_000_000, 0.013, true)]);
        assert_eq!(picture.matches("<circle").count(), 2);
        assert!(picture.contains("a&lt;b") && picture.contains(">5</text>") && picture.ends_with("</svg>\n"));
        let axis = Axis { least: 0.0, most: 1.43, from: 0.0, to: 1.0 };
        assert_eq!(axis.ticks().len(), 3);
    }
}
