//! How text for people is laid out: as wide as the terminal, and in a file as it is.
//!
//! Every text that people read goes through a [`Sheet`]. On a terminal, lines are wrapped at spaces,
//! and a table that is too wide becomes one short paragraph for each row. In a file or a pipe, lines
//! stay whole, so that they can be searched for. `COLUMNS` counts as a terminal of that width.

use std::io::{IsTerminal, stdout};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use standstill_report::text;
use textwrap::{Options, WordSplitter, wrap};

/// How wide pictures are where there is no terminal.
const WIDTH: usize = 100;
/// No terminal is taken for narrower than this.
const NARROWEST: usize = 20;
const WIDEST: usize = 400;
/// Two spaces set things apart.
const GAP: &str = "  ";
/// A list's second column is not worth having if it is narrower than this.
const COLUMN: usize = 24;

/// Where text is put.
#[derive(Clone, Copy, Debug)]
pub struct Sheet {
    /// `None`: a file or a pipe.
    columns: Option<usize>,
}

impl Sheet {
    /// Standard output.
    #[must_use]
    pub fn of_output() -> Sheet {
        let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
        let terminal = || {
            let size =
                stdout().is_terminal().then(|| rustix::termios::tcgetwinsize(stdout()).ok()).flatten()?;
            // A terminal that does not know its width says 0.
            Some(if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) })
        };
        let columns = asked().filter(|columns| *columns > 0).or_else(terminal);
        Sheet { columns: columns.map(|columns: usize| columns.clamp(NARROWEST, WIDEST)) }
    }

    /// A terminal of this width.
    #[must_use]
    pub const fn columns(columns: usize) -> Sheet {
        Sheet { columns: Some(columns) }
    }

    /// A file.
    #[must_use]
    pub const fn file() -> Sheet {
        Sheet { columns: None }
    }

    /// How lanes are drawn: with plain characters if the locale has no others.
    #[must_use]
    pub fn style(self) -> text::Style {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let ascii = locale.is_some_and(|locale| {
            let locale = locale.to_lowercase();
            !locale.contains("utf-8") && !locale.contains("utf8")
        });
        text::Style { width: self.columns.unwrap_or(WIDTH), ascii }
    }

    /// `text` with each line that is too long wrapped.
    #[must_use]
    pub fn fit(self, text: &str) -> String {
        let Some(columns) = self.columns else { return text.into() };
        let mut out = String::new();
        for line in text.split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            if textwrap::core::display_width(line) <= columns {
                out.push_str(line);
            } else {
                out.push_str(&fold(line, columns));
            }
            out.push_str(end);
        }
        out
    }

    /// `table`, or a paragraph for each of its rows if it is too wide.
    #[must_use]
    pub fn table(self, table: &Table) -> String {
        let drawn = table.trim_fmt();
        let width = drawn.lines().map(textwrap::core::display_width).max().unwrap_or(0);
        if self.columns.is_none_or(|columns| width <= columns) {
            return drawn;
        }
        let titles: Vec<String> =
            table.header().into_iter().flat_map(|row| row.cell_iter().map(|cell| cell.content())).collect();
        let mut out: Vec<String> =
            titles.first().filter(|title| !title.is_empty()).cloned().into_iter().collect();
        for row in table.row_iter() {
            let cells: Vec<String> = row.cell_iter().map(|cell| cell.content()).collect();
            let Some((name, values)) = cells.split_first() else { continue };
            let pairs = titles.iter().skip(1).zip(values).filter(|(_, value)| !value.trim().is_empty());
            let pairs: Vec<String> =
                pairs.map(|(title, value)| format!("{title}: {}", value.trim())).collect();
            out.push(self.fit(&format!("{GAP}{name}")));
            out.push(self.fit(&format!("{GAP}{GAP}{}", pairs.join(GAP))));
        }
        out.join("\n")
    }
}

