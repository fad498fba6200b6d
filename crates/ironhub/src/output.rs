//! Standard output: tables for people, JSON for programs.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// For whom a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Output {
    // For people. Without doc comments, which help would print one a line under every command.
    #[default]
    Text,
    // For programs.
    Json,
}

/// Writes a line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Writes one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::failed(format!("the result cannot be written as JSON: {error}")))?;
    line(&text)
}

/// Talk: standard error, and no failure when nobody listens.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes rows under headings, columns as wide as their widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    line(&layout(headings, rows))
}

/// Writes names and values in two columns.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> Result<(), Failure> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        line(&format!("{name:width$}  {value}"))?;
    }
    Ok(())
}

fn layout(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(headings.get(column).map(|heading| heading.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let lay = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![lay(&mut headings.iter().copied())];
    lines.extend(rows.iter().map(|row| lay(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Text from a peer, fit for a terminal: control characters could move its cursor or worse.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = [
            vec!["a".to_owned(), "x".to_owned()],
            vec!["größer".to_owned(), String::new()],
        ];
        assert_eq!(
            layout(&["ID", "STATE"], &rows),
            "ID      STATE\na       x\ngrößer"
        );
        assert_eq!(layout(&["ID"], &[]), "ID");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
