//! The two formats of `/metrics`: OpenMetrics 1.0, and Prometheus' text format 0.0.4 for clients
//! that do not ask for it. The library writes OpenMetrics alone; the other is made from it.

use http::{HeaderMap, header};

const OPENMETRICS: &str = "application/openmetrics-text";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    OpenMetrics,
    Text,
}

impl Exposition {
    /// OpenMetrics if named in `Accept`, and not after plain text (RFC 9110 §12.5.1).
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let (mut openmetrics, mut text) = (0, 0);
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let parameter = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim().trim_matches('"'))
            };
            let quality = thousandths(parameter("q"));
            let version = parameter("version");
            if media_type.eq_ignore_ascii_case(OPENMETRICS)
                && version.is_none_or(|version| version == "1.0.0")
            {
                openmetrics = quality.max(openmetrics);
            } else if media_type.eq_ignore_ascii_case("text/plain") {
                text = quality.max(text);
            }
        }
        if openmetrics > 0 && openmetrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub(crate) fn render(self, openmetrics: String) -> String {
        match self {
            Self::OpenMetrics => openmetrics,
            Self::Text => text_format(&openmetrics),
        }
    }
}

/// A quality value, 1 if absent or unreadable.
fn thousandths(quality: Option<&str>) -> u32 {
    let parsed = quality.and_then(|text| text.parse::<f32>().ok()).filter(|q| (0.0..=1.0).contains(q));
    // At most 1000.
    parsed.map_or(1000, |q| (q * 1000.0).round() as u32)
}

/// OpenMetrics as text format 0.0.4: the sample's name in HELP and TYPE, no UNIT, no EOF. Samples
/// are alike, without exemplars.
fn text_format(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.extend([line, "\n"]);
            continue;
        };
        match comment.split_once(' ') {
            Some(("HELP", of)) => help = Some(of),
            Some(("TYPE", of)) => {
                let (name, kind) = of.split_once(' ').unwrap_or((of, "unknown"));
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                // The library writes HELP first.
                if let Some((_, help)) = help.take().and_then(|of| of.split_once(' ')) {
                    text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
                }
                text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            // UNIT, and the EOF.
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use prometheus_client::{
        metrics::{counter::Counter, gauge::Gauge, histogram::Histogram, info::Info},
        registry::{Registry, Unit},
    };

    use super::*;

    #[test]
    fn the_client_decides_between_the_formats() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.1";
        let cases: [(&[&str], Exposition); 16] = [
            (&[], Exposition::Text),
            (&["*/*"], Exposition::Text),
            (&["text/plain"], Exposition::Text),
            (&["application/*"], Exposition::Text),
            (&["application/openmetrics-text"], Exposition::OpenMetrics),
            (&["APPLICATION/OpenMetrics-Text; Version=\"1.0.0\""], Exposition::OpenMetrics),
            (&["application/openmetrics-text;version=0.0.1"], Exposition::Text),
            (&["application/openmetrics-text;q=0"], Exposition::Text),
            (&["application/openmetrics-text;q=0.000"], Exposition::Text),
            (&["application/openmetrics-text;q=0.3,text/plain;q=0.9"], Exposition::Text),
            (&["application/openmetrics-text;q=0.9, text/plain;q=0.3"], Exposition::OpenMetrics),
            (&["application/openmetrics-text,text/plain"], Exposition::OpenMetrics),
            (&["text/plain;q=0.5", "application/openmetrics-text"], Exposition::OpenMetrics),
            (&["application/openmetrics-text;q=none"], Exposition::OpenMetrics),
            (&[prometheus], Exposition::OpenMetrics),
            (&[prometheus_3], Exposition::OpenMetrics),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(Exposition::accepted(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_text_format_names_each_metric_as_its_samples_do() {
        let mut registry = Registry::default();
        let (counter, gauge, histogram) =
            (Counter::<u64>::default(), Gauge::<i64>::default(), Histogram::new([0.5]));
        registry.register("events", "Events # and things", counter.clone());
        registry.register("depth", "Depth", gauge.clone());
        registry.register_with_unit("wait", "Wait", Unit::Seconds, histogram.clone());
        registry.register("build", "Build", Info::new([("version", "# HELP 1.0 \" \\ \n#")]));
        counter.inc_by(7);
        gauge.set(-3);
        histogram.observe(0.25);
        let mut openmetrics = String::new();
        prometheus_client::encoding::text::encode(&mut openmetrics, &registry).unwrap();
        let expected = "# HELP events_total Events # and things.\n\
                        # TYPE events_total counter\n\
                        events_total 7\n\
                        # HELP depth Depth.\n\
                        # TYPE depth gauge\n\
                        depth -3\n\
                        # HELP wait_seconds Wait.\n\
                        # TYPE wait_seconds histogram\n\
                        wait_seconds_sum 0.25\n\
                        wait_seconds_count 1\n\
                        wait_seconds_bucket{le=\"0.5\"} 1\n\
                        wait_seconds_bucket{le=\"+Inf\"} 1\n\
                        # HELP build_info Build.\n\
                        # TYPE build_info gauge\n\
                        build_info{version=\"# HELP 1.0 \\\" \\\\ \\n#\"} 1\n";
        assert_eq!(text_format(&openmetrics), expected);
    }
}
