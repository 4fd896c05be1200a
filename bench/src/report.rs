//! What was measured, as a Markdown document with a table and a plot for each group of rows.
//!
//! `NAME.md` holds the tables and refers to `NAME-1.svg`, `NAME-2.svg` and so on. What stands in an older document below [`NOTES`] was written by
//! hand and is kept.

use anyhow::{Context, Result};
use plotters::prelude::*;
use std::fmt::Write;
use std::path::Path;

/// What comes after this line in a document is written by hand.
const NOTES: &str = "<!-- Below this line: written by hand, kept by `cargo xtask bench`. -->";

/// A document.
#[derive(Clone, Debug)]
pub struct Report {
    name: String,
    title: String,
    introduction: String,
    tables: Vec<Table>,
}

/// A group of rows that have their columns in common.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    /// What the figures are, and which direction is better.
    unit: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    note: String,
}

#[derive(Clone, Debug)]
struct Row {
    name: String,
    /// One for each column; `None` where it cannot be done.
    figures: Vec<Option<f64>>,
}

impl Report {
    /// A document for the file `name`, without tables.
    pub fn new(name: &str, title: &str) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), introduction: String::new(), tables: Vec::new() }
    }
    /// Says under which conditions the figures came about.
    pub fn introduce(&mut self, text: &str) {
        text.clone_into(&mut self.introduction);
    }
    /// Adds a table.
    pub fn add(&mut self, table: Table) {
        self.tables.push(table);
    }
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
    /// The document.
    pub fn render(&self) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title, self.introduction.trim_end());
        for (number, table) in (1..).zip(&self.tables) {
            let _ = write!(text, "\n## {}\n\n{}\n", table.title, table.render());
            let _ = writeln!(text, "![{}]({}-{number}.svg)", table.title, self.name);
        }
        text
    }
    /// Writes the document and its plots into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (number, table) in (1..).zip(&self.tables) {
            let file = folder.join(format!("{}-{number}.svg", self.name));
            table.plot(&file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let file = folder.join(format!("{}.md", self.name));
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        let notes = old.split_once(NOTES).map_or("\n", |(_, notes)| notes);
        std::fs::write(&file, format!("{}\n{NOTES}{notes}", self.render()))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Table {
    /// A table without rows.
    pub fn new(title: &str, unit: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            unit: unit.to_owned(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
            note: String::new(),
        }
    }
    /// Adds a row: a figure for each column.
    pub fn row(&mut self, name: &str, figures: Vec<Option<f64>>) {
        self.rows.push(Row { name: name.to_owned(), figures });
    }
    /// Adds words below the table.
    pub fn note(&mut self, text: &str) {
        text.clone_into(&mut self.note);
    }
    fn render(&self) -> String {
        let mut text = format!("| {} | {} |\n|---|", self.unit, self.columns.join(" | "));
        text.push_str(&"---:|".repeat(self.columns.len()));
        for row in &self.rows {
            let _ = write!(text, "\n| {} |", row.name);
            for figure in &row.figures {
                let _ = write!(text, " {} |", figure.map_or_else(|| "-".to_owned(), digits));
            }
        }
        text.push('\n');
        if !self.note.is_empty() {
            let _ = writeln!(text, "\n{}", self.note);
        }
        text
    }
    /// Draws bars, a group for each row, on a logarithmic scale where figures differ much.
    fn plot(&self, file: &Path) -> Result<()> {
        const BAR: i32 = 11;
        const LEFT: i32 = 190;
        const RIGHT: i32 = 70;
        const TOP: i32 = 34;
        const WIDTH: i32 = 860;
        let bars = i32::try_from(self.columns.len())?;
        let group = BAR * bars + 10;
        let height = TOP + group * i32::try_from(self.rows.len())? + 10 + 18 * bars;
        let figures = || self.rows.iter().flat_map(|row| row.figures.iter().flatten().copied());
        let largest = figures().fold(f64::MIN_POSITIVE, f64::max);
        let smallest = figures().filter(|figure| *figure > 0.0).fold(largest, f64::min);
        let is_logarithmic = largest > smallest * 30.0;
        let share = |figure: f64| {
            if is_logarithmic {
                let base = smallest / 2.0;
                ((figure.max(base) / base).ln() / (largest / base).ln()).max(0.0)
            } else {
                figure / largest
            }
        };
        let root = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
        root.fill(&WHITE)?;
        let scale = if is_logarithmic { ", logarithmic scale" } else { "" };
        root.draw(&Text::new(format!("{}: {}{scale}", self.title, self.unit), (8, 8), ("sans-serif", 15)))?;
        for (row, top) in self.rows.iter().zip((0..).map(|index| TOP + group * index)) {
            root.draw(&Text::new(row.name.clone(), (8, top + group / 2 - 12), ("sans-serif", 12)))?;
            for ((index, figure), y) in row.figures.iter().enumerate().zip((0..).map(|bar| top + BAR * bar)) {
                let Some(figure) = figure else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "a place in the plot")]
                let end = LEFT + (share(*figure) * f64::from(WIDTH - LEFT - RIGHT)) as i32;
                root.draw(&Rectangle::new(
                    [(LEFT, y), (end.max(LEFT + 1), y + BAR - 1)],
                    Self::colour(index).filled(),
                ))?;
                root.draw(&Text::new(digits(*figure), (end + 4, y), ("sans-serif", 10)))?;
            }
        }
        let below = height - 18 * bars;
        for ((index, name), y) in self.columns.iter().enumerate().zip((0..).map(|line| below + 18 * line)) {
            root.draw(&Rectangle::new([(LEFT, y), (LEFT + 12, y + 12)], Self::colour(index).filled()))?;
            root.draw(&Text::new(name.clone(), (LEFT + 18, y), ("sans-serif", 12)))?;
        }
        root.present()?;
        Ok(())
    }
    /// The first column's colour stands out: it is ours.
    fn colour(column: usize) -> RGBColor {
        const OURS: RGBColor = RGBColor(200, 60, 40);
        const OTHERS: [RGBColor; 5] = [
            RGBColor(60, 90, 130),
            RGBColor(120, 150, 180),
            RGBColor(150, 140, 90),
            RGBColor(100, 140, 100),
            RGBColor(150, 150, 150),
        ];
        column.checked_sub(1).and_then(|other| OTHERS.get(other % OTHERS.len())).copied().unwrap_or(OURS)
    }
}

