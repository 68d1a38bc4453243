//! `init`: a first configuration, which only observes, for a repository and a directory.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::args::{self, Cli, Output};
use super::{Done, ERROR, Failure, USAGE, print_json};
use crate::config;

/// `init`
pub(super) fn init(cli: &Cli, args: &args::Init) -> Done {
    let text = configuration(args)?;
    let print = args.to == Path::new("-");
    let shown = if print { Path::new("holdfast.yaml") } else { &args.to };
    if let Err(errors) = config::load_text(shown, &text) {
        let errors: Vec<String> = errors
            .0
            .iter()
            .map(|error| {
                let hint = if error.hint.is_empty() { String::new() } else { format!("\n    {}", error.hint) };
                format!("{} {}{hint}", error.field, error.what)
            })
            .collect();
        let hint = Some("nothing was written; give other values".to_owned());
        return Err(Failure { code: USAGE, message: errors.join("\n  "), hint });
    }
    let notes = notes(args)?;
    if print {
        print!("{text}");
        notes.iter().for_each(|note| eprintln!("note: {note}"));
        return Ok(ExitCode::SUCCESS);
    }
    write(&args.to, &text)?;
    let next = next(args, &args.to);
    if cli.output == Output::Json {
        let next: Vec<&str> = next.iter().map(|(command, _)| command.as_str()).collect();
        return print_json(&json!({ "wrote": std::path::absolute(&args.to)?, "notes": notes, "next": next }));
    }
    println!("wrote {}: {} observes, and writes nothing until it says `mode: converge`", args.to.display(), args.name);
    notes.iter().for_each(|note| println!("  note: {note}"));
    println!("next:");
    for (command, what) in &next {
        println!("  {command:<28} {what}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that does not exist yet.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let shown = path.display();
        let failure =
            |hint: String| Failure { code: ERROR, message: format!("write {shown}: {error}"), hint: Some(hint) };
        match error.kind() {
            ErrorKind::AlreadyExists => Failure::new(format!("{shown} exists, and is left as it is")).hint(format!(
                "write another file with `--to FILE`, print with `--to -`, or move it away: mv {shown} {shown}.old"
            )),
            ErrorKind::NotFound => failure("make the folder first, or write elsewhere with `--to FILE`".to_owned()),
            _ => failure("write elsewhere with `--to FILE`, or print with `--to -`".to_owned()),
        }
    };
    let mut file = std::fs::File::options().write(true).create_new(true).open(path).map_err(failed)?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a configuration would be refused next time, and by then nobody knows why.
        let _ = std::fs::remove_file(path);
        return Err(failed(error));
    }
    Ok(())
}

/// What is not as it must be before the controller can work.
fn notes(args: &args::Init) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    match std::fs::metadata(&args.root) {
        Ok(found) if !found.is_dir() => notes.push(format!("{} is no directory", args.root.display())),
        Ok(_) => {}
        Err(_) => notes.push(format!("{} does not exist yet; holdfast never makes it", args.root.display())),
    }
    match &args.allowed_signers {
        None => notes.push("nobody may sign yet: write trust.ssh.allowedSigners, as the file shows".to_owned()),
        Some(file) if !file.exists() => notes.push(format!("{} does not exist yet", file.display())),
        Some(_) => {}
    }
    if let Some(path) = local(&args.repo).filter(|path| !path.exists()) {
        notes.push(format!("{} does not exist yet", path.display()));
    }
    Ok(notes)
}

fn next(args: &args::Init, path: &Path) -> Vec<(String, &'static str)> {
    let config = if path == Path::new("holdfast.yaml") { String::new() } else { format!(" -c {}", path.display()) };
    let mut next = vec![
        (format!("holdfast doctor{config}"), "can everything be reached, read and trusted?"),
        (format!("holdfast plan{config}"), "what would be done"),
        (format!("holdfast run{config}"), "the controller; it only observes, until the file says otherwise"),
    ];
    if args.allowed_signers.is_none() {
        next.insert(0, (format!("$EDITOR {}", path.display()), "say who may sign"));
    }
    next
}

