//! From files to a validated configuration, or to everything that is wrong with it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::{check, closest};
use super::error::{ConfigError, ConfigErrors, Finding, Findings};
use super::raw::{API_VERSION, ApplicationDocument, ControllerDocument};
use super::schema::{APPLICATION, CONTROLLER};
use super::tree::{self, Document, Field};
use super::validate::{self, Scope};
use super::validated::{Application, Config, Controller, Origin};

/// Ten megabytes: thousands of applications. A larger file is not a configuration, and reading it must end.
const LARGEST_FILE: u64 = 10 * 1024 * 1024;

/// A value that replaces what the documents say, such as `guards.changeHalt.percent=20` for every application.
#[derive(Clone, PartialEq, Debug)]
pub struct Override {
    field: Vec<String>,
    value: Value,
}

impl std::str::FromStr for Override {
    type Err = String;

    /// Reads `FIELD=VALUE`: a path below an application's `spec`, and a value as YAML.
    fn from_str(text: &str) -> Result<Self, String> {
        let (field, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not FIELD=VALUE"))?;
        let field: Vec<String> = field.trim_start_matches("spec.").split('.').map(str::to_owned).collect();
        if field.iter().any(String::is_empty) {
            return Err(format!("`{text}` names no field; write it as `guards.changeHalt.percent=20`"));
        }
        let (documents, error) = tree::read(value);
        match (documents.into_iter().next(), error) {
            (Some(document), None) => Ok(Self { field, value: document.value }),
            _ => Err(format!("`{text}` has no value that could be read")),
        }
    }
}

/// Reads and validates the configuration.
///
/// `path` is a file or a directory of `*.yaml`; without one, `./holdfast.yaml` is read, or `/etc/holdfast/`.
///
/// # Errors
/// Returns everything that is wrong, sorted by file and line.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigErrors> {
    load_with(path, &[])
}

/// Reads and validates the configuration with values of every application replaced.
///
/// # Errors
/// Returns everything that is wrong, sorted by file and line.
pub fn load_with(path: Option<&Path>, overrides: &[Override]) -> Result<Config, ConfigErrors> {
    let files = find(path)?;
    let mut loading = Loading { overrides, ..Loading::default() };
    for file in &files {
        match read_file(file) {
            Ok(text) => loading.file(file, text),
            Err(errors) => loading.errors.extend(errors.0),
        }
    }
    loading.finish(&files)
}

/// Validates a text as if it were the file `path`; for templates, checks and tests.
///
/// # Errors
/// Returns everything that is wrong, sorted by line.
pub fn load_text(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    load_text_with(path, text, &[])
}

/// Validates a text as if it were the file `path`, with values of every application replaced.
///
/// # Errors
/// Returns everything that is wrong, sorted by line.
pub fn load_text_with(path: &Path, text: &str, overrides: &[Override]) -> Result<Config, ConfigErrors> {
    let mut loading = Loading { overrides, ..Loading::default() };
    loading.file(path, text.to_owned());
    loading.finish(&[path.to_owned()])
}

