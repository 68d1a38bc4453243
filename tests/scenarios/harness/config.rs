//! Writes configuration files as a person would.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Everything that the configuration file of a world says.
#[derive(Clone)]
pub struct Config {
    /// Where the controller keeps its state.
    pub state: PathBuf,
    /// The port of whoever is told of everything.
    told: u16,
    /// Further lines of the Controller's `spec`.
    pub controller: Vec<String>,
    /// The applications, in order.
    pub apps: Vec<App>,
}

/// One application. Guards keep their defaults unless a scenario sets them.
#[derive(Clone)]
pub struct App {
    /// Its name.
    pub name: String,
    /// `observe` or `converge`.
    pub mode: String,
    /// Its counted cycle, if not the default.
    pub interval: Option<String>,
    /// Where its repository is.
    pub url: String,
    /// The branch that it tracks.
    pub branch: String,
    /// The path below which its files are.
    pub path: String,
    /// Further lines of `source`.
    pub source: Vec<String>,
    /// What follows `allowedSigners` inside `ssh: {…}`.
    pub ssh: Vec<String>,
    /// The file of allowed signers; none for OpenPGP alone.
    pub allowed_signers: Option<PathBuf>,
    /// Lines of `trust`, after `ssh`.
    pub trust: Vec<String>,
    /// The root of its directory.
    pub root: PathBuf,
    /// What `target.exec` says, where it is a program rather than a directory.
    pub exec: Option<String>,
    /// What `target.kubernetes` says, where it is a cluster.
    pub kubernetes: Option<String>,
    /// Further lines of `target.directory`.
    pub directory: Vec<String>,
    /// Lines of `guards`.
    pub guards: Vec<String>,
    /// Lines of `drift`.
    pub drift: Vec<String>,
}

/// Sets the line of a key, replacing the one that was there.
fn set(lines: &mut Vec<String>, line: &str) {
    let key = line.split(':').next().unwrap_or(line);
    lines.retain(|old| old.split(':').next() != Some(key));
    lines.push(line.to_owned());
}

impl App {
    /// Sets the path in the repository.
    pub fn path(&mut self, path: &str) -> &mut Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Sets the mode.
    pub fn mode(&mut self, mode: &str) -> &mut Self {
        mode.clone_into(&mut self.mode);
        self
    }

    /// Sets one guard, such as `deleteHalt: 0`.
    pub fn guard(&mut self, line: &str) -> &mut Self {
        set(&mut self.guards, line);
        self
    }

    /// Sets one line of `drift`.
    pub fn drift(&mut self, line: &str) -> &mut Self {
        set(&mut self.drift, line);
        self
    }

    /// Sets one line of `trust`.
    pub fn trust(&mut self, line: &str) -> &mut Self {
        set(&mut self.trust, line);
        self
    }

    /// Sets one line of `target.directory`.
    pub fn directory(&mut self, line: &str) -> &mut Self {
        set(&mut self.directory, line);
        self
    }

    /// Sets the counted cycle.
    pub fn interval(&mut self, interval: &str) -> &mut Self {
        self.interval = Some(interval.to_owned());
        self
    }

    fn write(&self, text: &mut String) {
        let mut line = |text_line: &str| {
            text.push_str(text_line);
            text.push('\n');
        };
        line("---");
        line("apiVersion: holdfast.dev/v1alpha1");
        line("kind: Application");
        line(&format!("metadata: {{ name: {} }}", self.name));
        line("spec:");
        line(&format!("  mode: {}", self.mode));
        if let Some(interval) = &self.interval {
            line(&format!("  interval: {interval}"));
        }
        line("  source:");
        line(&format!("    url: {:?}", self.url));
        line(&format!("    branch: {}", self.branch));
        line(&format!("    path: {:?}", self.path));
        self.source.iter().for_each(|extra| line(&format!("    {extra}")));
        line("  trust:");
        if let Some(file) = &self.allowed_signers {
            let mut ssh = vec![format!("allowedSigners: {file:?}")];
            ssh.extend(self.ssh.iter().cloned());
            line(&format!("    ssh: {{ {} }}", ssh.join(", ")));
        }
        self.trust.iter().for_each(|extra| line(&format!("    {extra}")));
        line("  target:");
        if let Some(exec) = &self.exec {
            line(&format!("    exec: {exec}"));
        } else if let Some(cluster) = &self.kubernetes {
            line(&format!("    kubernetes: {cluster}"));
        } else {
            line("    directory:");
            line(&format!("      root: {:?}", self.root));
            self.directory.iter().for_each(|extra| line(&format!("      {extra}")));
        }
        for (section, lines) in [("guards", &self.guards), ("drift", &self.drift)] {
            if !lines.is_empty() {
                line(&format!("  {section}:"));
                lines.iter().for_each(|extra| line(&format!("    {extra}")));
            }
        }
    }
}

impl Config {
    /// Starts without applications.
    pub fn new(dir: &Path, told: u16) -> Self {
        Self { state: dir.join("state"), told, controller: Vec::new(), apps: Vec::new() }
    }

    /// Returns the application of that name.
    #[track_caller]
    pub fn app(&mut self, name: &str) -> &mut App {
        self.apps.iter_mut().find(|app| app.name == name).unwrap_or_else(|| panic!("there is no application {name}"))
    }

    /// Tells whether the world's own receiver is told, rather than one of the scenario's.
    pub fn tells_the_world(&self) -> bool {
        !self.controller.iter().any(|line| line.starts_with("notify:"))
    }

    /// Returns the text of the file.
    pub fn text(&self) -> String {
        let mut text =
            String::from("apiVersion: holdfast.dev/v1alpha1\nkind: Controller\nmetadata: { name: default }\n");
        let _ = write!(text, "spec:\n  stateDir: {:?}\n", self.state);
        if self.tells_the_world() {
            let webhook = format!("{{ url: \"http://127.0.0.1:{}/told\" }}", self.told);
            let _ = writeln!(text, "  notify: [ {{ webhook: {webhook}, on: [halt, freeze, failing] }} ]");
        }
        for line in &self.controller {
            let _ = writeln!(text, "  {line}");
        }
        for app in &self.apps {
            app.write(&mut text);
        }
        text
    }
}
