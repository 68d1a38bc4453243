//! The messages between us and an exec target: one JSON object a line (`docs/exec-target.md`).

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::resource::{Anchor, Digest, Health, Here, Id, Live, More, Nature, Touch, Version, Vitals};
use crate::core::write::Content;
use crate::targets::content_digest;

/// The version of the protocol, in every request.
const PROTOCOL: u32 = 1;
/// No line is longer: a program that prints without line ends would fill the memory.
const MAX_LINE: usize = 1024 * 1024;

/// What we ask.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(super) enum Request<'a> {
    Observe {
        protocol: u32,
        op: &'static str,
    },
    Asked {
        id: &'a Id,
    },
    End {
        end: bool,
        count: usize,
    },
    Write {
        protocol: u32,
        op: &'static str,
        id: &'a Id,
        digest: Option<Digest>,
        content: Bytes<'a>,
        expected: Option<Expected<'a>>,
    },
    Delete {
        protocol: u32,
        op: &'static str,
        id: &'a Id,
        expected: Expected<'a>,
    },
    Swap {
        protocol: u32,
        op: &'static str,
        expected: Option<&'a Anchor>,
        new: &'a Anchor,
    },
}

/// What was observed, as the program spelt it.
#[derive(Serialize)]
pub(super) struct Expected<'a> {
    digest: Digest,
    version: &'a Version,
}

/// Bytes as text where they are text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bytes<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

impl<'a> Request<'a> {
    /// Asks for the state of every identity.
    pub(super) fn observe(ids: &[&Id]) -> Vec<u8> {
        let mut bytes = Vec::new();
        line(&mut bytes, &Request::Observe { protocol: PROTOCOL, op: "observe" });
        ids.iter().for_each(|id| line(&mut bytes, &Request::Asked { id }));
        line(&mut bytes, &Request::End { end: true, count: ids.len() });
        bytes
    }

    /// Asks for a creation, or an update of what was observed.
    pub(super) fn write(id: &'a Id, content: &'a Content, expected: Option<&'a (Digest, Version)>) -> Vec<u8> {
        let (kind, raw, executable) = match content {
            Content::File { bytes, executable } => ("file", bytes, *executable),
            Content::Link(target) => ("link", target, false),
        };
        let text = std::str::from_utf8(raw).ok();
        let hex = if text.is_some() { None } else { Some(hex::encode(raw)) };
        let content = Bytes { kind, text, hex, executable };
        let digest = match kind {
            "link" => Some(crate::core::spelling::link_digest(raw)),
            _ => content_digest(raw, executable),
        };
        let expected = expected.map(Expected::new);
        one(&Request::Write { protocol: PROTOCOL, op: "write", id, digest, content, expected })
    }

    /// Asks for a deletion of what was observed.
    pub(super) fn delete(id: &'a Id, expected: &'a (Digest, Version)) -> Vec<u8> {
        one(&Request::Delete { protocol: PROTOCOL, op: "delete", id, expected: Expected::new(expected) })
    }

    /// Asks for another anchor.
    pub(super) fn swap(expected: Option<&'a Anchor>, new: &'a Anchor) -> Vec<u8> {
        one(&Request::Swap { protocol: PROTOCOL, op: "swap", expected, new })
    }
}

impl<'a> Expected<'a> {
    const fn new((digest, version): &'a (Digest, Version)) -> Self {
        Self { digest: *digest, version }
    }
}

fn one(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    line(&mut bytes, request);
    bytes
}

fn line(bytes: &mut Vec<u8>, request: &Request<'_>) {
    serde_json::to_writer(&mut *bytes, request).expect("requests have text keys only, and memory does not fail");
    bytes.push(b'\n');
}

/// A line of an observation.
pub(super) enum Seen {
    /// One resource.
    Resource { id: String, report: Box<Report> },
    /// The anchor.
    Anchor(Option<Anchor>),
    /// The last line.
    End { end: bool, count: usize },
}

