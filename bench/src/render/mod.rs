//! Reports as Markdown and SVG, and where the documents show them.

mod comparison;
mod document;
mod format;
mod markdown;
mod plot;

use anyhow::Result;

pub(crate) use self::markdown::markdown;
use crate::results::{Part, Report};

/// Writes a report into its document, with its plots.
pub(crate) fn publish(report: &Report) -> Result<()> {
    let Some(document) = document::of(&report.name) else {
        eprintln!("{}: no document shows it", report.name);
        return Ok(());
    };
    if !report.whole {
        eprintln!("{}: not all was measured; {document} stays as it is", report.name);
        return Ok(());
    }
    document::write_section(document, &report.name, &markdown(report))?;
    for part in &report.parts {
        match part {
            Part::Comparison(comparison) => {
                document::write_plot(document, "performance.svg", &plot::bars(&comparison.figures))?;
            }
            Part::Memory(samples) => {
                document::write_plot(document, "worst-day-memory.svg", &plot::memory(samples))?;
            }
            Part::Heading(_) | Part::Text(_) | Part::Table(_) => {}
        }
    }
    Ok(())
}
