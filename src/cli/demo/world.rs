//! The place of the story: a repository, people with keys, and a directory to keep in sync.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};

use super::super::Failure;
use crate::core::resource::Digest;

/// Who may sign. `mallory` appears too, and is nobody.
pub const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// How many files the application has.
pub const FILES: usize = 60;

/// The first commit's time, 2025-01-06 09:00 UTC; fixed, so that commits have the same names in every run.
const FIRST_COMMIT: i64 = 1_736_154_000;

/// The controller's configuration: the defaults, with minutes made seconds.
const CONFIGURATION: &str = "\
apiVersion: holdfast.dev/v1alpha1
kind: Application
metadata: { name: web }
spec:
  mode: observe
  interval: 1s
  source: { url: fleet.git, path: web }
  trust:
    ssh: { allowedSigners: allowed_signers }
    approvers: [bob@acme.example]
  target: { directory: { root: srv } }
  guards: { settle: 1s }
  drift: { grace: 3s }
";

/// Everything that the story needs; removed when dropped, unless kept.
pub struct World {
    dir: tempfile::TempDir,
    /// How many seconds after the first commit the next command happens.
    second: i64,
}

/// What a directory holds: path to content.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// Says what has to be installed, if something has.
pub fn check_programs() -> Result<(), Failure> {
    let there = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    };
    let missing: Vec<&str> = [("git", "--version"), ("ssh-keygen", "-?"), ("sh", "-c")]
        .into_iter()
        .filter(|(program, argument)| !there(program, argument))
        .map(|(program, _)| program)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("the demonstration needs {}, which PATH does not have", missing.join(" and ")))
        .hint("install Git and OpenSSH's client tools: `apt-get install git openssh-client`, `apk add git openssh-keygen`, `dnf install git openssh`"))
}

impl World {
    /// Makes the directory, the keys, the repository with its first commit, and the empty target.
    pub fn new() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("holdfast-demo-").tempdir()?;
        let mut world = Self { dir, second: 0 };
        for folder in ["bin", "home", "keys", "srv"] {
            fs::create_dir(world.path(folder))?;
        }
        std::os::unix::fs::symlink(std::env::current_exe()?, world.path("bin/holdfast"))?;
        world.make_keys()?;
        fs::write(world.path("holdfast.yaml"), CONFIGURATION)?;
        world.sh("alice", ".", "git init -q --bare -b main fleet.git && git init -q -b main fleet")?;
        fs::create_dir(world.path("fleet/web"))?;
        for number in 0..FILES {
            let name = format!("site-{number:02}");
            let text = format!("server_name = {name}.acme.example\nallow = 10.0.0.0/8\ntimeout = 30s\n");
            fs::write(world.path("fleet/web").join(format!("{name}.conf")), text)?;
        }
        fs::write(world.path("fleet/README.md"), "What runs where.\n")?;
        world.commit(
            "alice",
            "git remote add origin ../fleet.git && git add -A && git commit -qm 'Begin with sixty sites'",
        )?;
        world.commit("alice", "git push -q -u origin main")?;
        Ok(world)
    }

    /// Derives the keys from people's names, so that signatures, and with them commits, are the same in every run.
    fn make_keys(&self) -> Result<(), Failure> {
        let mut signers = String::from("# Keys of a demonstration, which everybody can make: never trust them.\n");
        for who in PEOPLE {
            let seed = Digest::of_parts([b"holdfast demo".as_slice(), who.as_bytes()]);
            let pair = KeypairData::from(Ed25519Keypair::from_seed(seed.as_bytes()));
            let key = PrivateKey::new(pair, address(who))?;
            let file = self.path("keys").join(who);
            fs::write(&file, key.to_openssh(LineEnding::LF)?.as_bytes())?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            let public = key.public_key().to_openssh()?;
            fs::write(file.with_extension("pub"), format!("{public}\n"))?;
            let public: Vec<&str> = public.split(' ').take(2).collect();
            signers += &format!("{} namespaces=\"git\" {}\n", address(who), public.join(" "));
        }
        fs::write(self.path("allowed_signers"), signers)?;
        for who in PEOPLE.into_iter().chain(["mallory"]) {
            let mut text = format!("[user]\n\tname = {who}\n\temail = {}\n", address(who));
            if who != "mallory" {
                let key = self.path("keys").join(who);
                text += &format!("\tsigningKey = {key:?}\n[gpg]\n\tformat = ssh\n[commit]\n\tgpgSign = true\n");
            }
            fs::write(self.path("home").join(who), text)?;
        }
        Ok(())
    }

    /// Returns the story's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir().join(below)
    }

    /// Leaves the directory where it is.
    pub fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }

    /// Begins a command as somebody: of the machine's own configuration only PATH is left.
    pub fn command(&self, program: &str, who: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.path("home"))
            .env("USER", who)
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.path("home").join(who))
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(self.dir())
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell command as somebody in the work clone, a minute after the last one by Git's dates.
    pub fn commit(&mut self, who: &str, script: &str) -> Result<String, Failure> {
        self.second += 60;
        self.sh(who, "fleet", script)
    }

    /// Runs a shell command as somebody in a folder, and returns what it prints.
    pub fn sh(&self, who: &str, folder: &str, script: &str) -> Result<String, Failure> {
        let date = format!("@{} +0000", FIRST_COMMIT + self.second);
        let mut command = self.command("sh", who);
        command.arg("-c").arg(script).current_dir(self.path(folder));
        // Commits are dated alike in every run, so that their ids are; a tag is dated now, since old approvals are stale.
        if !script.contains("git tag ") {
            command.env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        }
        let output = command.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(Failure::new(format!(
            "`{script}` failed ({}): {} {}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        )))
    }

    /// Reads the target, all but what is holdfast's own.
    pub fn target(&self) -> io::Result<Tree> {
        read(&self.path("srv"))
    }

    /// Reads one file of the target.
    pub fn live(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.path("srv").join(name)).map_err(|error| format!("srv/{name}: {error}"))
    }

    /// Reads what the work clone asks for.
    pub fn wanted(&self) -> io::Result<Tree> {
        read(&self.path("fleet/web"))
    }
}

/// Returns somebody's address, which is also their principal.
pub fn address(who: &str) -> String {
    format!("{who}@acme.example")
}

fn read(dir: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(".holdfast") {
            tree.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(tree)
}

/// Hashes a directory's names and contents, for people to compare.
pub fn digest(tree: &Tree) -> Digest {
    Digest::of_parts(tree.iter().flat_map(|(name, content)| [name.as_bytes(), content.as_slice()]))
}
