//! Runs the real binary.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{INTERVAL, Repo, Status, World};

/// What one command did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What was run.
    pub command: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Ran {
    /// Asserts an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "`{}` printed:\n{}{}", self.command, self.stdout, self.stderr);
        self
    }

    /// Asserts that it was done.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts that it was refused, whatever way.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(self.code.is_some_and(|code| code != 0), "`{}` was not refused:\n{}", self.command, self.stdout);
        self.calm()
    }

    /// Asserts that it neither panicked nor died.
    #[track_caller]
    pub fn calm(self) -> Self {
        let said = format!("`{}` ended with {:?}:\n{}{}", self.command, self.code, self.stdout, self.stderr);
        assert!(self.code.is_some_and(|code| code != 101), "{said}");
        assert!(!self.stderr.contains("panicked at"), "{said}");
        self
    }

    /// Asserts that the output, of either kind, has each of these phrases.
    #[track_caller]
    pub fn says(self, phrases: &[&str]) -> Self {
        for phrase in phrases {
            let found = self.stdout.contains(phrase) || self.stderr.contains(phrase);
            assert!(found, "`{}` does not say {phrase:?}:\n{}{}", self.command, self.stdout, self.stderr);
        }
        self
    }

    /// Returns the output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|error| panic!("`{}`: {error}:\n{}{}", self.command, self.stdout, self.stderr))
    }

    /// Returns how many durable steps the debug build counted.
    #[track_caller]
    pub fn steps(&self) -> usize {
        let count = self.stderr.lines().find_map(|line| line.strip_prefix("holdfast-test-steps: "));
        let count = count.unwrap_or_else(|| panic!("`{}` counted no steps:\n{}", self.command, self.stderr));
        count.trim().parse().expect("the steps are a number")
    }
}

impl World {
    /// Returns the configuration's file, written as it should be now.
    pub fn config_file(&self) -> PathBuf {
        let file = self.dir().join("holdfast.yaml");
        let text = self.raw.clone().unwrap_or_else(|| self.config.text());
        if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
            fs::write(&file, text).expect("the configuration is written");
        }
        file
    }

    /// Begins a command in the world's environment, without the configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_holdfast");
        let mut command = if self.powerless && rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.arg("--bounding-set=-dac_override,-dac_read_search").arg(binary);
            command
        } else if let Some(limit) = self.inotify {
            let script = format!("echo 0 > /proc/sys/user/max_inotify_{limit} || exit 99; exec \"$0\" \"$@\"");
            let mut command = Command::new("unshare");
            command.args(["-Ur", "sh", "-c", &script, binary]);
            command
        } else {
            Command::new(binary)
        };
        command
            .current_dir(self.dir())
            .env_clear()
            .envs(Repo::environment(self.dir()))
            .env("RUST_BACKTRACE", "1")
            .env("HOLDFAST_TEST_CLOCK", self.clock.file())
            .args(arguments);
        command
    }

    /// Runs a command exactly as given.
    #[track_caller]
    pub fn bare(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments), arguments)
    }

    /// Runs a command with the world's configuration.
    #[track_caller]
    pub fn holdfast(&self, arguments: &[&str]) -> Ran {
        let config = self.config_file();
        let mut command = self.command(arguments);
        command.arg("-c").arg(config);
        finish(command, arguments).calm()
    }

    /// Runs one cycle of each application, at the time that it is.
    #[track_caller]
    pub fn cycle(&self) -> Ran {
        self.holdfast(&["run", "--once"])
    }

    /// Steps to the next counted cycle and runs it.
    #[track_caller]
    pub fn counted_cycle(&self) -> Ran {
        self.clock.advance(INTERVAL);
        self.cycle()
    }

    /// Runs so many counted cycles.
    #[track_caller]
    pub fn counted_cycles(&self, number: usize) {
        for _ in 0..number {
            self.counted_cycle();
        }
    }

    /// Runs one cycle that kills itself at its `step`-th durable step; a step that it does not reach lets it end.
    #[track_caller]
    pub fn crash_at(&self, step: usize) -> Ran {
        let config = self.config_file();
        let arguments = ["run", "--once"];
        let mut command = self.command(&arguments);
        command.arg("-c").arg(config).env("HOLDFAST_TEST_CRASH", step.to_string());
        let ran = finish(command, &arguments);
        assert!(!ran.stderr.contains("panicked at"), "{}", ran.stderr);
        ran
    }

    /// Returns what `status` says of one application.
    #[track_caller]
    pub fn status(&self, app: &str) -> Status {
        Status::of(&self.holdfast(&["status", "--output", "json"]).ok().json(), app)
    }

    /// Returns what `status` prints for people.
    #[track_caller]
    pub fn status_text(&self) -> String {
        let text = self.holdfast(&["status"]).ok().stdout;
        assert!(!text.contains('\u{1b}'), "colour without a terminal:\n{text}");
        text
    }

    /// Returns what `plan` says of one application; nothing is written by it.
    #[track_caller]
    pub fn plan(&self, app: &str) -> Status {
        Status::of(&self.holdfast(&["plan", app, "--output", "json"]).ok().json(), app)
    }

    /// Runs counted cycles until the application holds exactly what the work clone's HEAD asks for, and says so.
    #[track_caller]
    pub fn converge(&self, app: &str) -> usize {
        let tip = self.repo.head();
        for cycles in 1..=60 {
            self.counted_cycle();
            let status = self.status(app);
            if status.converged() == Some(&tip) && self.tree(app) == self.wanted(app) {
                return cycles;
            }
        }
        self.fail(&format!("{app} did not converge to {tip}: {:#?}", self.missing_from(app)));
    }

    /// Takes what was pushed since a commit out of the history, where a revert would leave it, and converges to the rest.
    #[track_caller]
    pub fn converge_without(&self, accepted: &str) {
        self.repo.git(&["reset", "-q", "--hard", accepted]);
        self.repo.change("", 0..2, "omega");
        self.repo.commit("without it").by("alice");
        self.repo.force_push();
        self.converge("web");
        self.assert_converged("web");
    }

    /// Runs one command and returns how it ended, whatever that was.
    #[track_caller]
    pub fn approve(&self, app: &str, digest: &str) -> Ran {
        self.holdfast(&["approve", app, digest])
    }

    /// Returns all that there is to read: status in both forms, plan and history.
    #[track_caller]
    pub fn everything_said(&self, app: &str) -> String {
        [
            vec!["status"],
            vec!["status", "--output", "json"],
            vec!["history", app],
            vec!["history", app, "--output", "json"],
        ]
        .iter()
        .map(|arguments| self.holdfast(arguments).ok().stdout)
        .collect()
    }
}

#[track_caller]
fn finish(mut command: Command, arguments: &[&str]) -> Ran {
    let output = command.stdin(std::process::Stdio::null()).output().expect("the binary runs");
    Ran {
        command: format!("holdfast {}", arguments.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
