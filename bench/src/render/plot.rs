use crate::{
    judge::{Figures, Series},
    load::Workload,
    peers::Peer,
};

use super::format::digits;

const PANEL_WIDTH: f64 = 460.0;
const COLUMNS: usize = 2;
const MARGIN: f64 = 16.0;
const LABEL_WIDTH: f64 = 104.0;
const VALUE_WIDTH: f64 = 44.0;
const BAR: f64 = 15.0;
const HEAD: f64 = 40.0;
const FOOT: f64 = 34.0;
const CENTERED: &str = "text-anchor=\"middle\" fill=\"#555555\"";

/// A panel per workload, a bar per server, a line from minimum to maximum.
pub(crate) fn bars(figures: &Figures) -> String {
    let panels: Vec<Panel> = Workload::all()
        .map(|workload| Panel::of(figures, workload))
        .filter(|panel| !panel.bars.is_empty())
        .collect();
    let mut svg = Svg::default();
    let mut top = 0.0;
    for row in panels.chunks(COLUMNS) {
        for (column, panel) in row.iter().enumerate() {
            panel.draw(&mut svg, PANEL_WIDTH * column as f64, top);
        }
        top += row.iter().map(Panel::height).fold(0.0, f64::max);
    }
    svg.finish("Cost of each test on each server; shorter is better", PANEL_WIDTH * COLUMNS as f64, top)
}

struct Panel {
    workload: Workload,
    bars: Vec<(Peer, Series)>,
}

impl Panel {
    fn of(figures: &Figures, workload: Workload) -> Self {
        let bars = Peer::all().map(|peer| (peer, figures.series(workload, peer)));
        Self { workload, bars: bars.filter(|(_, series)| series.len() > 0).collect() }
    }

    fn height(&self) -> f64 {
        HEAD + BAR * self.bars.len() as f64 + FOOT
    }

    fn draw(&self, svg: &mut Svg, left: f64, top: f64) {
        let most = self.bars.iter().filter_map(|(_, series)| series.max()).fold(0.0, f64::max);
        let step = step(most);
        let last = (most / step).ceil() * step;
        let (from, span) =
            (left + MARGIN + LABEL_WIDTH, PANEL_WIDTH - 2.0 * MARGIN - LABEL_WIDTH - VALUE_WIDTH);
        let at = |value: f64| from + span * value / last;
        let (first, bottom) = (top + HEAD, top + self.height() - FOOT);
        let bold = "font-size=\"13\" font-weight=\"bold\"";
        svg.text(left + MARGIN, top + 24.0, bold, self.workload.title());
        let ticks = (0..).map(|tick| f64::from(tick) * step).take_while(|tick| *tick <= last * 1.001);
        for tick in ticks {
            svg.line([at(tick), first], [at(tick), bottom], "#dddddd");
            svg.text(at(tick), bottom + 12.0, CENTERED, &round(tick));
        }
        svg.text(from + span / 2.0, bottom + 25.0, CENTERED, axis(self.workload));
        for (place, (peer, series)) in self.bars.iter().enumerate() {
            let middle = first + BAR * (place as f64 + 0.5);
            let [least, median, most] =
                [series.min(), series.median(), series.max()].map(Option::unwrap_or_default);
            svg.text(from - 5.0, middle + 4.0, "text-anchor=\"end\"", peer.title());
            svg.rect([from, middle - BAR / 2.0 + 2.0], [at(median) - from, BAR - 4.0], color(*peer));
            svg.line([at(least), middle], [at(most), middle], "black");
            svg.text(at(most) + 4.0, middle + 4.0, "", &digits(median));
        }
    }
}

/// Resident memory over time, from zero, so that a slope is not exaggerated.
pub(crate) fn memory(samples: &[(f64, f64)]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 200.0;
    let (left, right, top, bottom) = (50.0, WIDTH - 10.0, 20.0, HEIGHT - 30.0);
    let most = samples.iter().map(|(_, mib)| *mib).fold(1.0, f64::max);
    let end = samples.last().map_or(1.0, |(at, _)| at.max(1.0));
    let points = samples.iter().map(|(at, mib)| {
        let x = left + (right - left) * at / end;
        format!("{x:.1},{:.1}", bottom - (bottom - top) * mib / most)
    });
    let points = points.collect::<Vec<_>>().join(" ");
    let mut svg = Svg::default();
    svg.line([left, top], [left, bottom], "gray");
    svg.line([left, bottom], [right, bottom], "gray");
    svg.text(left - 5.0, top + 4.0, "text-anchor=\"end\"", &format!("{most:.0} MiB"));
    svg.text(left - 5.0, bottom, "text-anchor=\"end\"", "0");
    svg.text(right, bottom + 18.0, "text-anchor=\"end\"", &format!("{:.0} min", end / 60.0));
    svg.0 +=
        &format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"steelblue\" stroke-width=\"1.5\"/>\n");
    svg.finish("Resident memory of certward under mixed load", WIDTH, HEIGHT)
}

#[derive(Default)]
struct Svg(String);

impl Svg {
    fn text(&mut self, x: f64, y: f64, style: &str, text: &str) {
        self.0 += &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>\n");
    }

    fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], color: &str) {
        self.0 += &format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\"/>\n"
        );
    }

    fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], color: &str) {
        self.0 += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>\n"
        );
    }

    fn finish(self, title: &str, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.0
        )
    }
}

fn axis(workload: Workload) -> &'static str {
    match workload {
        Workload::Throughput => "server's CPU, seconds per GB echoed",
        Workload::Small => "server's CPU, µs per message",
        Workload::Idle | Workload::IdleTwoWay => "server's memory, KiB per connection",
        _ => "server's CPU, µs per connection",
    }
}

fn color(peer: Peer) -> &'static str {
    match peer {
        Peer::Certward => "#c0392b",
        Peer::Rustls => "#e59866",
        Peer::Plain => "#bbbbbb",
        peer if peer.is_tuned() => "#2e6f95",
        _ => "#8fb8cc",
    }
}

/// At most five ticks.
fn step(most: f64) -> f64 {
    let rough = (most / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough).unwrap_or(rough)
}

fn round(tick: f64) -> String {
    if tick.fract().abs() < 1e-6 { format!("{tick:.0}") } else { format!("{tick:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        for (most, expected) in [(9.5, 2.0), (10.0, 2.0), (310.0, 100.0), (0.9, 0.2), (37.0, 10.0)] {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
    }

    #[test]
    fn every_server_that_was_measured_has_a_bar() {
        let mut figures = Figures::default();
        figures.push(Workload::Full, Peer::Certward, 0, 120.0);
        figures.push(Workload::Full, Peer::Nginx, 0, 300.0);
        let svg = bars(&figures);
        assert_eq!(svg.matches("text-anchor=\"end\"").count(), 2, "{svg}");
        assert!(svg.contains(">certward<") && svg.contains(">nginx<") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
