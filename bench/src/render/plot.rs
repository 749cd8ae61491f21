use std::fmt::Write as _;

use crate::{
    judge::figures::{Figures, digits},
    load::workload::Workload,
    peers::Peer,
};

const PANEL_WIDTH: f64 = 460.0;
const COLUMNS: usize = 2;
const MARGIN: f64 = 16.0;
const LABEL_WIDTH: f64 = 104.0;
const VALUE_WIDTH: f64 = 44.0;
const BAR: f64 = 15.0;
const HEAD: f64 = 40.0;
const FOOT: f64 = 34.0;

/// A panel per workload, a bar per server, a line from minimum to maximum.
pub(crate) fn svg(figures: &Figures) -> String {
    let panels: Vec<(Workload, Vec<Peer>)> = Workload::ALL
        .into_iter()
        .map(|workload| {
            let shown = |peer: &Peer| figures.median(workload, *peer).is_some();
            (workload, Peer::ALL.into_iter().filter(shown).collect::<Vec<_>>())
        })
        .filter(|(_, peers)| !peers.is_empty())
        .collect();
    let rows: Vec<&[(Workload, Vec<Peer>)]> = panels.chunks(COLUMNS).collect();
    let heights: Vec<f64> =
        rows.iter().map(|row| row.iter().map(|(_, peers)| height(peers)).fold(0.0, f64::max)).collect();
    let (width, height) = (PANEL_WIDTH * COLUMNS as f64, heights.iter().sum::<f64>());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>Cost of each workload on each server; shorter is better</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut top = 0.0;
    for (row, height) in rows.iter().zip(&heights) {
        for (column, (workload, peers)) in row.iter().enumerate() {
            panel(&mut out, figures, *workload, peers, PANEL_WIDTH * column as f64, top);
        }
        top += height;
    }
    out.push_str("</svg>\n");
    out
}

fn height(peers: &[Peer]) -> f64 {
    HEAD + BAR * peers.len() as f64 + FOOT
}

fn panel(out: &mut String, figures: &Figures, workload: Workload, peers: &[Peer], left: f64, top: f64) {
    let series: Vec<_> =
        peers.iter().filter_map(|peer| Some((*peer, figures.series(workload, *peer)?))).collect();
    let most = series.iter().filter_map(|(_, series)| series.max()).fold(0.0, f64::max);
    let step = step(most);
    let last = (most / step).ceil() * step;
    let (from, span) = (left + MARGIN + LABEL_WIDTH, PANEL_WIDTH - 2.0 * MARGIN - LABEL_WIDTH - VALUE_WIDTH);
    let at = |value: f64| from + span * value / last;
    let (bars, bottom) = (top + HEAD, top + HEAD + BAR * series.len() as f64);
    line(
        out,
        &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" font-weight=\"bold\">{}</text>",
            left + MARGIN,
            top + 24.0,
            workload.title()
        ),
    );
    let mut tick = 0.0;
    while tick <= last * 1.001 {
        let x = at(tick);
        line(
            out,
            &format!(
                "<line x1=\"{x:.1}\" y1=\"{bars:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#dddddd\"/>"
            ),
        );
        line(
            out,
            &format!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
                bottom + 12.0,
                round(tick)
            ),
        );
        tick += step;
    }
    line(
        out,
        &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
            from + span / 2.0,
            bottom + 25.0,
            axis(workload)
        ),
    );
    for (place, (peer, series)) in series.iter().enumerate() {
        let (y, middle) = (bars + BAR * place as f64, bars + BAR * (place as f64 + 0.5));
        let [least, median, most] =
            [series.min(), series.median(), series.max()].map(Option::unwrap_or_default);
        line(
            out,
            &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                from - 5.0,
                middle + 4.0,
                peer.title()
            ),
        );
        line(
            out,
            &format!(
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                y + 2.0,
                at(median) - from,
                BAR - 4.0,
                color(*peer)
            ),
        );
        line(
            out,
            &format!(
                "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>",
                at(least),
                at(most)
            ),
        );
        line(
            out,
            &format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", at(most) + 4.0, middle + 4.0, digits(median)),
        );
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a `String` does not fail.
    let _ = writeln!(out, "{text}");
}

fn axis(workload: Workload) -> &'static str {
    match workload {
        Workload::Throughput => "server's CPU, seconds per GB echoed",
        Workload::Small => "server's CPU, µs per message",
        Workload::Idle | Workload::IdleTwoWay => "server's own memory, KiB per connection",
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
        let svg = svg(&figures);
        assert_eq!(svg.matches("text-anchor=\"end\"").count(), 2, "{svg}");
        assert!(svg.contains(">certward<") && svg.contains(">nginx<") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
