//! Running a renderer's program: bounded, alone, and of a version that is recorded.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::process::{Bounds, Command, Finish};
use crate::render::{Limits, Problem};

/// What a program may print.
const PRINTED_MAX: usize = 64 << 20;

/// How much address space it may take: Go programs reserve more than they use.
const MEMORY_MAX: u64 = 4 << 30;

/// How long it may take to say its version.
const VERSION_TIME: Duration = Duration::from_secs(20);

/// A program that renders, or decrypts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Program {
    /// What it is called, for messages and where none is configured.
    pub name: &'static str,
    /// Where it is; looked for in `PATH` otherwise.
    pub path: Option<PathBuf>,
}

impl Program {
    fn asks_version(&self) -> &'static [&'static str] {
        match self.name {
            "helm" => &["version", "--short"],
            "sops" => &["--version", "--disable-version-check"],
            _ => &["version"],
        }
    }

    fn get(&self) -> &'static str {
        match self.name {
            "helm" => "https://helm.sh/docs/intro/install",
            "sops" => "https://getsops.io",
            _ => "https://kubectl.docs.kubernetes.io/installation/kustomize",
        }
    }

    fn missing(&self, why: &str) -> Problem {
        Problem::ProgramMissing { name: self.name, why: why.to_owned(), get: self.get() }
    }

    /// Finds where it is now.
    fn find(&self) -> Result<PathBuf, Problem> {
        if let Some(path) = &self.path {
            return if path.is_file() {
                Ok(path.clone())
            } else {
                Err(self.missing(&format!("{} is no file", path.display())))
            };
        }
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&dirs).map(|dir| dir.join(self.name)).find(|path| path.is_file());
        found.ok_or_else(|| self.missing("it is in no directory of PATH"))
    }
}

/// Runs programs.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::render) struct Programs;

/// What programs said their versions are: asked once in a process, for a version that changes is a restart away.
static VERSIONS: Mutex<BTreeMap<Program, Arc<str>>> = Mutex::new(BTreeMap::new());

impl Programs {
    /// Returns the version that a program says it has.
    pub(in crate::render) fn version(&self, program: &Program) -> Result<Arc<str>, Problem> {
        if let Some(version) = VERSIONS.lock().unwrap_or_else(PoisonError::into_inner).get(program) {
            return Ok(version.clone());
        }
        let dir = tempfile::Builder::new().prefix("holdfast-render-").tempdir();
        let dir = dir.map_err(|error| Problem::Program(format!("make a directory: {error}")))?;
        let arguments: Vec<OsString> = program.asks_version().iter().map(Into::into).collect();
        let said = self.talk(program, &arguments, dir.path(), VERSION_TIME, &[], &[])?;
        let said = String::from_utf8_lossy(&said);
        let version: Arc<str> = said.split_whitespace().collect::<Vec<_>>().join(" ").into();
        if version.is_empty() || version.len() > 200 {
            return Err(program.missing("it does not say which version it is"));
        }
        VERSIONS.lock().unwrap_or_else(PoisonError::into_inner).insert(program.clone(), version.clone());
        Ok(version)
    }

    /// Runs a program in a directory of its own; returns what it printed.
    pub(in crate::render) fn run(
        &self,
        program: &Program,
        arguments: &[OsString],
        dir: &Path,
        limits: &Limits,
    ) -> Result<Vec<u8>, Problem> {
        self.talk(program, arguments, dir, limits.time, &[], &[])
    }

    /// Runs a program, gives it input and an environment of its own; returns what it printed.
    pub(in crate::render) fn talk(
        &self,
        program: &Program,
        arguments: &[OsString],
        dir: &Path,
        time: Duration,
        environment: &[(&str, OsString)],
        input: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let path = program.find()?;
        let mut argv: Vec<OsString> = if has_no_network() { ALONE.map(Into::into).into() } else { Vec::new() };
        argv.push(path.into());
        argv.extend_from_slice(arguments);
        let mut own: Vec<(&str, OsString)> =
            vec![("HOME", dir.into()), ("TMPDIR", dir.into()), ("GOMEMLIMIT", "2GiB".into())];
        own.extend(environment.iter().cloned());
        let command = Command {
            argv: &argv,
            dir: Some(dir),
            timeout: time,
            environment: Some(&own),
            bounds: Bounds { memory: Some(MEMORY_MAX), cpu: Some(time) },
        };
        let mut printed = Vec::new();
        let mut hear = |bytes: &[u8]| {
            printed.extend_from_slice(bytes);
            printed.len() <= PRINTED_MAX
        };
        let (finish, complaint) = command
            .talk(input, &mut hear)
            .map_err(|error| Problem::Program(format!("start {}: {error}", program.name)))?;
        match finish {
            Finish::Success => Ok(printed),
            Finish::Failure(status) => {
                Err(Problem::Program(format!("{} ended with {status}: {complaint}", program.name)))
            }
            Finish::TimedOut(after) => Err(Problem::Time(after)),
            Finish::Stopped => Err(Problem::TooLarge { size: printed.len() as u64, cap: PRINTED_MAX as u64 }),
        }
    }
}

/// Runs what follows in a network of its own, which has nothing in it.
const ALONE: [&str; 5] = ["unshare", "--user", "--map-root-user", "--net", "--"];

/// Tells whether this machine lets us take the network away; found out once.
pub(in crate::render) fn has_no_network() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let tried = std::process::Command::new(ALONE[0])
            .args(&ALONE[1..])
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}
