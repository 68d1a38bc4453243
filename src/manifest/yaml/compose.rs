//! From one document to the value that it is.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle, Tag};
use serde_json::{Map, Value};

use super::scalar::{self, Scalar};

/// Anchors and aliases in manifests are few; a document that unfolds into a million values is an attack.
const NODES_MAX: usize = 1_000_000;

/// As much text as a file may have.
const BYTES_MAX: usize = 64 << 20;

/// How deep a document may be nested: deeper than any manifest, and no deeper than JSON is read back.
const DEPTH_MAX: usize = 100;

/// Says what is wrong, and in which line of the document, from 1.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) why: Cow<'static, str>,
}

/// Reads one document.
pub(super) fn document(text: &str) -> Result<Value, Wrong> {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.block_scalar_eof_without_line_feed = true;
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    options.emit_anchor_events = true;
    if let Some(at) = text.find(['\u{85}', '\u{2028}', '\u{2029}']) {
        let line = text[..at].split('\n').count();
        let why = "it has a character that YAML 1.1 takes for the end of a line (U+0085, U+2028 or U+2029); write it as \
                   \"\\u2028\" in double quotes";
        return Err(Wrong { line, why: why.into() });
    }
    let mut compose = Compose::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| Wrong { line: error.marker().line(), why: error.info().into() })?;
        let wrong = |why| Wrong { line: span.start.line(), why };
        let after = span.byte_range().and_then(|range| text.get(range.end..)).unwrap_or_default();
        compose.take(event, after).map_err(wrong)?;
    }
    let Compose { root, all, aliased, .. } = compose;
    // As many as a small document may have of them by kubectl's reader.
    if aliased.nodes > 100 && all.nodes > 1_000 && aliased.nodes > all.nodes / 100 * 99 {
        return Err(Wrong { line: 1, why: "nearly everything in it comes from aliases; write it out".into() });
    }
    Ok(root.unwrap_or_default())
}

/// How much there is of something.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn since(self, before: Self) -> Self {
        Self { nodes: self.nodes - before.nodes, bytes: self.bytes - before.bytes }
    }
}

/// A collection that has not ended yet.
struct Open {
    anchor: usize,
    /// Whether it is written in brackets.
    flow: bool,
    /// How much there was before it.
    before: Size,
    holds: Holds,
}

enum Holds {
    Items(Vec<Value>),
    Fields(Fields),
}

#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
    key: Option<Key>,
    /// The keys that are written here, where some were merged.
    written: Option<BTreeSet<String>>,
}

enum Key {
    Field(String),
    Merge,
}

/// A value, and what a merge must know of how it was written.
struct Node<'a> {
    value: Value,
    /// What it is as a key, if it is a scalar that was written here.
    scalar: Option<(Scalar<'a>, bool)>,
    aliased: bool,
}

#[derive(Default)]
struct Compose {
    documents: usize,
    root: Option<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, Size)>,
    all: Size,
    aliased: Size,
}

type Why = Cow<'static, str>;

impl Compose {
    fn take(&mut self, event: Event<'_>, after: &str) -> Result<(), Why> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("what comes after `...` is read by nobody; start it with `---`, or take it out".into());
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(text.len())?;
                if style == ScalarStyle::Plain && self.open.last().is_some_and(|open| open.flow) {
                    apart(&text, after)?;
                }
                let scalar = resolve(&text, style, tag.as_deref())?;
                let value = value_of(&scalar, self.is_key())?;
                self.keep(anchor, &value, Size { nodes: 1, bytes: text.len() });
                let merges = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                self.put(Node { value, scalar: Some((scalar, merges)), aliased: false })
            }
            Event::SequenceStart(style, anchor, _) => self.start(anchor, style, Holds::Items(Vec::new())),
            Event::MappingStart(style, anchor, _) => self.start(anchor, style, Holds::Fields(Fields::default())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor),
            Event::Anchor(_, name) if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) => {
                Err(format!("the anchor {name:?} must be named by letters, digits, `-` and `_` alone").into())
            }
            _ => Ok(()),
        }
    }

    /// Counts one more value, or says that there are too many.
    fn spend(&mut self, bytes: usize) -> Result<(), Why> {
        self.all.nodes += 1;
        self.all.bytes += bytes;
        self.afford()
    }

    fn afford(&self) -> Result<(), Why> {
        if self.all.nodes > NODES_MAX || self.all.bytes > BYTES_MAX {
            return Err(
                "it unfolds into more than a million values, or 64 MiB; split it, or write its aliases out".into()
            );
        }
        Ok(())
    }

    fn is_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { holds: Holds::Fields(Fields { key: None, .. }), .. }))
    }

    fn keep(&mut self, anchor: usize, value: &Value, size: Size) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
    }

    fn start(&mut self, anchor: usize, style: StructureStyle, holds: Holds) -> Result<(), Why> {
        if self.is_key() {
            return Err(
                "a key is a text; this one is a list or a mapping (`{{ … }}` of a template must be quoted)".into()
            );
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep").into());
        }
        let before = self.all;
        self.spend(0)?;
        self.open.push(Open { anchor, flow: style == StructureStyle::Flow, before, holds });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Why> {
        let Some(Open { anchor, flow: _, before, holds }) = self.open.pop() else { return Ok(()) };
        let value = match holds {
            Holds::Items(items) => Value::Array(items),
            Holds::Fields(fields) => Value::Object(fields.map),
        };
        self.keep(anchor, &value, self.all.since(before));
        self.put(Node { value, scalar: None, aliased: false })
    }

    fn alias(&mut self, anchor: usize) -> Result<(), Why> {
        let Some((value, size)) = self.anchors.get(&anchor) else {
            return Err("an alias inside of what it stands for never ends".into());
        };
        for count in [&mut self.all, &mut self.aliased] {
            count.nodes += size.nodes;
            count.bytes += size.bytes;
        }
        self.afford()?;
        let value = value.clone();
        self.put(Node { value, scalar: None, aliased: true })
    }

    /// Puts a value where it belongs.
    fn put(&mut self, node: Node<'_>) -> Result<(), Why> {
        match self.open.last_mut().map(|open| &mut open.holds) {
            None => self.root = Some(node.value),
            Some(Holds::Items(items)) => items.push(node.value),
            Some(Holds::Fields(fields)) => fields.put(node)?,
        }
        Ok(())
    }
}

