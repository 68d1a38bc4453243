//! From the text of a file to the values in it, read as kubectl and the API server read it: YAML 1.1 by way of JSON.
//!
//! Apart because what a plain scalar means, where a document ends and what a merge does are decided here, by their reader's
//! rules and not by YAML's newer ones. What they read in an order that nobody chose, or drop without a word, is refused
//! with what to write instead. A contract test compares every rule with kubectl's own library.

mod compose;
#[cfg(test)]
mod contract;
mod json;
mod scalar;

use serde_json::Value;

use super::{ManifestError, Problem};

/// What separates documents, at the beginning of a line.
const SEPARATOR: &str = "---";

/// Reads every document of a file; one that holds nothing is null.
///
/// # Errors
/// The document that does not parse, and why.
pub fn yaml(text: &str) -> Result<Vec<Value>, ManifestError> {
    if !text.trim_start().starts_with('{') {
        return Chunks::default().read(text);
    }
    let json::Read { documents, rest } = json::read(text);
    let Some(json::Rest { offset, why, ends }) = rest else { return Ok(documents) };
    let failed = |documents: &[Value]| {
        Err(ManifestError { document: documents.len() + 1, problem: Problem::Syntax(why.clone()) })
    };
    // Past its second object a stream of JSON is not taken for YAML any more.
    if ends || documents.len() > 1 {
        return failed(&documents);
    }
    let after = skip_line(&text[offset..]);
    let line = text[..text.len() - after.len()].matches('\n').count();
    let read = documents.len();
    match (Chunks { documents, line, ..Chunks::default() }).read(after) {
        // A brace at the beginning promises JSON.
        Err(_) if read == 0 => failed(&[]),
        other => other,
    }
}

/// Skips the rest of a line, if that is blank.
fn skip_line(text: &str) -> &str {
    let blank = text.len() - text.trim_start().len();
    let end = text[..blank].find('\n').map_or(blank, |end| end + 1);
    &text[end..]
}

/// Reads documents, each by itself.
#[derive(Default)]
struct Chunks {
    documents: Vec<Value>,
    /// How many lines are before what is read.
    line: usize,
    chunk: String,
    /// The lines before the document.
    before: usize,
}

impl Chunks {
    fn read(mut self, text: &str) -> Result<Vec<Value>, ManifestError> {
        self.before = self.line;
        for line in text.split_inclusive('\n') {
            let content = match line.strip_suffix('\n') {
                Some(line) => line.strip_suffix('\r').unwrap_or(line),
                None => line,
            };
            self.line += 1;
            if let Some(more) = content.strip_prefix(SEPARATOR) {
                let more = more.trim();
                if !more.is_empty() && !more.starts_with('#') {
                    return Err(self.wrong(
                        self.line,
                        "`---` stands alone on its line, but for a comment: put what follows on the next line",
                    ));
                }
                if !self.chunk.is_empty() {
                    self.compose()?;
                    continue;
                }
            }
            self.chunk.push_str(content);
            self.chunk.push('\n');
        }
        if !self.chunk.is_empty() {
            self.compose()?;
        }
        Ok(self.documents)
    }

    fn compose(&mut self) -> Result<(), ManifestError> {
        match compose::document(&self.chunk) {
            Ok(value) => self.documents.push(value),
            Err(compose::Wrong { line, why }) => return Err(self.wrong(self.before + line, &why)),
        }
        self.chunk.clear();
        self.before = self.line;
        Ok(())
    }

    fn wrong(&self, line: usize, why: &str) -> ManifestError {
        let problem = Problem::Syntax(format!("line {line}: {why}"));
        ManifestError { document: self.documents.len() + 1, problem }
    }
}