/// Finds the files to read.
fn find(path: Option<&Path>) -> Result<Vec<PathBuf>, ConfigErrors> {
    let given = match path {
        Some(path) => path,
        None => {
            let places = [Path::new("holdfast.yaml"), Path::new("/etc/holdfast")];
            places.into_iter().find(|place| place.exists()).ok_or_else(|| {
                let hint = "write one with `holdfast init`, or name it with `-c`";
                whole_file(Path::new("./holdfast.yaml"), "there is no configuration here or in /etc/holdfast/", hint)
            })?
        }
    };
    let cannot = |error: std::io::Error| {
        whole_file(given, &format!("cannot be read: {error}"), "check the path and its permissions")
    };
    if !std::fs::metadata(given).map_err(cannot)?.is_dir() {
        return Ok(vec![given.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(given).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // A mounted ConfigMap holds links to its files, so links are followed.
        if yaml && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    if files.is_empty() {
        let hint = "write one with `holdfast init`, or name a file with `-c`";
        return Err(whole_file(given, "holds no file that ends in .yaml", hint));
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    let (what, hint) = match read {
        Err(error) => (format!("cannot be read: {error}"), "check the path and its permissions"),
        Ok(size) if size as u64 > LARGEST_FILE => ("is larger than 10 MB".to_owned(), "split it into several files"),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => return Ok(text),
            Err(_) => ("is not UTF-8".to_owned(), "save it as UTF-8"),
        },
    };
    Err(whole_file(path, &what, hint))
}

/// Says what is wrong with a file rather than with something in it.
fn whole_file(file: &Path, what: &str, hint: &str) -> ConfigErrors {
    ConfigErrors(vec![ConfigError {
        file: file.to_owned(),
        line: None,
        document: String::new(),
        field: String::new(),
        what: what.to_owned(),
        hint: hint.to_owned(),
    }])
}

/// Where a document stands.
#[derive(Clone, Debug)]
struct Place {
    file: usize,
    document: usize,
    label: String,
}

/// What was read so far.
#[derive(Default)]
struct Loading<'a> {
    overrides: &'a [Override],
    texts: Vec<(PathBuf, String)>,
    controller: Option<(Controller, Origin)>,
    applications: Vec<Application>,
    places: Vec<Place>,
    errors: Vec<ConfigError>,
}

impl Loading<'_> {
    fn file(&mut self, path: &Path, text: String) {
        let (documents, unreadable) = tree::read(&text);
        self.texts.push((path.to_owned(), text));
        let file = self.texts.len() - 1;
        for document in documents {
            self.document(file, document);
        }
        if let Some(tree::Unreadable { line, what }) = unreadable {
            self.errors.push(ConfigError {
                file: path.to_owned(),
                line,
                document: String::new(),
                field: String::new(),
                what: format!("is no YAML from here on: {what}"),
                hint: "check the indentation, the quotes and the brackets there and on the line before".to_owned(),
            });
        }
    }

    fn document(&mut self, file: usize, document: Document) {
        let Document { index, mut value, duplicates } = document;
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = value.pointer("/metadata/name").and_then(Value::as_str);
        let label = match (kind.as_str(), name) {
            ("Controller", _) => "Controller".to_owned(),
            ("Application", Some(name)) => format!("Application `{name}`"),
            ("Application", None) => "Application".to_owned(),
            _ => String::new(),
        };
        let place = Place { file, document: index, label };
        let mut findings = Findings::default();
        for field in duplicates {
            findings.add(&field, "is written twice", "take one of the two out");
            if let Some(finding) = findings.0.last_mut() {
                finding.nth = 1;
            }
        }
        match kind.as_str() {
            "Controller" => self.controller(&place, &mut value, findings),
            "Application" => self.application(&place, &mut value, findings),
            _ => {
                no_kind(&value, &kind, &mut findings);
                self.note(&place, findings);
            }
        }
    }

    fn controller(&mut self, place: &Place, value: &mut Value, mut findings: Findings) {
        let origin = self.origin(place);
        if let Some((_, first)) = &self.controller {
            let what = format!("a Controller stands at {first} already");
            findings.add(&Field::dotted("kind"), what, "keep one of the two: there is at most one");
        }
        check(value, &CONTROLLER, &mut findings);
        let document = decode::<ControllerDocument>(value, &mut findings);
        let base = self.base(place);
        let controller = second_look(&mut findings, |more| validate::controller(&Scope::new(&base, more), &document));
        self.note(place, findings);
        self.controller.get_or_insert((controller, origin));
    }

    fn application(&mut self, place: &Place, value: &mut Value, mut findings: Findings) {
        for Override { field, value: new } in self.overrides {
            replace(value, field, new);
        }
        check(value, &APPLICATION, &mut findings);
        let document = decode::<ApplicationDocument>(value, &mut findings);
        let (base, origin) = (self.base(place), self.origin(place));
        let application =
            second_look(&mut findings, |more| validate::application(&Scope::new(&base, more), &document, origin));
        self.note(place, findings);
        if let Some(application) = application {
            self.applications.push(application);
            self.places.push(place.clone());
        }
    }

    /// The folder that a document's paths are relative to.
    fn base(&self, place: &Place) -> PathBuf {
        let path = self.texts.get(place.file).map(|(path, _)| path.as_path()).unwrap_or(Path::new(""));
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        path.parent().map(Path::to_owned).unwrap_or_default()
    }

    fn origin(&self, place: &Place) -> Origin {
        let Some((file, text)) = self.texts.get(place.file) else { return Origin::default() };
        let line = tree::line_of(text, place.document, &Field::default(), 0).unwrap_or_default();
        Origin { file: file.clone(), line }
    }

    fn note(&mut self, place: &Place, findings: Findings) {
        let Some((file, text)) = self.texts.get(place.file) else { return };
        self.errors.extend(findings.0.into_iter().map(|Finding { field, nth, what, hint }| ConfigError {
            file: file.clone(),
            line: tree::line_of(text, place.document, &field, nth),
            document: place.label.clone(),
            field: field.to_string(),
            what,
            hint,
        }));
    }

    fn finish(mut self, files: &[PathBuf]) -> Result<Config, ConfigErrors> {
        let controller = match self.controller.take() {
            Some((controller, _)) => controller,
            None => self.default_controller(files),
        };
        let files: Vec<PathBuf> =
            files.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect();
        let applications = std::mem::take(&mut self.applications);
        let mut found = Vec::new();
        validate::together(&controller, &applications, &files, |at, add| {
            let mut findings = Findings::default();
            add(&mut findings);
            found.push((at, findings));
        });
        if controller.cluster.is_some() && !applications.is_empty() {
            let mut findings = Findings::default();
            let what = "stands in a file, and the Controller reads applications from a cluster";
            findings.add(
                &Field::dotted("kind"),
                what,
                "apply it to the cluster, or take `kubernetes` out of the Controller",
            );
            found.push((0, findings));
        }
        for (at, findings) in found {
            if let Some(place) = self.places.get(at).cloned() {
                self.note(&place, findings);
            }
        }
        if self.errors.is_empty() {
            return Ok(Config { controller, applications });
        }
        self.errors.sort_by(|a, b| (&a.file, a.line, &a.field).cmp(&(&b.file, b.line, &b.field)));
        Err(ConfigErrors(self.errors))
    }

    /// What holds where no document of kind Controller was written.
    fn default_controller(&self, files: &[PathBuf]) -> Controller {
        let findings = RefCell::default();
        let file = files.first().map_or(Path::new(""), PathBuf::as_path);
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let base = file.parent().unwrap_or(Path::new("/"));
        validate::controller(&Scope::new(base, &findings), &ControllerDocument::default())
    }
}

/// Says what is wrong with a document that is neither a Controller nor an Application.
fn no_kind(value: &Value, kind: &str, findings: &mut Findings) {
    let top = Field::default();
    if !value.is_object() {
        findings.add(&top, "is no mapping", format!("begin with `apiVersion: {API_VERSION}` and `kind: Application`"));
    } else if kind.is_empty() {
        findings.add(&top.key("kind"), "missing", "write `kind: Application` or `kind: Controller`");
    } else {
        let close = closest(kind, ["Application", "Controller"].into_iter());
        let hint = close.map_or("write `kind: Application` or `kind: Controller`".to_owned(), |close| {
            format!("did you mean `kind: {close}`?")
        });
        findings.add(&top.key("kind"), format!("`{kind}` is no kind of document that is read here"), hint);
    }
}

/// Reads what the structural check left. It cannot fail then; should it, that is a finding and not a default.
pub(super) fn decode<T: serde::de::DeserializeOwned + Default>(value: &Value, findings: &mut Findings) -> T {
    T::deserialize(value).unwrap_or_else(|error| {
        findings.add(&Field::default(), format!("cannot be read: {error}"), "");
        T::default()
    })
}

/// Validates what the structural check left, and drops findings that only follow from what it took out.
pub(super) fn second_look<T>(findings: &mut Findings, validate: impl FnOnce(&RefCell<Findings>) -> T) -> T {
    let more = RefCell::default();
    let result = validate(&more);
    let follows =
        |new: &Finding| findings.0.iter().any(|old| old.field.contains(&new.field) || new.field.contains(&old.field));
    let fresh: Vec<Finding> = more.into_inner().0.into_iter().filter(|new| !follows(new)).collect();
    findings.0.extend(fresh);
    result
}

/// Sets a field below an application's `spec`, making the mappings on the way.
fn replace(document: &mut Value, field: &[String], new: &Value) {
    let mut at = &mut document["spec"];
    for key in field {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = &mut at[key.as_str()];
    }
    *at = new.clone();
}
