//! One view, three ways to print it. Tables are for people; JSON and YAML are the same structure.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::error::Failure;

/// Where output goes.
pub struct Output {
    format: Format,
    colour: bool,
    out: BufWriter<Stdout>,
}

/// What can be printed.
pub trait View: Serialize {
    /// For people.
    fn table(&self, out: &mut Page);
}

/// Text for people: sections of columns and lines.
#[derive(Default)]
pub struct Page {
    text: String,
    colour: bool,
}

/// How a line stands out in a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

impl Output {
    /// To standard output; coloured in a terminal unless NO_COLOR is set.
    pub fn new(format: Format) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            format,
            colour,
            out: BufWriter::new(io::stdout()),
        }
    }

    /// Prints a view.
    pub fn print(&mut self, view: &impl View) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let mut page = Page {
                    text: String::new(),
                    colour: self.colour,
                };
                view.table(&mut page);
                self.out.write_all(page.text.as_bytes())?;
            }
            Format::Json => {
                let text = serde_json::to_string_pretty(view).map_err(unprintable)?;
                writeln!(self.out, "{text}")?;
            }
            Format::Yaml => {
                let text = serde_yaml_ng::to_string(view).map_err(unprintable)?;
                self.out.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Prints one of many that follow each other, at once.
    pub fn print_next(&mut self, view: &impl View) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.print(view)?,
            Format::Json => {
                let text = serde_json::to_string(view).map_err(unprintable)?;
                writeln!(self.out, "{text}")?;
            }
            Format::Yaml => {
                writeln!(self.out, "---")?;
                self.print(view)?;
            }
        }
        Ok(self.out.flush()?)
    }

    /// Prints the headers of rows that follow each other, at once, where tables are printed.
    pub fn print_headers(&mut self, headers: &[&str], widths: &[usize]) -> Result<(), Failure> {
        if self.format == Format::Table {
            let headers: Vec<String> = headers.iter().map(|it| it.to_uppercase()).collect();
            writeln!(self.out, "{}", padded(&headers, widths).trim_end())?;
        }
        self.finish()
    }

    /// Prints text as it is, where tables are printed.
    pub fn print_text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Everything is out.
    pub fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

impl Page {
    /// A line.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.toned(Tone::Plain, text.as_ref());
    }

    /// A line that stands out.
    pub fn toned(&mut self, tone: Tone, text: &str) {
        let text = printable(text);
        let text = text.trim_end();
        let code = match tone {
            Tone::Plain => "",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        };
        if self.colour && !code.is_empty() {
            self.text.push_str(&format!("\x1b[{code}m{text}\x1b[0m\n"));
        } else {
            self.text.push_str(text);
            self.text.push('\n');
        }
    }

    /// An empty line between sections.
    pub fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// One row of many that follow each other, whose later rows are not known yet.
    pub fn padded(&mut self, tone: Tone, cells: &[String], widths: &[usize]) {
        self.toned(tone, &padded(cells, widths));
    }

    /// Says that records were left out before the next one.
    pub fn skipped(&mut self, number: u64) {
        if number > 0 {
            let sentence = format!("… {number} records skipped: reading is too slow");
            self.toned(Tone::Warning, &sentence);
        }
    }

    /// Columns under their headers; `nothing` where there are no rows.
    pub fn columns(&mut self, headers: &[&str], rows: Vec<(Tone, Vec<String>)>, nothing: &str) {
        if rows.is_empty() {
            return self.line(nothing);
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(headers.iter().map(|header| header.to_uppercase()));
        let mut tones = vec![Tone::Plain];
        for (tone, cells) in rows {
            tones.push(tone);
            // A cell that is empty would leave its column to be guessed.
            let shown = |cell: String| {
                if cell.is_empty() {
                    "-".to_owned()
                } else {
                    printable(&cell)
                }
            };
            table.add_row(cells.into_iter().map(shown));
        }
        for (column, _) in headers.iter().enumerate() {
            if let Some(column) = table.column_mut(column) {
                column.set_padding((0, 2));
            }
        }
        for (line, tone) in table.to_string().lines().zip(tones) {
            self.toned(tone, line);
        }
    }
}

fn padded(cells: &[String], widths: &[usize]) -> String {
    let pad = |(cell, width): (&String, &usize)| {
        let cell = if cell.is_empty() { "-" } else { cell };
        format!("{cell:width$}")
    };
    let cells: Vec<String> = cells.iter().zip(widths).map(pad).collect();
    cells.join("  ")
}

/// Text from the network must not speak to the terminal.
fn printable(text: &str) -> String {
    let shown = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    text.chars().map(shown).collect()
}

fn unprintable(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("cannot print the answer: {error}"))
}
