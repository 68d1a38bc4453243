//! The configuration that `holdfast init` writes: commented, observing, and valid as it stands.

use std::fmt::Write as _;
use std::path::Path;

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
    let Init { name, url, branch, path, root, allowed_signers, keyring, state_dir } = init;
    let (url, branch, path) = (quoted(url), quoted(branch), quoted(path));
    let (root, state_dir, name) = (quoted_path(root), quoted_path(state_dir), quoted(name));
    let mut trust = String::new();
    if let Some(file) = allowed_signers {
        let _ = writeln!(trust, "    ssh: {{ allowedSigners: {} }}", quoted_path(file));
    }
    if let Some(file) = keyring {
        let _ = writeln!(trust, "    openpgp: {{ keyring: {} }}", quoted_path(file));
    }
    if trust.is_empty() {
        trust.push_str("    # Write one line per person, `alice@acme.example ssh-ed25519 AAAA…`, into that file; then take the `#` out.\n    # ssh: { allowedSigners: ./allowed_signers }\n    verify: repository\n");
    }
    format!(
        r#"# holdfast: keeps {root} as {url} says, and refuses to amplify a bad commit.
# Every field is in docs/reference/configuration.md; `holdfast doctor` checks this file.
apiVersion: holdfast.dev/v1alpha1
kind: Controller
metadata: {{ name: default }}
spec:
  # The ledger and the clones. A file FREEZE in it stops all writing, whatever else is down.
  stateDir: {state_dir}
  # Health, metrics, API and pages, for this machine alone.
  listen: 127.0.0.1:8686
---
apiVersion: holdfast.dev/v1alpha1
kind: Application
metadata: {{ name: {name} }}
spec:
  # `observe` reports and writes nothing. Look at `holdfast plan` first; then write `converge`.
  mode: observe
  interval: 3m
  source:
    url: {url}
    branch: {branch}
    path: {path}
    # credentials: {{ tokenFile: /etc/holdfast/token }}
  trust:
    # Every commit must be signed by somebody listed here, or nothing of it is written.
{trust}    # Who may let a held plan go; never somebody who wrote a part of it.
    # approvers: [bob@acme.example]
  target:
    directory:
      root: {root}
      # What is run after files were written:
      # reload: [ {{ match: "*.conf", run: [systemctl, reload, nginx], check: [nginx, -t] }} ]
  # What stops a bad commit. These are some of the defaults, to show where they are changed:
  # guards:
  #   deleteHalt: {{ over: 5, percent: 10, atMost: 50 }}
  #   changeHalt: {{ over: 15, percent: 30 }}
  #   protected: [ "licenses/**" ]
"#
    )
}

/// Spells a value so that YAML reads back exactly it: JSON is YAML.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@".contains(c);
    let safe = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.') && text.chars().all(plain);
    // A word that YAML reads as something else than text, such as `true` or `.5`, is quoted as well.
    let read_as_text = || matches!(serde_yaml::from_str::<serde_yaml::Value>(text), Ok(serde_yaml::Value::String(_)));
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
