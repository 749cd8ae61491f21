use serde::{Deserialize, Serialize};

use crate::judge::Series;

/// Rows of values under named columns; the names say the units.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Value {
    /// Not measured.
    Missing,
    Text(String),
    /// Says that something is wrong.
    Fault(String),
    Number(f64),
    /// Shown by its median and maximum.
    Median(Series),
    /// Shown by its median, 99 % and maximum.
    Percentiles(Series),
    /// Judged by its amount.
    Limited {
        value: f64,
        limit: f64,
    },
}

impl Table {
    /// The columns are those of the first row.
    pub(crate) fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (C, Value)>) {
        let (columns, values): (Vec<C>, Vec<Value>) = cells.into_iter().unzip();
        if self.rows.is_empty() {
            self.columns = columns.iter().map(|name| name.as_ref().to_owned()).collect();
        }
        self.rows.push(values);
    }

    pub(crate) fn exceeds_limit(&self) -> bool {
        self.rows.iter().flatten().any(Value::is_exceeded)
    }
}

impl Value {
    pub(crate) fn is_exceeded(&self) -> bool {
        matches!(self, Self::Limited { value, limit } if value.abs() > *limit)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Text(count.to_string())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<Option<f64>> for Value {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, Self::Number)
    }
}
