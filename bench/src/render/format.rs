use crate::{judge::Series, results::Value};

/// The cells of a value: three for percentiles.
pub(crate) fn cells(value: &Value) -> Vec<String> {
    vec![match value {
        Value::Missing => "–".to_owned(),
        Value::Text(text) => text.clone(),
        Value::Fault(text) => format!("**{text}**"),
        Value::Number(value) => digits(*value),
        Value::Median(series) => format!("{} ({})", optional(series.median()), optional(series.max())),
        Value::Percentiles(series) => {
            return [series.median(), series.within(0.99), series.max()].map(optional).into();
        }
        Value::Limited { value: of, .. } if value.is_exceeded() => format!("**{}**", digits(*of)),
        Value::Limited { value: of, .. } => digits(*of),
    }]
}

/// The headings of a column, by a value in it.
pub(crate) fn headings(column: &str, value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Percentiles(_)) => vec![format!("{column}: median"), "99 %".to_owned(), "max".to_owned()],
        _ => vec![column.to_owned()],
    }
}

/// The median with the smallest and the largest.
pub(crate) fn median_and_range(series: &Series) -> String {
    match [series.median(), series.min(), series.max()] {
        [Some(median), Some(min), Some(max)] => {
            format!("{} ({}–{})", digits(median), digits(min), digits(max))
        }
        _ => "–".to_owned(),
    }
}

/// Three significant digits, and all before the point.
pub(crate) fn digits(value: f64) -> String {
    match value {
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), digits)
}
