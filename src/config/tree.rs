//! YAML text as values, and where in the text a field stands.
//!
//! serde stops at the first error and knows no positions once a value is built. So a document is read into plain values
//! first; when an error is to be shown, the text is parsed a second time down to the field in question, and the parser's own
//! mark is its line. That costs a parse per error and is right for every way of writing YAML.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// One step from a value to one inside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A field of a mapping.
    Key(String),
    /// An element of a sequence.
    Index(usize),
}

/// Where a value stands in its document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Field(Vec<Step>);

impl Field {
    /// Returns the field `key` of this.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Step::Key(key.into()))
    }

    /// Returns the element `index` of this.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// Reads a dotted path of keys.
    pub fn dotted(path: &str) -> Self {
        Self(path.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    /// Tells whether `other` is this or stands inside it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Returns the steps from the document to the field.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.is_empty() || key.contains(['.', ' ', '[']) => write!(f, "[{key:?}]")?,
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// Which of the file's documents it is, from 0; empty ones count.
    pub index: usize,
    /// What it says.
    pub value: Value,
    /// Keys that were written twice in one mapping.
    pub duplicates: Vec<Field>,
}

/// Why a text, or the rest of one, could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The line, from 1, where the parser knows it.
    pub line: Option<usize>,
    /// What is wrong, as a lower-case fragment.
    pub what: String,
}

/// Reads a text's documents; empty ones are left out. After one that cannot be parsed nothing more is read.
pub fn read(text: &str) -> (Vec<Document>, Option<Unreadable>) {
    let mut documents = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let duplicates = RefCell::new(Vec::new());
        match (Reading { at: Field::default(), duplicates: &duplicates }).deserialize(document) {
            Ok(Value::Null) => {}
            Ok(value) => documents.push(Document { index, value, duplicates: duplicates.into_inner() }),
            Err(error) => return (documents, Some(unreadable(&error))),
        }
    }
    (documents, None)
}

fn unreadable(error: &serde_yaml::Error) -> Unreadable {
    let line = error.location().map(|location| location.line());
    let text = error.to_string();
    // The line is shown with the file's name already.
    let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
    Unreadable { line, what }
}

/// Builds a value and notes keys that were written twice.
struct Reading<'a> {
    at: Field,
    duplicates: &'a RefCell<Vec<Field>>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value without a tag")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number =
            serde_json::Number::from_f64(value).ok_or_else(|| E::custom("infinity and NaN mean nothing here"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) =
            seq.next_element_seed(Reading { at: self.at.index(values.len()), duplicates: self.duplicates })?
        {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(Key(key)) = map.next_key()? {
            let at = self.at.key(key.clone());
            let value = map.next_value_seed(Reading { at: at.clone(), duplicates: self.duplicates })?;
            if values.insert(key, value).is_some() {
                self.duplicates.borrow_mut().push(at);
            }
        }
        Ok(Value::Object(values))
    }
}

/// A mapping's key, whatever scalar it was written as.
struct Key(String);

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_yaml::Value::deserialize(deserializer)? {
            serde_yaml::Value::String(key) => Ok(Self(key)),
            serde_yaml::Value::Number(key) => Ok(Self(key.to_string())),
            serde_yaml::Value::Bool(key) => Ok(Self(key.to_string())),
            _ => Err(D::Error::custom("a key is a word")),
        }
    }
}

/// Finds the line, from 1, of a field: of its key in a mapping, of itself in a sequence. `nth` picks among keys that were
/// written more than once. Where the field does not exist, the nearest value around it is meant.
pub fn line_of(text: &str, document: usize, field: &Field, nth: usize) -> Option<usize> {
    let mut steps = field.steps();
    loop {
        let nth = if steps.len() == field.steps().len() { nth } else { 0 };
        let parser = serde_yaml::Deserializer::from_str(text).nth(document)?;
        let found = Finding { steps, nth }.deserialize(parser);
        if let Some(location) = found.err().filter(is_mark).and_then(|error| error.location()) {
            return Some(location.line());
        }
        steps = steps.split_last()?.1;
    }
}

/// The text of the error by which [`Finding`] makes the parser tell its position.
const MARK: &str = "\u{1}here\u{1}";

fn is_mark(error: &serde_yaml::Error) -> bool {
    error.to_string().contains(MARK)
}

