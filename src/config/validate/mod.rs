//! From what was written to what it means; notes everything that is wrong rather than stopping at the first.

mod application;
mod confined;
mod controller;
mod guards;
mod source;
mod together;

use std::cell::RefCell;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::error::Findings;
use super::raw::{RawDuration, parse_duration};
use super::tree::Field;

pub(super) use application::application;
pub(super) use confined::confined;
pub(super) use controller::controller;
pub(super) use together::together;

/// Where validation stands: the field, what its paths are relative to, and where findings go.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    field: Field,
    base: &'a Path,
    findings: &'a RefCell<Findings>,
}

impl<'a> Scope<'a> {
    /// Starts at a document's top; `base` is the absolute folder of its file.
    pub fn new(base: &'a Path, findings: &'a RefCell<Findings>) -> Self {
        Self { field: Field::default(), base, findings }
    }

    fn key(&self, name: &str) -> Self {
        Self { field: self.field.key(name), ..self.clone() }
    }

    fn index(&self, index: usize) -> Self {
        Self { field: self.field.index(index), ..self.clone() }
    }

    fn error(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.borrow_mut().add(&self.field, what, hint);
    }

    /// Reads a duration, or notes why not.
    fn duration(&self, raw: &RawDuration) -> Option<Duration> {
        self.duration_text(&raw.0)
    }

    fn duration_text(&self, text: &str) -> Option<Duration> {
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(what) => {
                self.error(
                    what,
                    "write days, hours, minutes and seconds, largest first, such as `90s`, `3m`, `1h30m` or `7d`",
                );
                None
            }
        }
    }

    /// Reads the duration of field `name`, or takes the default.
    fn duration_or(&self, name: &str, raw: Option<&RawDuration>, default: Duration) -> Duration {
        raw.and_then(|raw| self.key(name).duration(raw)).unwrap_or(default)
    }

    /// Reads a duration that must not be zero (`GUARDS.md` 8: an interval, window or back-off of zero is refused).
    fn nonzero_or(&self, name: &str, raw: Option<&RawDuration>, default: Duration) -> Duration {
        let duration = self.duration_or(name, raw, default);
        if duration.is_zero() {
            self.key(name).error("is zero", "write a duration of at least `1s`");
            return default;
        }
        duration
    }

    /// Makes a path absolute, relative to the configuration's file, without `.` and `..`.
    fn path(&self, text: &str) -> PathBuf {
        if text.is_empty() {
            self.error("is empty", "write a path, or take the line out");
        } else if text == "~" || text.starts_with("~/") {
            self.error(format!("`{text}`: `~` is not expanded"), "write the whole path");
        }
        absolute(self.base, text)
    }

    /// Makes the path of field `name` absolute, if there is one.
    fn path_of(&self, name: &str, text: Option<&String>) -> Option<PathBuf> {
        text.map(|text| self.key(name).path(text))
    }

    /// Checks an `http` or `https` address; `secret` says that a secret will be sent there.
    fn web_address(&self, text: &str, secret: bool) -> String {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some(rest) = rest else {
            self.error(format!("`{}` is no web address", without_password(text)), "write `https://…`");
            return text.to_owned();
        };
        let (authority, _) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
        if authority.contains('@') {
            self.error("holds a user or password", "take it out of the address, and name a file with it instead");
        }
        let host = host_of(authority);
        if host.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.error(format!("`{}` is no web address", without_password(text)), "write `https://host/…`");
        } else if secret && text.starts_with("http://") && !is_loopback(host) {
            self.error("would send a secret unencrypted", "write `https://…`");
        }
        text.trim_end_matches('/').to_owned()
    }

    /// Checks a program and its arguments.
    fn command(&self, words: &[String]) -> Vec<String> {
        let Some((program, arguments)) = words.split_first().filter(|(program, _)| !program.is_empty()) else {
            self.error(
                "names no program",
                "write a list of the program and its arguments, such as `[systemctl, reload, nginx]`",
            );
            return Vec::new();
        };
        if arguments.is_empty() && program.contains(char::is_whitespace) {
            let words: Vec<&str> = program.split_whitespace().collect();
            self.error(
                format!("`{program}` would be one program's name; there is no shell"),
                format!("write `[{}]`", words.join(", ")),
            );
        }
        // Only a program with a slash is a path; any other is looked up as the shell would.
        let program = if program.contains('/') {
            absolute(self.base, program).to_string_lossy().into_owned()
        } else {
            program.clone()
        };
        std::iter::once(program).chain(arguments.iter().cloned()).collect()
    }
}

/// Joins and cleans a path by its spelling alone: what it names may not exist yet.
fn absolute(base: &Path, text: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in base.join(text).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(component),
        }
    }
    clean
}

/// Tells whether a name is a DNS label (RFC 1123).
fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Spells an address for a message, without what may be a password.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('@') {
            Some((user, host)) if !user.contains('/') => format!("{scheme}://…@{host}"),
            _ => url.to_owned(),
        },
        None => url.to_owned(),
    }
}
