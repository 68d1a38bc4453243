//! The configuration that `holdfast init` writes: commented, observing, and valid as it stands.

use std::fmt::Write as _;
use std::path::Path;

use super::validated::Transport;

/// What a new configuration is about.
#[derive(Clone, Debug)]
pub struct Init<'a> {
    /// The application's name.
    pub name: &'a str,
    /// The repository.
    pub url: &'a str,
    /// The branch.
    pub branch: &'a str,
    /// The path below the repository's root; `.` is the root.
    pub path: &'a str,
    /// The directory that is kept in sync.
    pub root: &'a Path,
    /// OpenSSH's `allowed_signers`, if there is one.
    pub allowed_signers: Option<&'a Path>,
    /// OpenPGP certificates, if there are any.
    pub keyring: Option<&'a Path>,
    /// Where the ledger is kept.
    pub state_dir: &'a Path,
}

/// Returns a commented configuration in mode `observe`.
pub fn init_config(init: &Init<'_>) -> String {
    let Init { name, url, branch, path, root, allowed_signers: _, keyring: _, state_dir } = init;
    let (credentials, trust) = (credentials(url), trust(init));
    let (url, branch, path) = (quoted(url), quoted(branch), quoted(path));
    let (root, state_dir, name) = (quoted_path(root), quoted_path(state_dir), quoted(name));
    format!(
        r#"# holdfast: keeps {root} as {url} says, and refuses to amplify a bad commit.
# Every field is in docs/reference/configuration.md; `holdfast schema` prints it for editors, `holdfast doctor` checks this file.
apiVersion: holdfast.dev/v1alpha1
kind: Controller
metadata: {{ name: default }}
spec:
  # The ledger and the clones. Whoever can write here can approve and thaw. A file FREEZE in it stops all writing,
  # whatever else is down. Relative paths are relative to this file.
  stateDir: {state_dir}
  # Health, metrics, API and pages, for this machine alone.
  listen: 127.0.0.1:8686
---
apiVersion: holdfast.dev/v1alpha1
kind: Application
metadata: {{ name: {name} }}
spec:
  # `observe` fetches, verifies, compares and reports, and writes nothing. Look at `holdfast plan`; then write `converge`.
  mode: observe
  interval: 3m
  source:
    url: {url}
    branch: {branch}
    path: {path}
{credentials}  trust:
    # Every commit must be signed by somebody listed, or nothing of it is written. Keep the list outside the repository:
    # whoever can push must not be able to add themselves. OpenSSH's format, one line per key:
    #   alice@acme.example namespaces="git" ssh-ed25519 AAAA…
    verify: repository
{trust}    # Who may let a held plan go; never somebody who wrote a part of it.
    # approvers: [bob@acme.example]
  target:
    directory:
      root: {root}
      # Take files that nothing declares for drift: announced, and removed after the grace like any other drift.
      # exclusive: true
      # What is run after files were written:
      # reload: [ {{ match: "*.conf", run: [systemctl, reload, nginx], check: [nginx, -t] }} ]
  # What stops a bad commit. These are some of the defaults, to show where they are changed; `holdfast backtest` shows what
  # others would have done to past pushes.
  # guards:
  #   deleteHalt: {{ over: 5, percent: 10, atMost: 50 }}
  #   changeHalt: {{ over: 15, percent: 30 }}
  #   protected: [ "licenses/**" ]
  # How long an edit by hand is announced before it is put back:
  # drift: {{ grace: 30m }}
"#
    )
}

/// Shows how a repository that asks for something is reached.
fn credentials(url: &str) -> &'static str {
    match Transport::of(url) {
        Transport::Http => {
            "    # For a repository that is not public:\n    # credentials: { tokenFile: /etc/holdfast/token }\n"
        }
        Transport::Ssh => {
            "    # credentials: { sshKeyFile: /etc/holdfast/id_ed25519, knownHostsFile: /etc/holdfast/known_hosts }\n"
        }
        Transport::Local => "",
    }
}

fn trust(init: &Init<'_>) -> String {
    let mut trust = String::new();
    if let Some(file) = init.allowed_signers {
        let _ = writeln!(trust, "    ssh: {{ allowedSigners: {} }}", quoted_path(file));
    }
    if let Some(file) = init.keyring {
        let _ = writeln!(trust, "    openpgp: {{ keyring: {} }}", quoted_path(file));
    }
    if trust.is_empty() {
        trust.push_str(
            "    # Needed before it converges:\n    # ssh: { allowedSigners: /etc/holdfast/allowed_signers }\n",
        );
    }
    trust
}