/// A table without lines.
#[must_use]
pub(crate) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// One line on several.
fn fold(line: &str, columns: usize) -> String {
    let body = line.trim_start();
    let indent = line.len() - body.len();
    let pieces: Vec<&str> = body.split(GAP).map(str::trim).filter(|piece| !piece.is_empty()).collect();
    match pieces[..] {
        // A name, and what it is.
        [name, what] if !name.contains(' ') => {
            let column = line.len() - what.len();
            if columns >= column + COLUMN {
                let hang = " ".repeat(column);
                return words(what, &line[..column], &hang, columns);
            }
            let (own, hang) = (" ".repeat(indent), " ".repeat(indent + 2));
            format!("{own}{name}\n{}", words(what, &hang, &hang, columns))
        }
        [_] | [] => words(body, &" ".repeat(indent), &" ".repeat(indent + 2), columns),
        // Several things side by side: as many of them in a line as there is room for.
        _ => fill(&pieces, indent, columns),
    }
}

fn words(text: &str, first: &str, rest: &str, columns: usize) -> String {
    let options = Options::new(columns)
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    wrap(text, options).join("\n")
}

fn fill(pieces: &[&str], indent: usize, columns: usize) -> String {
    let own = " ".repeat(indent);
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        let width = textwrap::core::display_width(piece);
        match lines.last_mut() {
            Some(line) if textwrap::core::display_width(line) + GAP.len() + width <= columns => {
                line.push_str(GAP);
                line.push_str(piece);
            }
            _ if indent + width <= columns => lines.push(format!("{own}{piece}")),
            _ => lines.push(words(piece, &own, &format!("{own}{GAP}"), columns)),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: [usize; 4] = [20, 40, 80, 200];

    /// No line is wider than the sheet, but for a word that can't be parted.
    fn fits(text: &str, columns: usize) {
        for line in text.lines() {
            let width = textwrap::core::display_width(line);
            assert!(width <= columns || !line.trim().contains(' '), "{columns}: {width}: {line}");
        }
    }

    #[test]
    fn a_file_gets_lines_as_they_are() {
        let text = format!("{}\n", "long ".repeat(100));
        assert_eq!(Sheet::file().fit(&text), text);
        for columns in WIDTHS {
            let wrapped = Sheet::columns(columns).fit(&text);
            fits(&wrapped, columns);
            assert_eq!(wrapped.split_whitespace().count(), 100);
            assert!(wrapped.ends_with('\n'));
        }
    }

    #[test]
    fn a_list_hangs_or_goes_below() {
        let line =
            "lazy-mask           the same where an interrupt is noted while only the local mask is closed";
        let narrow = Sheet::columns(40).fit(line);
        assert_eq!(
            narrow,
            "lazy-mask\n  the same where an interrupt is noted\n  while only the local mask is closed"
        );
        let wide = Sheet::columns(60).fit(line);
        assert_eq!(wide.lines().nth(1).map(|line| line.len() - line.trim_start().len()), Some(20), "{wide}");
        for columns in WIDTHS {
            fits(&Sheet::columns(columns).fit(line), columns);
        }
    }

    #[test]
    fn signs_stay_with_their_meaning() {
        let line = "W late  L lost  S spurious  O outside  F frozen    -: never, everything was seen";
        let narrow = Sheet::columns(40).fit(line);
        assert_eq!(narrow, "W late  L lost  S spurious  O outside\nF frozen  -: never, everything was seen");
    }

    #[test]
    fn a_table_that_is_too_wide_is_told_row_by_row() {
        let mut table = plain(&["calls", "sent", "refused", "of which are late"]);
        table.add_row(["single", "22952", "7361", ""]);
        table.add_row(["all", "46706", "0", "12"]);
        assert_eq!(
            Sheet::columns(30).table(&table),
            "calls\n  single\n    sent: 22952  refused: 7361\n  all\n    sent: 46706  refused: 0\n    of which are late: 12"
        );
        assert_eq!(Sheet::columns(80).table(&table), Sheet::file().table(&table));
        assert!(Sheet::file().table(&table).lines().all(|line| line == line.trim_end()));
    }
}
