//! A repository with signed commits, a directory, a configuration, and the program that is measured.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Everything of one measurement, in a folder that goes away with it.
pub struct World {
    dir: tempfile::TempDir,
}

/// A controller under way.
pub struct Running(Child);

impl World {
    /// Makes an origin, a clone and a key.
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a folder is made") };
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "a@example.org", "-f"])
            .arg(world.path("key")));
        let public = fs::read_to_string(world.path("key.pub")).expect("the key is readable");
        fs::write(world.path("signers"), format!("a@example.org namespaces=\"git\" {public}"))
            .expect("signers are written");
        fs::create_dir(world.path("root")).expect("the root is made");
        world.git_at(&world.path(""), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        world.git_at(&world.path(""), &["init", "-q", "-b", "main", "work"]);
        world.git(&["remote", "add", "origin", &world.origin().to_string_lossy()]);
        world
    }

    /// Returns a path in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the bare repository.
    pub fn origin(&self) -> PathBuf {
        self.path("origin.git")
    }

    /// Runs git somewhere, without the machine's own configuration.
    pub fn git_at(&self, at: &Path, arguments: &[&str]) -> String {
        let key = format!("user.signingKey={}", self.path("key").display());
        let signers = format!("gpg.ssh.allowedSignersFile={}", self.path("signers").display());
        let settings = ["gpg.format=ssh", &key, &signers, "user.name=a", "user.email=a@example.org", "gc.auto=0"];
        let options = settings.iter().flat_map(|setting| ["-c", setting]);
        let mut command = Command::new("git");
        command.current_dir(at).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        run(command.args(options).args(arguments))
    }

    /// Runs git in the clone.
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_at(&self.path("work"), arguments)
    }

    fn file(number: usize) -> String {
        format!("files/{:03}/{number:06}.conf", number / 1_000)
    }

    /// Writes so many files.
    pub fn fill(&self, files: usize) {
        for number in 0..files {
            self.change(number, "first");
        }
    }

    /// Changes one file.
    pub fn change(&self, number: usize, value: &str) {
        let path = self.path("work").join(Self::file(number));
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder is made");
        let mut text = format!("# file {number}\n");
        for line in 0..20 {
            let _ = writeln!(text, "setting-{line} = {value}");
        }
        fs::write(path, text).expect("the file is written");
    }

    /// Commits everything.
    pub fn commit(&self, message: &str, signed: bool) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", if signed { "-S" } else { "--no-gpg-sign" }, "-m", message]);
    }

    /// Pushes the branch.
    pub fn push(&self) {
        self.git(&["push", "-q", "origin", "main"]);
    }

    /// Returns the commit at the tip.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Puts all files where the controller would.
    pub fn copy_to_root(&self) {
        let prefix = format!("--prefix={}/", self.path("root").display());
        self.git(&["checkout-index", "-a", &prefix]);
        let root = self.path("root");
        run(Command::new("sh").current_dir(&root).args(["-c", "mv files/* . && rmdir files"]));
    }

    /// Counts the files below a folder, without the controller's own.
    pub fn count(&self, name: &str) -> usize {
        let found = run(Command::new("find").arg(self.path(name)).args(["-type", "f", "-not", "-name", ".holdfast*"]));
        found.lines().count()
    }

    /// Writes a configuration, and returns its path.
    pub fn configure(&self, mode: &str, interval: &str, guards: &[&str]) -> PathBuf {
        let dir = self.dir.path().display();
        let guards: String = guards.iter().map(|line| format!("    {line}\n")).collect();
        let guards = if guards.is_empty() { String::new() } else { format!("  guards:\n{guards}") };
        let text = format!(
            "apiVersion: holdfast.dev/v1alpha1\nkind: Controller\nmetadata: {{ name: default }}\nspec:\n  stateDir: {dir}/state\n---\n\
             apiVersion: holdfast.dev/v1alpha1\nkind: Application\nmetadata: {{ name: web }}\nspec:\n  mode: {mode}\n  \
             interval: {interval}\n  source:\n    url: {dir}/origin.git\n    branch: main\n    path: files\n  trust:\n    \
             ssh: {{ allowedSigners: {dir}/signers }}\n  target:\n    directory: {{ root: {dir}/root }}\n{guards}"
        );
        let path = self.path("holdfast.yaml");
        fs::write(&path, text).expect("the configuration is written");
        path
    }

    /// Writes a configuration of a namespace of a cluster as the target, and returns its path.
    pub fn configure_cluster(&self, namespace: &str, interval: &str, listen: u16, guards: &[&str]) -> PathBuf {
        let config = self.configure("converge", interval, guards);
        let dir = self.dir.path().display();
        let text = fs::read_to_string(&config).expect("it was written");
        let text = text
            .replace(
                &format!("directory: {{ root: {dir}/root }}"),
                &format!("kubernetes: {{ kubeconfig: {dir}/kubeconfig, namespace: {namespace} }}"),
            )
            .replace("  stateDir:", &format!("  listen: 127.0.0.1:{listen}\n  stateDir:"));
        fs::write(&config, text).expect("the configuration is written");
        config
    }

    /// Runs holdfast with a configuration.
    pub fn holdfast(&self, config: &Path, arguments: &[&str]) -> String {
        let config = config.to_string_lossy().into_owned();
        self.run_holdfast(&[&["-c", &config], arguments].concat())
    }

    /// Runs holdfast.
    pub fn run_holdfast(&self, arguments: &[&str]) -> String {
        run(Command::new(env!("CARGO_BIN_EXE_holdfast")).current_dir(self.dir.path()).args(arguments))
    }

    /// Starts the controller.
    pub fn start(&self, config: &Path) -> Running {
        let log = fs::File::create(self.path("log")).expect("the log is made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("-c").arg(config).arg("run").stdout(Stdio::null()).stderr(log);
        Running(command.spawn().expect("holdfast starts"))
    }

    /// Returns when the last cycle started, its seconds and the inventory, if there was one.
    pub fn last_cycle(&self, config: &Path) -> Option<(String, f64, u64)> {
        let status: serde_json::Value = serde_json::from_str(&self.holdfast(config, &["status", "-o", "json"])).ok()?;
        let app = &status["applications"][0];
        let cycle = &app["lastCycle"];
        Some((cycle["started"].as_str()?.to_owned(), cycle["seconds"].as_f64()?, app["inventory"].as_u64()?))
    }
}

impl Running {
    /// Returns the peak and the present memory, in MB.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default()
        };
        (kib("VmHWM:") / 1024, kib("VmRSS:") / 1024)
    }

    /// Returns the peak of memory so far in MB, and forgets it.
    pub fn forget_peak(&self) -> u64 {
        let (peak, _) = self.memory();
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5");
        peak
    }

    /// Ends the controller.
    pub fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