/// Spells a value so that YAML reads back exactly it: JSON is YAML.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:+".contains(c);
    let safe = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.')
        && text.chars().all(plain)
        && !text.ends_with(':');
    // A word that YAML reads as something else than text, such as `true` or `.5`, is quoted as well.
    let read_as_text = || matches!(serde_yaml::from_str::<serde_yaml::Value>(text), Ok(serde_yaml::Value::String(read)) if read == text);
    if safe && read_as_text() { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::core::guards::Mode;

    fn init() -> Init<'static> {
        Init {
            name: "web",
            url: "https://git.example.com/acme/fleet.git",
            branch: "main",
            path: "hosts/web",
            root: Path::new("/etc/web"),
            allowed_signers: Some(Path::new("/etc/holdfast/allowed_signers")),
            keyring: None,
            state_dir: Path::new("/var/lib/holdfast"),
        }
    }

    #[test]
    fn what_is_written_is_valid_and_observes() {
        let text = init_config(&init());
        insta::assert_snapshot!(text);
        let config = load_text(Path::new("/etc/holdfast/holdfast.yaml"), &text).unwrap();
        let web = config.application("web").unwrap();
        assert_eq!(web.guards.mode, Mode::Observe);
        assert_eq!(web.trust.files.allowed_signers.as_deref(), init().allowed_signers);
    }

    #[test]
    fn every_kind_of_repository_is_read_back_and_shown_its_credentials() {
        for (url, shown) in [
            ("https://git.example.com/acme/fleet.git", "tokenFile"),
            ("http://127.0.0.1:3000/a.git", "tokenFile"),
            ("ssh://git@git.example.com/a.git", "sshKeyFile"),
            ("git@git.example.com:acme/fleet.git", "sshKeyFile"),
            ("/srv/fleet: #1.git", ""),
        ] {
            for (allowed_signers, keyring) in
                [(None, None), (init().allowed_signers, None), (None, Some(Path::new("/k.asc")))]
            {
                let text = init_config(&Init { url, allowed_signers, keyring, ..init() });
                let config = load_text(Path::new("/etc/holdfast/holdfast.yaml"), &text).expect(&text);
                let app = &config.applications[0];
                assert_eq!((app.source.url.as_str(), app.source.transport), (url, Transport::of(url)));
                assert_eq!(app.trust.files.keyring.as_deref(), keyring);
                assert!(text.contains(shown) && (!shown.is_empty() || !text.contains("credentials")), "{text}");
            }
        }
    }

    #[test]
    fn what_is_commented_out_is_accepted_too() {
        for url in ["https://git.example.com/a.git", "git@git.example.com:a.git"] {
            let text = init_config(&Init { url, allowed_signers: None, ..init() });
            let uncommented: Vec<String> = text.lines().map(uncomment).collect();
            let text = uncommented.join("\n");
            assert_eq!(
                text.lines().filter(|line| line.trim_start().starts_with("# ") && line.contains(": {")).count(),
                0
            );
            let config = load_text(Path::new("/etc/holdfast/holdfast.yaml"), &text).expect(&text);
            let app = &config.applications[0];
            assert!(app.trust.files.allowed_signers.is_some() && !app.trust.policy.approvers.is_empty());
            assert_ne!(app.source.credentials, crate::config::Credentials::None);
            assert!(
                matches!(&app.target, crate::config::Target::Directory(target) if target.exclusive && target.reload.len() == 1)
            );
        }
    }

    /// Takes the mark from a line that is YAML behind it.
    fn uncomment(line: &str) -> String {
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(rest) = line.trim_start().strip_prefix("# ") else { return line.to_owned() };
        let key = rest.trim_start().split_once(": ").map_or_else(|| rest.trim_end_matches(':').trim(), |(key, _)| key);
        let known = ["credentials", "ssh", "approvers", "exclusive", "reload", "guards", "deleteHalt", "changeHalt"];
        let known = known.contains(&key.trim()) || ["protected", "drift"].contains(&key.trim());
        if known { format!("{indent}{rest}") } else { line.to_owned() }
    }

    #[test]
    fn odd_values_are_read_back_as_they_were() {
        for odd in ["with space", "#hash", "a: b", "true", "\"quote\"", "'", "null", "1e3", "ünïcode"] {
            let root = Path::new("/srv").join(odd);
            let odd_init = Init { branch: "b", path: odd, root: &root, allowed_signers: None, ..init() };
            let config = load_text(Path::new("/etc/holdfast/holdfast.yaml"), &init_config(&odd_init))
                .unwrap_or_else(|e| panic!("{e}"));
            let web = &config.applications[0];
            assert_eq!((web.source.path.as_str(), web.target.root()), (odd, Some(root.as_path())));
        }
    }

    #[test]
    fn the_guards_it_shows_are_the_defaults() {
        let table = crate::config::guard_table_markdown();
        for (name, value) in
            [("deleteHalt", "{over: 5, percent: 10, atMost: 50}"), ("changeHalt", "{over: 15, percent: 30}")]
        {
            assert!(table.contains(&format!("`guards.{name}` | `{value}`")));
            assert!(init_config(&init()).contains(&format!("{name}: {}", value.replace('{', "{ ").replace('}', " }"))));
        }
    }
}
