use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use certward_tests::workspace_root;
use serde::{Deserialize, Serialize};

use super::{Comparison, Table};
use crate::process::Machine;

/// What a command measured, and where. It is kept in `target/bench/NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The command.
    pub(crate) name: String,
    pub(crate) machine: Machine,
    /// A trial of a part is not rendered into a document.
    pub(crate) whole: bool,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Heading(String),
    Text(String),
    Table(Table),
    Comparison(Comparison),
    /// Seconds, and MiB of resident memory.
    Memory(Vec<(f64, f64)>),
}

impl Report {
    /// Before the measurement: the machine's load by others is of that moment.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), machine: Machine::read(), whole: true, parts: Vec::new() }
    }

    pub(crate) fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Heading(text.into()));
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.parts.push(Part::Table(table));
    }

    pub(crate) fn exceeds_limit(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Table(table) if table.exceeds_limit()))
    }

    pub(crate) fn save(&self) -> Result<PathBuf> {
        let file = folder().join(self.name.replace(' ', "-")).with_extension("json");
        fs::create_dir_all(folder())?;
        fs::write(&file, serde_json::to_string(self)?)?;
        Ok(file)
    }

    /// Those of these names, or all.
    pub(crate) fn load(names: &[String]) -> Result<Vec<Self>> {
        let files: Vec<PathBuf> = if names.is_empty() {
            let entries = fs::read_dir(folder()).context("nothing is measured yet")?;
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?
        } else {
            names.iter().map(|name| folder().join(name).with_extension("json")).collect()
        };
        let read = |file: &PathBuf| anyhow::Ok(serde_json::from_str(&fs::read_to_string(file)?)?);
        files.iter().map(|file| read(file).with_context(|| file.display().to_string())).collect()
    }
}

fn folder() -> PathBuf {
    workspace_root().join("target/bench")
}
