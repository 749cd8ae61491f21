use crate::{
    output::plain,
    style::{Style, Tone},
};

#[derive(Debug)]
pub(crate) struct TextTable {
    rows: Vec<Vec<TableCell>>,
}

#[derive(Debug)]
struct TableCell {
    text: String,
    tone: Option<Tone>,
}

impl TextTable {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        let cell = |text: &str| TableCell { text: plain(text), tone: None };
        Self { rows: vec![head.map(cell).into()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.toned_row(cells.map(|cell| (cell, None)));
    }

    /// The tones show in [`TextTable::styled`].
    pub(crate) fn toned_row<const N: usize>(&mut self, cells: [(&str, Option<Tone>); N]) {
        let cell = |(text, tone): (&str, _)| TableCell {
            text: if text.is_empty() { "-".to_owned() } else { plain(text) },
            tone,
        };
        self.rows.push(cells.map(cell).into());
    }

    /// Without a last line break.
    pub(crate) fn text(&self) -> String {
        self.styled(Style::Plain)
    }

    /// As [`TextTable::text`], in colours.
    pub(crate) fn styled(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(TableCell::width).max().unwrap_or(0)
            })
            .collect();
        let lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths, style)).collect();
        lines.join("\n")
    }
}

impl TableCell {
    /// Not terminal columns: wide scripts align less well, but need no width table.
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

fn line(row: &[TableCell], widths: &[usize], style: Style) -> String {
    let mut line = String::new();
    for (cell, width_of_column) in row.iter().zip(widths) {
        match cell.tone {
            Some(tone) => line.push_str(&style.paint(tone, &cell.text)),
            None => line.push_str(&cell.text),
        }
        line.push_str(&" ".repeat(width_of_column - cell.width() + 2));
    }
    line.trim_end().to_owned()
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

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = TextTable::new(["ID", "ENDS", "OF"]);
        table.toned_row([("a", None), ("expired", Some(Tone::Bad)), ("x", None)]);
        table.toned_row([("b", None), ("in 2 days", None), ("y", Some(Tone::Faint))]);
        assert_eq!(table.text(), "ID  ENDS       OF\na   expired    x\nb   in 2 days  y");
        assert_eq!(
            table.styled(Style::Coloured),
            "ID  ENDS       OF\na   \u{1b}[1;31mexpired\u{1b}[0m    x\nb   in 2 days  \u{1b}[2my\u{1b}[0m"
        );
    }
}
