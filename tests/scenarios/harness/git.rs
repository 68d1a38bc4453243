//! A bare origin and a work clone, with commits that are really signed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clock::Clock;
use super::keys;

/// An origin and the clone in which people work.
pub struct Repo {
    dir: PathBuf,
    /// The bare repository that the controller tracks.
    pub origin: PathBuf,
    /// The clone in which files are written.
    pub work: PathBuf,
    clock: Clock,
}

/// How a commit or tag is signed.
enum Signing<'a> {
    Unsigned,
    Ssh(&'a str),
    Openpgp(&'a str),
}

/// A commit that still needs somebody to make it.
#[must_use]
pub struct Pending<'a> {
    repo: &'a Repo,
    message: String,
    date: Option<i64>,
    author: Option<String>,
}

impl Repo {
    /// Makes both repositories below `dir`.
    pub fn new(dir: &Path, clock: Clock) -> Self {
        let repo = Self { dir: dir.to_owned(), origin: dir.join("origin.git"), work: dir.join("work"), clock };
        fs::create_dir_all(dir.join("home")).expect("home is made");
        let gnupg = dir.join("gnupg");
        fs::create_dir_all(&gnupg).expect("gnupg is made");
        fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).expect("gnupg is private");
        repo.run(dir, &["init", "-q", "--bare", "-b", "main", "origin.git"], &[]);
        repo.run(&dir.join("origin.git"), &["config", "receive.denyDeleteCurrent", "ignore"], &[]);
        repo.run(dir, &["init", "-q", "-b", "main", "work"], &[]);
        repo.git(&["remote", "add", "origin", &repo.origin.to_string_lossy()]);
        repo
    }

    /// Returns the environment in which git, gpg and holdfast run: nothing of the machine's own configuration.
    pub fn environment(dir: &Path) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        [
            ("PATH", path),
            ("HOME", dir.join("home").to_string_lossy().into_owned()),
            ("GNUPGHOME", dir.join("gnupg").to_string_lossy().into_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
            ("GIT_TERMINAL_PROMPT", "0".to_owned()),
            ("GIT_ADVICE", "0".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TZ", "UTC".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    #[track_caller]
    fn run(&self, at: &Path, arguments: &[&str], extra: &[(&str, String)]) -> String {
        let output = Command::new("git")
            .current_dir(at)
            .env_clear()
            .envs(Self::environment(&self.dir))
            .envs(extra.iter().map(|(name, value)| (*name, value.as_str())))
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.quotePath=false"])
            .args(arguments)
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs git in the work clone and returns what it prints.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.run(&self.work, arguments, &[])
    }

    /// Tells whether git itself takes a commit's signature, with these options.
    pub fn git_verifies(&self, options: &[String], commit: &str) -> bool {
        let options = options.iter().flat_map(|option| ["-c", option.as_str()]);
        let output = Command::new("git")
            .current_dir(&self.work)
            .env_clear()
            .envs(Self::environment(&self.dir))
            .args(options)
            .args(["verify-commit", commit])
            .output();
        output.expect("git runs").status.success()
    }

    /// Runs git in the work clone as somebody, signing with their ssh key whatever is signed, at the world's time.
    #[track_caller]
    pub fn git_as(&self, who: &str, arguments: &[&str]) -> String {
        self.git_signing(who, &Signing::Ssh(who), None, arguments)
    }

    #[track_caller]
    fn git_signing(&self, who: &str, signing: &Signing<'_>, date: Option<i64>, arguments: &[&str]) -> String {
        let date = format!("@{} +0000", date.unwrap_or_else(|| self.clock.now()));
        let identity = [
            ("GIT_AUTHOR_NAME", who.to_owned()),
            ("GIT_AUTHOR_EMAIL", keys::address(who)),
            ("GIT_COMMITTER_NAME", who.to_owned()),
            ("GIT_COMMITTER_EMAIL", keys::address(who)),
            ("GIT_AUTHOR_DATE", date.clone()),
            ("GIT_COMMITTER_DATE", date),
        ];
        let options: Vec<String> = match signing {
            Signing::Unsigned => vec!["commit.gpgSign=false".to_owned(), "tag.gpgSign=false".to_owned()],
            Signing::Ssh(key) => vec![
                "gpg.format=ssh".to_owned(),
                format!("user.signingKey={}", keys::private(key).display()),
                "commit.gpgSign=true".to_owned(),
            ],
            Signing::Openpgp(key) => vec![format!("user.signingKey={key}"), "commit.gpgSign=true".to_owned()],
        };
        let mut all: Vec<&str> = Vec::new();
        for option in &options {
            all.extend(["-c", option]);
        }
        all.extend(arguments);
        self.run(&self.work, &all, &identity)
    }

    /// Writes a file of the work tree.
    pub fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.work.join(path);
        fs::create_dir_all(file.parent().expect("a file has a folder")).expect("the folder is made");
        fs::write(file, text).expect("the file is written");
        self
    }

    /// Makes a file of the work tree executable, or no longer so.
    pub fn executable(&self, path: &str, yes: bool) -> &Self {
        let mode = if yes { 0o755 } else { 0o644 };
        fs::set_permissions(self.work.join(path), fs::Permissions::from_mode(mode)).expect("the mode is set");
        self
    }

    /// Writes a symbolic link of the work tree.
    pub fn link(&self, path: &str, to: &str) -> &Self {
        let file = self.work.join(path);
        fs::create_dir_all(file.parent().expect("a link has a folder")).expect("the folder is made");
        let _ = fs::remove_file(&file);
        symlink(to, file).expect("the link is made");
        self
    }

    /// Removes a file or folder of the work tree.
    #[track_caller]
    pub fn remove(&self, path: &str) -> &Self {
        let file = self.work.join(path);
        let gone = if file.is_dir() { fs::remove_dir_all(&file) } else { fs::remove_file(&file) };
        gone.unwrap_or_else(|error| panic!("{path} is not removed: {error}"));
        self
    }

    /// Writes `numbers` of files named by [`name`] into a folder (`""` for the root), each with a content of its own.
    pub fn fill(&self, folder: &str, numbers: std::ops::Range<usize>) -> &Self {
        for number in numbers {
            self.write(&at(folder, number), &content(number, "alpha"));
        }
        self
    }

    /// Changes one value in each of the files that [`Self::fill`] wrote.
    pub fn change(&self, folder: &str, numbers: std::ops::Range<usize>, value: &str) -> &Self {
        for number in numbers {
            self.write(&at(folder, number), &content(number, value));
        }
        self
    }

    /// Removes files that [`Self::fill`] wrote.
    pub fn drop(&self, folder: &str, numbers: std::ops::Range<usize>) -> &Self {
        for number in numbers {
            self.remove(&at(folder, number));
        }
        self
    }

    /// Begins a commit of everything in the work tree.
    pub fn commit(&self, message: &str) -> Pending<'_> {
        Pending { repo: self, message: message.to_owned(), date: None, author: None }
    }

    /// Commits everything as alice, signed, pushes it, and returns the commit.
    #[track_caller]
    pub fn publish(&self, message: &str) -> String {
        let commit = self.commit(message).by("alice");
        self.push();
        commit
    }

    /// Pushes the current branch.
    #[track_caller]
    pub fn push(&self) -> &Self {
        self.git(&["push", "-q", "origin", "HEAD"]);
        self
    }

    /// Pushes the current branch whatever the origin holds.
    #[track_caller]
    pub fn force_push(&self) -> &Self {
        self.git(&["push", "-q", "--force", "origin", "HEAD"]);
        self
    }

    /// Returns the commit that is checked out.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Merges the side branch `from` with a signed merge commit, and returns it.
    #[track_caller]
    pub fn merge_no_ff(&self, from: &str, message: &str, who: &str) -> String {
        self.git_as(who, &["merge", "-q", "--no-ff", "-m", message, from]);
        self.head()
    }

    /// Moves `main` to a merge whose first parent is a side branch and whose second is the old `main`; returns the merge.
    #[track_caller]
    pub fn foxtrot(&self, who: &str) -> String {
        let main = self.head();
        self.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
        self.write("side.conf", "from = the side\n");
        self.commit("side").by(who);
        self.merge_no_ff(&main, "merge main into side", who);
        self.git(&["checkout", "-q", "-B", "main"]);
        self.head()
    }

    /// Reverts a commit with a signed commit, and returns that.
    #[track_caller]
    pub fn revert(&self, commit: &str, who: &str) -> String {
        self.git_as(who, &["revert", "--no-edit", commit]);
        self.head()
    }

    /// Makes and pushes a signed annotated tag at HEAD.
    #[track_caller]
    pub fn tag(&self, name: &str, who: &str) {
        self.git_as(who, &["tag", "-s", "-m", "agreed", name, "HEAD"]);
        self.git(&["push", "-q", "origin", &format!("refs/tags/{name}")]);
    }

    /// Makes and pushes the tag with which somebody approves a digest.
    #[track_caller]
    pub fn approve(&self, digest: &str, who: &str) {
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.tag(&format!("holdfast-approve/{digits}"), who);
    }

    /// Replaces HEAD by a commit that carries HEAD's signature over another message: a damaged signature.
    pub fn damage_signature(&self) -> String {
        let raw = self.git(&["cat-file", "commit", "HEAD"]);
        let file = self.dir.join("damaged");
        fs::write(&file, format!("{raw} (not what was signed)\n")).expect("the object is written");
        let id = self.git(&["hash-object", "-t", "commit", "-w", &file.to_string_lossy()]);
        self.git(&["reset", "-q", "--hard", &id]);
        id
    }

    /// Makes an OpenPGP key for somebody; returns its fingerprint and the exported certificate.
    pub fn openpgp_key(&self, who: &str) -> (String, String) {
        let gpg = |arguments: &[&str]| {
            let output = Command::new("gpg")
                .env_clear()
                .envs(Self::environment(&self.dir))
                .args(["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"])
                .args(arguments)
                .output()
                .expect("gpg runs");
            assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let address = keys::address(who);
        gpg(&["--quick-gen-key", &format!("{who} <{address}>"), "ed25519", "sign", "never"]);
        let listed = gpg(&["--list-keys", "--with-colons", &address]);
        let fingerprint = listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:"))
            .map(|rest| rest.trim_matches(':').to_owned())
            .expect("gpg lists the key");
        let exported = gpg(&["--armor", "--export", &fingerprint]);
        (fingerprint, exported)
    }
}

impl Drop for Repo {
    fn drop(&mut self) {
        if self.dir.join("gnupg/private-keys-v1.d").exists() {
            let _ = Command::new("gpgconf")
                .env_clear()
                .envs(Self::environment(&self.dir))
                .args(["--kill", "gpg-agent"])
                .status();
        }
    }
}

impl Pending<'_> {
    /// Dates it so many seconds after the epoch instead of now.
    pub fn dated(mut self, seconds: i64) -> Self {
        self.date = Some(seconds);
        self
    }

    /// Names another author than the committer.
    pub fn written_by(mut self, who: &str) -> Self {
        self.author = Some(format!("{who} <{}>", keys::address(who)));
        self
    }

    /// Makes it, signed with the ssh key of `who`.
    #[track_caller]
    pub fn by(self, who: &str) -> String {
        self.make(who, &Signing::Ssh(who))
    }

    /// Makes it as `who`, signed with the ssh key of somebody else.
    #[track_caller]
    pub fn by_with_key_of(self, who: &str, key: &str) -> String {
        self.make(who, &Signing::Ssh(key))
    }

    /// Makes it as `who`, signed with an OpenPGP key.
    #[track_caller]
    pub fn by_openpgp(self, who: &str, fingerprint: &str) -> String {
        self.make(who, &Signing::Openpgp(fingerprint))
    }

    /// Makes it as `who`, without a signature.
    #[track_caller]
    pub fn unsigned_by(self, who: &str) -> String {
        self.make(who, &Signing::Unsigned)
    }

    #[track_caller]
    fn make(self, who: &str, signing: &Signing<'_>) -> String {
        self.repo.git(&["add", "-A"]);
        let author = self.author.map(|author| format!("--author={author}"));
        let mut arguments = vec!["commit", "-q", "--allow-empty", "-m", &self.message];
        arguments.extend(author.as_deref());
        self.repo.git_signing(who, signing, self.date, &arguments);
        self.repo.head()
    }
}

/// Returns the name of a numbered file.
pub fn name(number: usize) -> String {
    format!("f{number:03}.conf")
}

/// Returns the path of a numbered file in a folder.
pub fn at(folder: &str, number: usize) -> String {
    if folder.is_empty() { name(number) } else { format!("{folder}/{}", name(number)) }
}

/// Returns the content of a numbered file; words only, so that no change of it looks like a new version.
pub fn content(number: usize, value: &str) -> String {
    let letters: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
    format!("owner = {letters}\nupstream = {value}\n")
}