impl Seen {
    /// Reads one line; which one it is shows in its keys.
    ///
    /// # Errors
    /// What is wrong with it, with its beginning.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Keys {
            id: Option<String>,
            end: Option<bool>,
            count: Option<usize>,
        }
        #[derive(Deserialize)]
        struct AnchorLine {
            // Named, so that a line with none of our keys is not taken for an absent anchor.
            #[serde(deserialize_with = "Option::deserialize")]
            anchor: Option<Anchor>,
        }
        match parse(line)? {
            Keys { id: Some(id), end: None, count: None } => Ok(Self::Resource { id, report: parse(line)? }),
            Keys { id: None, end: Some(end), count: Some(count) } => Ok(Self::End { end, count }),
            Keys { id: None, end: None, count: None } => {
                parse::<AnchorLine>(line).map(|AnchorLine { anchor }| Self::Anchor(anchor))
            }
            _ => Err("one of its lines is neither a resource, nor an anchor, nor the end".to_owned()),
        }
    }
}

/// The one line that answers every other request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Written {
    Done(Report),
    Gone(bool),
    Leaving(bool),
    Swapped(bool),
    Moved(String),
    Refused(String),
}

/// What a program says of one resource.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    #[serde(default)]
    digest: Option<Digest>,
    #[serde(default)]
    version: Option<Arc<str>>,
    /// Why it could not be read.
    #[serde(default)]
    unread: Option<Arc<str>>,
    #[serde(default)]
    leaving: bool,
    #[serde(default)]
    health: Health,
    #[serde(default)]
    identity: Option<Arc<str>>,
    /// The names of what it has that could be lost; content, where nothing is said.
    #[serde(default)]
    vitals: Option<Vec<Vital>>,
    #[serde(default)]
    group: Option<Arc<str>>,
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    access_control: bool,
    #[serde(default)]
    dependants: u32,
    #[serde(default)]
    by: Option<Arc<str>>,
    #[serde(default)]
    interactive: bool,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// Something that an update could lose.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Vital {
    Content,
    Executable,
    Running,
    Active,
    Finalized,
}

impl Report {
    /// Turns what was said into what core takes.
    ///
    /// # Errors
    /// If it says both or neither of what is there and why it could not be read.
    pub(super) fn live(self, id: &Id) -> Result<Live, String> {
        match (self.unread, self.leaving, self.digest, self.version) {
            (Some(why), false, None, None) => Ok(Live::Unread(format!("`{id}`: {why}").into())),
            (None, true, None, None) => Ok(Live::Leaving),
            (None, false, Some(digest), Some(version)) => Ok(Live::Here(Here {
                digest,
                version: Version::new(version),
                nature: Arc::new(Nature {
                    // What a tree wants is a file or a link: without a word, what is there is the usual of both.
                    identity: Some(self.identity.unwrap_or_else(|| "file".into())),
                    vitals: self.vitals.map_or(Vitals::CONTENT, |vitals| {
                        vitals.into_iter().fold(Vitals::default(), |all, vital| all.with(vital.bit()))
                    }),
                    group: self.group,
                    protected: self.protected,
                    access_control: self.access_control,
                    essence: None,
                    stem: None,
                }),
                health: self.health,
                more: Some(Box::new(More {
                    touch: Touch { by: self.by, interactive: self.interactive, at: self.at },
                    dependants: self.dependants,
                    ..More::default()
                })),
            })),
            _ => Err(format!("{id:?} needs either digest and version, or leaving, or unread")),
        }
    }
}

impl Vital {
    const fn bit(self) -> Vitals {
        match self {
            Self::Content => Vitals::CONTENT,
            Self::Executable => Vitals::EXECUTABLE,
            Self::Running => Vitals::RUNNING,
            Self::Active => Vitals::ACTIVE,
            Self::Finalized => Vitals::FINALIZED,
        }
    }
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it, with its beginning.
pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        let start: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(80).collect();
        format!("it said `{start}`, which is no line of the protocol: {error}")
    })
}

/// Cuts a stream into lines.
#[derive(Default)]
pub(super) struct Lines {
    part: Vec<u8>,
}

impl Lines {
    /// Takes some bytes and hands on every line that they complete.
    ///
    /// # Errors
    /// The first that `hear` finds, or that a line is too long.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        hear: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.extend(piece)?;
            hear(&self.part)?;
            self.part.clear();
        }
        self.extend(last)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.part.len() + bytes.len() > MAX_LINE {
            return Err(format!("one of its lines is longer than {MAX_LINE} bytes"));
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns how many bytes wait for the end of their line.
    pub(super) const fn rest(&self) -> usize {
        self.part.len()
    }
}
