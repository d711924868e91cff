//! The only code that prints. Data goes to standard output, everything else to standard error.

mod cells;
mod progress;
pub(crate) mod rows;
mod summary;

use std::io::{IsTerminal, Write};

use pipeline_core::error::{BUG, ERRORS_PAGE, Error, Result};
use serde::Serialize;

pub(crate) use cells::{count, duration, plural, size, table};
pub(crate) use progress::progress;

use crate::arguments::{ColorWhen, Global, OutputForm, ProgressForm};

/// How this call prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// The form of data.
    pub(crate) form: OutputForm,
    /// The form of progress, never `Auto`.
    pub(crate) progress: ProgressForm,
    /// Only errors.
    pub(crate) quiet: bool,
    colors_out: bool,
    colors_error: bool,
}

/// Styles of words in human output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Names and numbers that matter.
    Strong,
    /// Good ends.
    Good,
    /// Warnings.
    Warn,
    /// Failures.
    Bad,
    /// Less important.
    Dim,
    /// Headings and keys.
    Key,
}

impl Style {
    fn ansi(self) -> anstyle::Style {
        use anstyle::AnsiColor::{Cyan, Green, Red, Yellow};
        let plain = anstyle::Style::new();
        match self {
            Self::Strong => plain.bold(),
            Self::Good => plain.fg_color(Some(Green.into())),
            Self::Warn => plain.fg_color(Some(Yellow.into())),
            Self::Bad => plain.bold().fg_color(Some(Red.into())),
            Self::Dim => plain.dimmed(),
            Self::Key => plain.fg_color(Some(Cyan.into())),
        }
    }
}

impl Printer {
    /// Decides once how to print.
    pub(crate) fn new(global: &Global, no_color: bool) -> Self {
        let colors = |terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !no_color,
        };
        let error_terminal = std::io::stderr().is_terminal();
        let progress = match global.progress {
            ProgressForm::Auto if global.quiet => ProgressForm::None,
            ProgressForm::Auto if error_terminal => ProgressForm::Bar,
            ProgressForm::Auto => ProgressForm::Log,
            other => other,
        };
        Self {
            form: global.output,
            progress,
            quiet: global.quiet,
            colors_out: colors(std::io::stdout().is_terminal()),
            colors_error: colors(error_terminal),
        }
    }

    /// Whether standard error has colours.
    pub(crate) fn colors_error(&self) -> bool {
        self.colors_error
    }

    /// A word in a style, for standard output.
    pub(crate) fn styled(&self, style: Style, text: impl std::fmt::Display) -> String {
        paint(self.colors_out, style, &text.to_string())
    }

    /// A word in a style, for standard error.
    pub(crate) fn styled_error(&self, style: Style, text: impl std::fmt::Display) -> String {
        paint(self.colors_error, style, &text.to_string())
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        self.text(format!("{text}\n"));
    }

    /// Prints data without an end of line.
    pub(crate) fn text(&self, text: impl std::fmt::Display) {
        // A reader that has seen enough (`| head`) closes the pipe: that is its right, and no error.
        let mut out = std::io::stdout().lock();
        let written = write!(out, "{text}");
        if written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            drop(out);
            broken_pipe();
        }
    }

    /// Prints a line beside the data.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        }
    }

    /// Prints a JSON document.
    ///
    /// # Errors
    /// Only on an error of ours.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<()> {
        let text = match self.form {
            OutputForm::Ndjson => serde_json::to_string(value),
            OutputForm::Human | OutputForm::Json => serde_json::to_string_pretty(value),
        };
        self.line(text.map_err(|_| Error::new(&BUG, "a report could not be written as JSON"))?);
        Ok(())
    }

    /// Prints an error, for people or as one JSON object.
    pub(crate) fn error(&self, error: &Error) {
        let mut out = std::io::stderr().lock();
        if self.form == OutputForm::Human {
            let mut text = format!("{} {}\n", self.styled_error(Style::Bad, "error:"), error.message());
            for cause in error.causes() {
                text.push_str(&format!("  {} {cause}\n", self.styled_error(Style::Dim, "caused by:")));
            }
            text.push_str(&format!("\n{} {}\n", self.styled_error(Style::Key, "hint:"), error.remedy()));
            text.push_str(&self.styled_error(Style::Dim, format!("      {}, see {ERRORS_PAGE}", error.code().name)));
            drop(writeln!(out, "{text}"));
        } else {
            let page = format!("{ERRORS_PAGE}#{}", error.code().name.to_lowercase());
            let object = serde_json::json!({ "error": {
                "code": error.code().name, "kind": error.kind().name(), "message": error.message(),
                "causes": error.causes(), "hint": error.remedy(), "docs": page,
            }});
            drop(writeln!(out, "{object}"));
        }
    }
}

fn paint(colors: bool, style: Style, text: &str) -> String {
    if colors {
        let style = style.ansi();
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

#[expect(clippy::disallowed_methods, reason = "nobody reads the output any more: there is nothing left to do")]
fn broken_pipe() -> ! {
    std::process::exit(0)
}