impl Fields {
    fn put(&mut self, node: Node<'_>) -> Result<(), Why> {
        match self.key.take() {
            None => self.key = Some(key_of(node)?),
            Some(Key::Merge) => self.merge(node)?,
            Some(Key::Field(name)) => {
                let again = match &mut self.written {
                    Some(written) => !written.insert(name.clone()),
                    None => self.map.contains_key(&name),
                };
                if again {
                    return Err(format!("the key {name:?} is there twice; take one out (duplicate)").into());
                }
                self.map.insert(name, node.value);
            }
        }
        Ok(())
    }

    /// Merges what stands for more fields: it overrides what was written before it, and what comes after overrides it.
    fn merge(&mut self, node: Node<'_>) -> Result<(), Why> {
        self.written.get_or_insert_with(|| self.map.keys().cloned().collect());
        let mappings = match node.value {
            Value::Object(map) => vec![Value::Object(map)],
            // The first one of several has the last word.
            Value::Array(items) if !node.aliased => items.into_iter().rev().collect(),
            _ => Vec::from([Value::Null]),
        };
        for mapping in mappings {
            let Value::Object(map) = mapping else {
                return Err("`<<` merges a mapping, or a list of them".into());
            };
            self.map.extend(map);
        }
        Ok(())
    }
}

/// Reads a key: numbers and truth values are the texts that spell them.
fn key_of(node: Node<'_>) -> Result<Key, Why> {
    let quote = |what: &str| format!("a key is a text, and this one is {what}; quote it").into();
    Ok(match node.scalar {
        Some((_, true)) => Key::Merge,
        Some((Scalar::Text(text), false)) => Key::Field(text.to_owned()),
        Some((Scalar::Bool(value), false)) => Key::Field(value.to_string()),
        Some((Scalar::Int(number), false)) => Key::Field(number.to_string()),
        Some((Scalar::Null, false)) => return Err(quote("nothing")),
        Some((Scalar::Uint(_) | Scalar::Float(_), false)) => {
            return Err(quote("a number that has no one spelling"));
        }
        None => match node.value {
            Value::String(text) => Key::Field(text),
            _ => return Err("a key is a text, and this one is an alias for something else; write it out".into()),
        },
    })
}

/// Refuses what reads differently in YAML 1.1 and 1.2 between brackets.
fn apart(text: &str, after: &str) -> Result<(), Why> {
    let bracket = |c: char| ",[]{}".contains(c);
    if text.starts_with('?') || after.strip_prefix(':').is_some_and(|after| after.starts_with(bracket)) {
        return Err("between brackets a space comes after `:` and `?`; put it there, or quote the text".into());
    }
    Ok(())
}

fn value_of(scalar: &Scalar<'_>, is_key: bool) -> Result<Value, Why> {
    let value = match *scalar {
        Scalar::Null => Some(Value::Null),
        Scalar::Bool(value) => Some(value.into()),
        Scalar::Int(number) => Some(number.into()),
        Scalar::Uint(number) => scalar::uint_value(number),
        Scalar::Float(number) => scalar::float_value(number),
        Scalar::Text(text) => Some(text.into()),
    };
    match value {
        Some(value) => Ok(value),
        None if is_key => Ok(Value::Null),
        None => Err("JSON has no infinite numbers, and none that are none; quote it if it is a text".into()),
    }
}

/// Tells what a scalar is, by how it is written and by its tag.
fn resolve<'a>(text: &'a str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Scalar<'a>, Why> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { scalar::plain(text) } else { Scalar::Text(text) });
    };
    let wanted = tag.suffix_in_namespace("tag:yaml.org,2002:");
    let plain = scalar::plain(text);
    let fits = match (wanted.as_deref(), plain) {
        (None | Some("str"), _) => Some(Scalar::Text(text)),
        (Some("bool"), found @ Scalar::Bool(_))
        | (Some("int"), found @ (Scalar::Int(_) | Scalar::Uint(_)))
        | (Some("float"), found @ Scalar::Float(_))
        | (Some("null"), found @ Scalar::Null) => Some(found),
        #[expect(clippy::cast_precision_loss, reason = "as the server rounds it")]
        (Some("float"), Scalar::Int(number)) => Some(Scalar::Float(number as f64)),
        (Some("binary" | "timestamp" | "merge"), _) => {
            return Err(format!("`{}` is not read here; write it as a text, without the tag", tag.original()).into());
        }
        (Some("bool" | "int" | "float" | "null"), _) => None,
        (Some(_), _) => Some(Scalar::Text(text)),
    };
    fits.ok_or_else(|| format!("{text:?} is none of the kind that its tag `{}` says", tag.original()).into())
}
