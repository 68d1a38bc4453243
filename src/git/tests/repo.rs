//! A repository that tests make with the installed git, in an environment of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::core::commit::CommitId;
use crate::git::Remote;

/// A repository with a work tree; `main` is its branch.
pub(super) struct Repo {
    dir: tempfile::TempDir,
    clock: std::cell::Cell<i64>,
}

impl Repo {
    pub(super) fn empty() -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap(), clock: std::cell::Cell::new(1_700_000_000) };
        std::fs::create_dir(repo.path()).unwrap();
        repo.git(&["init", "-q", "-b", "main"]);
        repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        repo
    }

    /// A repository with one commit.
    pub(super) fn new() -> Self {
        let repo = Self::empty();
        repo.file("app/a.conf", "one\n");
        repo.commit("c0");
        repo
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// The directory above, which a server serves.
    pub(super) fn above(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn remote(&self) -> Remote {
        Remote::new(self.path().to_str().unwrap(), "main")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        let date = format!("@{} +0000", self.clock.get());
        command.args(args).current_dir(self.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs([
            ("HOME", self.dir.path().to_str().unwrap()),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("LC_ALL", "C"),
            ("GIT_AUTHOR_NAME", "Alice"),
            ("GIT_AUTHOR_EMAIL", "alice@example.com"),
            ("GIT_COMMITTER_NAME", "Bob"),
            ("GIT_COMMITTER_EMAIL", "bob@example.com"),
            ("GIT_AUTHOR_DATE", &date),
            ("GIT_COMMITTER_DATE", &date),
        ]);
        command
    }

    pub(super) fn git(&self, args: &[&str]) -> String {
        self.git_with(args, "")
    }

    pub(super) fn git_with(&self, args: &[&str], input: &str) -> String {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Runs git, whatever comes of it.
    pub(super) fn try_git(&self, args: &[&str]) -> std::process::Output {
        self.command(args).output().unwrap()
    }

    /// Sets the dates of the next commits; each commit is a minute later by itself.
    pub(super) fn at(&self, seconds: i64) -> &Self {
        self.clock.set(seconds);
        self
    }

    pub(super) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(super) fn remove(&self, path: &str) {
        self.git(&["rm", "-rq", path]);
    }

    pub(super) fn commit(&self, message: &str) -> CommitId {
        self.clock.set(self.clock.get() + 60);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    /// Changes one file and commits.
    pub(super) fn change(&self, message: &str) -> CommitId {
        self.file("app/a.conf", message);
        self.commit(message)
    }

    pub(super) fn merge(&self, branch: &str) -> CommitId {
        self.clock.set(self.clock.get() + 60);
        self.git(&["merge", "-q", "--no-ff", "-m", "merge", "-X", "ours", branch]);
        self.head()
    }

    pub(super) fn head(&self) -> CommitId {
        CommitId::new(self.git(&["rev-parse", "HEAD"]))
    }

    /// Bytes that do not compress, the same each time.
    pub(super) fn noise(size: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..size).map(|_| next()).collect()
    }

    /// Stores an object as it is, however malformed, and returns its id.
    pub(super) fn object(&self, kind: &str, content: &[u8]) -> String {
        let file = self.dir.path().join("object");
        std::fs::write(&file, content).unwrap();
        self.git(&["hash-object", "-w", "--literally", "-t", kind, file.to_str().unwrap()])
    }
}

/// The server of `tests/fixtures`, for the directory above a repository.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    tls: bool,
}

impl Server {
    pub(super) fn of(repo: &Repo) -> Self {
        Self::start(repo, false)
    }

    /// Over TLS, with the certificate of [`Server::certificate`].
    pub(super) fn with_tls(repo: &Repo) -> Self {
        let (key, cert) = (repo.above().join("tls.key"), repo.above().join("tls.crt"));
        if !cert.exists() {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"]);
            command
                .args([
                    "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                    "-keyout",
                ])
                .arg(key)
                .arg("-out")
                .arg(cert);
            assert!(command.stderr(Stdio::null()).status().unwrap().success());
        }
        Self::start(repo, true)
    }

    fn start(repo: &Repo, tls: bool) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitserver.py");
        let mut child = Command::new("python3")
            .arg(script)
            .arg(repo.above())
            .args(tls.then_some("tls"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap(), tls }
    }

    pub(super) fn remote(&self, mode: &str) -> Remote {
        let scheme = if self.tls { "https" } else { "http" };
        Remote::new(format!("{scheme}://127.0.0.1:{}{mode}/repo/.git", self.port), "main")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