/// Walks to a field and fails there, so that the parser attaches its position to the error.
struct Finding<'a> {
    steps: &'a [Step],
    nth: usize,
}

impl<'de> DeserializeSeed<'de> for Finding<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finding<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A scalar where the path goes on ends here as a type error, which is no mark unless the path ended too.
        f.write_str(if self.steps.is_empty() { MARK } else { "something to look into" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Step::Index(index), rest)) = self.steps.split_first() else {
            return if self.steps.is_empty() { Err(A::Error::custom(MARK)) } else { drain(seq) };
        };
        for _ in 0..*index {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Finding { steps: rest, nth: self.nth })?;
        drain(seq)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else { return Err(A::Error::custom(MARK)) };
        loop {
            let wanted = WantedKey { step, fail: rest.is_empty(), nth: &mut self.nth };
            match map.next_key_seed(wanted)? {
                None => return Ok(()),
                Some(true) => map.next_value_seed(Finding { steps: rest, nth: self.nth })?,
                Some(false) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
    }
}

fn drain<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Tells whether a key is the one looked for; fails on it if it is the last.
struct WantedKey<'a> {
    step: &'a Step,
    fail: bool,
    nth: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for WantedKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl WantedKey<'_> {
    fn judge<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        let Step::Key(wanted) = self.step else { return Ok(false) };
        if wanted != key {
            return Ok(false);
        }
        if self.fail && *self.nth == 0 {
            return Err(E::custom(MARK));
        }
        if self.fail {
            *self.nth -= 1;
        }
        Ok(!self.fail)
    }
}

impl<'de> Visitor<'de> for WantedKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        self.judge(key)
    }

    fn visit_bool<E: serde::de::Error>(self, key: bool) -> Result<bool, E> {
        self.judge(&key.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, key: u64) -> Result<bool, E> {
        self.judge(&key.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, key: i64) -> Result<bool, E> {
        self.judge(&key.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# first\na: 1\nb:\n  c: [x,\n     y, {d: 1,\n     e: 2}]\n  'f': &anchor\n    g: 1\n  h: *anchor\n---\n---\n\"k\":\n- one\n-\n  two: 2\n  two: 3\n";

    fn line(document: usize, field: &Field) -> Option<usize> {
        line_of(TEXT, document, field, 0)
    }

    #[test]
    fn lines_are_found_in_every_style() {
        let top = Field::default();
        assert_eq!(line(0, &top.key("a")), Some(2));
        assert_eq!(line(0, &top.key("b")), Some(3));
        let c = top.key("b").key("c");
        assert_eq!(line(0, &c), Some(4));
        assert_eq!(line(0, &c.index(1)), Some(5));
        assert_eq!(line(0, &c.index(2).key("e")), Some(6));
        assert_eq!(line(0, &top.key("b").key("f").key("g")), Some(8));
        assert_eq!(line(2, &top.key("k").index(0)), Some(13));
        assert_eq!(line(2, &top.key("k").index(1).key("two")), Some(15));
        assert_eq!(line_of(TEXT, 2, &top.key("k").index(1).key("two"), 1), Some(16));
    }

    #[test]
    fn what_is_missing_is_shown_at_what_is_around_it() {
        let top = Field::default();
        assert_eq!(line(0, &top.key("b").key("nothing")), Some(3));
        assert_eq!(line(0, &top.key("a").key("inside a scalar")), Some(2));
        assert_eq!(line(0, &top.key("b").key("c").index(9)), Some(4));
        assert_eq!(line(2, &top.key("missing")), Some(12));
        assert_eq!(line(9, &top), None);
    }

    #[test]
    fn documents_and_duplicates_are_read() {
        let (documents, error) = read(TEXT);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(documents.iter().map(|document| document.index).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(documents[0].value["b"]["h"], serde_json::json!({"g": 1}));
        let duplicates: Vec<String> = documents[1].duplicates.iter().map(ToString::to_string).collect();
        assert_eq!(duplicates, ["k[1].two"]);
    }

    #[test]
    fn what_does_not_parse_has_a_line() {
        let (documents, error) = read("a: 1\n---\nb: [1\nc: 2\n");
        assert_eq!(documents.len(), 1);
        assert_eq!(error.unwrap().line, Some(4));
        let (_, error) = read("a: !secret x\n");
        assert!(error.unwrap().what.contains("tag"));
    }
}
