use super::{
    comparison,
    format::{cells, headings},
};
use crate::{
    process::Machine,
    results::{Part, Report, Table},
};

pub(crate) fn markdown(report: &Report) -> String {
    let mut parts = vec![machine(&report.machine)];
    parts.extend(report.parts.iter().map(|part| match part {
        Part::Heading(text) => format!("### {text}\n"),
        Part::Text(text) => format!("{text}\n"),
        Part::Table(table) => self::table(table),
        Part::Comparison(of) => {
            [comparison::summary(of), comparison::every_server(of)].map(|of| table(&of)).join("\n")
        }
        Part::Memory(_) => "![Resident memory over time](worst-day-memory.svg)\n".to_owned(),
    }));
    parts.join("\n")
}

fn machine(machine: &Machine) -> String {
    let kind = if machine.is_virtual { ", virtual machine" } else { "" };
    let text = format!(
        "{}, commit {}, {} cores of {}{kind}, {} GiB of memory, Linux {}.",
        machine.date, machine.commit, machine.cores, machine.processor, machine.memory_gib, machine.kernel
    );
    // Of one core.
    const QUIET_PERCENT: f64 = 10.0;
    if machine.others_percent <= QUIET_PERCENT {
        return format!("{text}\n");
    }
    let others = machine.others_percent;
    format!(
        "{text} **The machine was not quiet**: other programs used {others:.0} % of a core before the run.\n"
    )
}

fn table(table: &Table) -> String {
    let first = table.rows.first();
    let columns = table.columns.iter().enumerate();
    let head: Vec<String> =
        columns.flat_map(|(at, name)| headings(name, first.and_then(|row| row.get(at)))).collect();
    let mut text = line(&head) + &"|---".repeat(head.len()) + "|\n";
    for row in &table.rows {
        text += &line(&row.iter().flat_map(cells).collect::<Vec<_>>());
    }
    text
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::Series, results::Value};

    #[test]
    fn a_table_has_the_columns_of_its_values() {
        let mut of = Table::default();
        let times: Series = [0.5, 1.0, 1.5].into_iter().collect();
        let ratio = Value::Limited { value: 12.0, limit: 10.0 };
        of.row([("server", "certward".into()), ("ms", Value::Percentiles(times)), ("ratio", ratio)]);
        let expected = "| server | ms: median | 99 % | max | ratio |\n|---|---|---|---|---|\n\
                        | certward | 1.00 | 1.50 | 1.50 | **12.0** |\n";
        assert_eq!(table(&of), expected);
    }
}