/// A figure with three digits that say something.
fn digits(figure: f64) -> String {
    let size = figure.abs();
    if size >= 100.0 || size == 0.0 {
        format!("{figure:.0}")
    } else if size >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("get + put", "ns, less is better", &["ours", "theirs"]);
        table.row("one thread", vec![Some(3.216), Some(271.8)]);
        table.row("two threads", vec![Some(31.42), None]);
        table.note("In one run.");
        table
    }

    #[test]
    fn tables_are_markdown() {
        let expected = "| ns, less is better | ours | theirs |\n|---|---:|---:|\n| one thread | 3.22 | 272 |\n\
                        | two threads | 31.4 | - |\n\nIn one run.\n";
        assert_eq!(table().render(), expected);
    }

    #[test]
    fn notes_by_hand_are_kept() {
        let folder = std::env::temp_dir().join(format!("ashlar-report-{}", std::process::id()));
        let mut report = Report::new("some", "Some figures");
        report.add(table());
        report.write(&folder).unwrap();
        let file = folder.join("some.md");
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("By hand.\n");
        std::fs::write(&file, text).unwrap();
        report.write(&folder).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.ends_with("kept by `cargo xtask bench`. -->\nBy hand.\n"));
        assert_eq!(text.matches("Some figures").count(), 1);
        let plot = std::fs::read_to_string(folder.join("some-1.svg")).unwrap();
        assert!(plot.starts_with("<svg") && plot.contains("one thread") && plot.contains("272"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
