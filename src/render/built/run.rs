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

/// What a Go program says when it gets no more: before pages that say where it was.
const MEMORY_GONE: [&str; 2] = ["out of memory", "cannot allocate memory"];

/// How long it may take to say its version.
const VERSION_TIME: Duration = Duration::from_secs(20);

/// A program that renders, or decrypts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Program {
    /// What it is called, for messages and where none is configured.
    pub name: &'static str,
    /// Where it is; looked for in `PATH` otherwise.
    pub path: Option<PathBuf>,
    /// Whether it may run where nothing can be taken away from it: then only what is refused beforehand protects the machine.
    pub unconfined: bool,
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

    /// Runs a program that sees nothing of the machine but a directory, as its root, and its own copy there; returns what it
    /// printed.
    pub(in crate::render) fn run(
        &self,
        program: &Program,
        arguments: &[OsString],
        root: &Path,
        limits: &Limits,
    ) -> Result<Vec<u8>, Problem> {
        if program.unconfined {
            let own = program.find()?;
            return self.end(program, &own, &[own.clone().into()], arguments, &at(root), limits.time, &[]);
        }
        if !is_isolating() {
            return Err(Problem::Unconfined(program.name));
        }
        let own = program.find()?;
        let copy = root.join(program.name);
        let copied = std::fs::hard_link(&own, &copy).or_else(|_| std::fs::copy(&own, &copy).map(drop));
        copied.map_err(|error| Problem::Program(format!("copy {}: {error}", own.display())))?;
        let mut argv: Vec<OsString> = ALONE.map(Into::into).into();
        argv.extend(["--root".into(), root.into(), "--wd".into(), "/".into(), "--".into()]);
        argv.push(format!("/{}", program.name).into());
        self.end(program, &own, &argv, arguments, &at(Path::new("/")), limits.time, &[])
    }

    /// Runs a program without a network, gives it input and an environment of its own; returns what it printed.
    ///
    /// Only for what reads nothing that a repository names.
    pub(in crate::render) fn talk(
        &self,
        program: &Program,
        arguments: &[OsString],
        dir: &Path,
        time: Duration,
        environment: &[(&str, OsString)],
        input: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let own = program.find()?;
        let mut argv: Vec<OsString> = Vec::new();
        if is_isolating() {
            argv.extend(ALONE.map(Into::into));
            argv.push("--".into());
        } else if !program.unconfined {
            return Err(Problem::Unconfined(program.name));
        }
        argv.push(own.clone().into());
        let mut places = at(dir);
        places.extend(environment.iter().cloned());
        self.end(program, &own, &argv, arguments, &places, time, input)
    }

    /// Runs what was put together, to its end.
    #[expect(clippy::too_many_arguments, clippy::unused_self, reason = "the two ways of running share their end")]
    fn end(
        &self,
        program: &Program,
        own: &Path,
        before: &[OsString],
        arguments: &[OsString],
        environment: &[(&str, OsString)],
        time: Duration,
        input: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let argv: Vec<OsString> = before.iter().chain(arguments).cloned().collect();
        let command = Command {
            argv: &argv,
            dir: Some(Path::new("/")),
            timeout: time,
            environment: Some(environment),
            bounds: Bounds { memory: Some(MEMORY_MAX), cpu: Some(time) },
        };
        let mut printed = Vec::new();
        let mut hear = |bytes: &[u8]| {
            printed.extend_from_slice(bytes);
            printed.len() <= PRINTED_MAX
        };
        let talked = command.talk(input, &mut hear);
        let (finish, complaint) =
            talked.map_err(|error| Problem::Program(format!("start {}: {error}", own.display())))?;
        match finish {
            Finish::Success => Ok(printed),
            Finish::Failure(_) if complaint.contains("failed to execute") => Err(program
                .missing("it does not run alone in a directory; it must be a static binary, as its releases are")),
            Finish::Failure(_) if MEMORY_GONE.iter().any(|words| complaint.contains(words)) => {
                Err(Problem::Memory { name: program.name, cap: MEMORY_MAX })
            }
            Finish::Failure(status) => {
                Err(Problem::Program(format!("{} ended with {status}: {complaint}", program.name)))
            }
            Finish::TimedOut(after) => Err(Problem::Time(after)),
            Finish::Stopped => Err(Problem::Printed { name: program.name, cap: PRINTED_MAX as u64 }),
        }
    }
}

/// Returns an environment whose places are all one directory.
fn at(dir: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("HOME", dir.into()),
        ("TMPDIR", dir.into()),
        ("GOMEMLIMIT", "2GiB".into()),
        // Where `unshare` is.
        ("PATH", "/usr/bin:/bin".into()),
    ]
}

/// Runs what follows as nobody, in a network of its own, which has nothing in it.
const ALONE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--net"];

/// Tells whether this machine lets us take everything else away from a program; found out once.
pub fn is_isolating() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let tried = std::process::Command::new(ALONE[0])
            .args(&ALONE[1..])
            // Itself is the one program that is certainly there: an image need hold no other.
            .args(["--root", "/", "--wd", "/", "--", ALONE[0], "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}
