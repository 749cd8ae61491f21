use crate::output::plain;

#[derive(Debug)]
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { plain(cell) }).to_vec());
    }

    /// Without a last line break.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths)).collect();
        lines.join("\n")
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width_of_column) in row.iter().zip(widths) {
        line.push_str(cell);
        line.push_str(&" ".repeat(width_of_column - width(cell) + 2));
    }
    line.trim_end().to_owned()
}

/// Not terminal columns: wide scripts align less well, but need no width table.
fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextTable::new(["ID", "NAME"]);
        table.row(["ge6a1a75", "a\nb"]);
        table.row(["x", ""]);
        assert_eq!(table.text(), "ID        NAME\nge6a1a75  a\\u{a}b\nx         -");
    }
}