/// Returns the path that a repository is, if it is one.
fn local(repo: &str) -> Option<PathBuf> {
    if let Some(path) = repo.strip_prefix("file://") {
        return Some(path.into());
    }
    // As Git has it: a colon before the first slash makes it a host.
    let host = repo.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    (!repo.is_empty() && !repo.contains("://") && !host).then(|| repo.into())
}

/// Spells a value so that YAML takes it for the text it is.
fn yaml(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._@:-+".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !text.ends_with(':')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&&*text.to_ascii_lowercase());
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Spells a path from the root: the file may be moved.
fn path(path: &Path) -> Result<String, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::usage("a path is empty"));
    }
    let text = std::path::absolute(path)?.into_os_string().into_string();
    text.map(|text| yaml(&text))
        .map_err(|path| Failure::usage(format!("{path:?} is not UTF-8, and cannot be written in YAML")))
}

/// Returns the configuration's text.
fn configuration(args: &args::Init) -> Result<String, Failure> {
    let args::Init { repo, branch, path: below, root, allowed_signers, name, to: _ } = args;
    let url = match local(repo) {
        Some(_) if repo.starts_with("file://") => yaml(repo),
        Some(at) => path(&at)?,
        None => yaml(repo),
    };
    let mut text = String::from(
        "\
# What holdfast keeps in sync, and what stops it. A mistake here is refused with its line: holdfast doctor
# Every field is in docs/reference/configuration.md; `holdfast schema` prints it for editors.
apiVersion: holdfast.dev/v1alpha1
kind: Controller
metadata: { name: default }
spec:
  # The ledger, the clones, and a file FREEZE of last resort. Whoever can write here can approve and thaw.
  # Relative paths are relative to this file.
  stateDir: ./.holdfast-state
  # Health, metrics, the API, webhooks and pages:
  # listen: 127.0.0.1:8686
---
apiVersion: holdfast.dev/v1alpha1
kind: Application
",
    );
    let _ = writeln!(text, "metadata: {{ name: {} }}", yaml(name));
    text.push_str(
        "\
spec:
  # observe: fetches, verifies, compares and reports, and writes nothing. When its plans are what you expect: converge
  mode: observe
  interval: 3m
  source:
",
    );
    let _ = write!(text, "    url: {url}\n    branch: {}\n    path: {}\n", yaml(branch), yaml(below));
    text.push_str(credentials(repo));
    text.push_str(&trust(allowed_signers.as_deref())?);
    let _ = write!(text, "  target:\n    directory:\n      root: {}\n", path(root)?);
    text.push_str(
        "\
      # exclusive: true     # report files that nothing declares as drift
      # reload: [ { match: \"*.conf\", run: [systemctl, reload, nginx], check: [nginx, -t] } ]
  # What halts a plan before its first write. These are the defaults; the rest is in docs/guards.md
  # guards:
  #   deleteHalt: { over: 5, percent: 10, atMost: 50 }
  #   changeHalt: { over: 15, percent: 30 }
  #   protected: [ \"sudoers*\" ]     # never deleted without an approval of its own
  # drift:
  #   grace: 30m            # how long an edit by hand is announced before it is put back
",
    );
    Ok(text)
}

fn credentials(repo: &str) -> &'static str {
    if repo.starts_with("https://") || repo.starts_with("http://") {
        "    # credentials: { tokenFile: /etc/holdfast/token }     # for a repository that is not public\n"
    } else if local(repo).is_none() {
        "    # credentials: { sshKeyFile: /etc/holdfast/id_ed25519, knownHostsFile: /etc/holdfast/known_hosts }\n"
    } else {
        ""
    }
}

