//! What is wrong with a configuration: all of it, each with its place and what to do.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The file, as it was given or found.
    pub file: PathBuf,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// The application or controller it concerns, such as ``Application `web` ``; empty for the file as a whole.
    pub document: String,
    /// The field's path, such as `spec.guards.deleteHalt`; empty for the document as a whole.
    pub field: String,
    /// What is wrong, as a lower-case fragment.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, document, field, what, hint } = self;
        write!(f, "{}", file.display())?;
        if let Some(line) = line {
            write!(f, ":{line}")?;
        }
        for part in [document, field] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        write!(f, ": {what}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, "\n    {hint}") }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "the configuration has an error")?,
            n => writeln!(f, "the configuration has {n} errors")?,
        }
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "  {}", error.to_string().replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A finding inside one document, before its place is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub field: super::tree::Field,
    /// Which of several keys of this name is meant, from 0.
    pub nth: usize,
    pub what: String,
    pub hint: String,
}

/// Collects findings of one document.
#[derive(Default, Debug)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    /// Notes what is wrong with a field and what to do about it.
    pub fn add(&mut self, field: &super::tree::Field, what: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding { field: field.clone(), nth: 0, what: what.into(), hint: hint.into() });
    }
}