fn trust(allowed_signers: Option<&Path>) -> Result<String, Failure> {
    let mut text = String::from(
        "\
  trust:
    # Every commit since the last one that was verified must be signed by somebody of this file.
    # OpenSSH's allowed_signers, one line per key:   alice@acme.example namespaces=\"git\" ssh-ed25519 AAAA…
    # Keep it outside the repository: whoever can push must not be able to add themselves.
    verify: repository
",
    );
    match allowed_signers {
        Some(file) => {
            let _ = writeln!(text, "    ssh: {{ allowedSigners: {} }}", path(file)?);
        }
        None => text.push_str(
            "    # ssh: { allowedSigners: /etc/holdfast/allowed_signers }     # needed before it converges\n",
        ),
    }
    text.push_str("    # approvers: [bob@acme.example]     # who may let a held plan go that others wrote\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(repo: &str) -> args::Init {
        args::Init {
            repo: repo.to_owned(),
            branch: "main".to_owned(),
            path: "hosts/web".to_owned(),
            root: "srv/my files".into(),
            allowed_signers: None,
            name: "web".to_owned(),
            to: "holdfast.yaml".into(),
        }
    }

    #[test]
    fn whatever_is_written_is_accepted_and_means_what_was_given() {
        let here = std::env::current_dir().unwrap();
        for (repo, url) in [
            ("https://git.example.com/acme/fleet.git", "https://git.example.com/acme/fleet.git".to_owned()),
            ("git@git.example.com:acme/fleet.git", "git@git.example.com:acme/fleet.git".to_owned()),
            ("./fleet: #1.git", here.join("fleet: #1.git").display().to_string()),
            ("file:///srv/fleet.git", "/srv/fleet.git".to_owned()),
        ] {
            for signers in [None, Some(PathBuf::from("keys/allowed"))] {
                let given = args::Init { allowed_signers: signers.clone(), ..args(repo) };
                let text = configuration(&given).expect("the configuration is spelled");
                let config = config::load_text(Path::new("/etc/holdfast/holdfast.yaml"), &text).expect(&text);
                let app = &config.applications[0];
                assert_eq!(app.source.url, url);
                assert_eq!((&*app.source.branch, &*app.source.path, &*app.name), ("main", "hosts/web", "web"));
                assert_eq!(app.guards.mode, crate::core::guards::Mode::Observe);
                assert_eq!(app.target.root(), Some(&*here.join("srv/my files")));
                assert_eq!(app.trust.files.allowed_signers, signers.map(|file| here.join(file)));
            }
        }
    }

    #[test]
    fn what_is_commented_out_is_accepted_too() {
        for repo in ["https://git.example.com/a.git", "git@git.example.com:a.git"] {
            let text = configuration(&args(repo)).expect("the configuration is spelled");
            let uncommented: Vec<String> = text.lines().map(uncomment).collect();
            assert_ne!(uncommented.join("\n"), text.trim_end());
            config::load_text(Path::new("/etc/holdfast/holdfast.yaml"), &uncommented.join("\n")).expect(&text);
        }
    }

    /// Takes the mark from a line that is YAML behind it.
    fn uncomment(line: &str) -> String {
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(rest) = line.trim_start().strip_prefix("# ") else { return line.to_owned() };
        let key = rest.trim_start().split_once(':').map(|(key, _)| key).unwrap_or_default();
        let known = ["listen", "credentials", "ssh", "approvers", "exclusive", "reload", "guards", "deleteHalt"];
        let known = known.contains(&key) || ["changeHalt", "protected", "drift", "grace"].contains(&key);
        if known { format!("{indent}{rest}") } else { line.to_owned() }
    }

    #[test]
    fn text_that_yaml_would_take_for_something_else_is_quoted() {
        for (text, spelled) in [
            ("main", "main"),
            ("release/1.2", "release/1.2"),
            ("/srv/a-b", "/srv/a-b"),
            ("true", "\"true\""),
            ("1.5", "\"1.5\""),
            (".", "\".\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("quo\"te", "\"quo\\\"te\""),
        ] {
            assert_eq!(yaml(text), spelled);
        }
    }
}
