//! `init`: writes a first configuration, which only observes, for a repository and a directory.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::args::{self, Cli, Output};
use super::{Done, ERROR, Failure, USAGE, print_json};
use crate::config::{self, Config, ConfigErrors, Transport};

/// `init`
pub(super) fn init(cli: &Cli, args: &args::Init) -> Done {
    let text = configuration(args)?;
    let print = args.to == Path::new("-");
    let shown = if print { Path::new("holdfast.yaml") } else { &args.to };
    let config = config::load_text(shown, &text).map_err(|errors| refused(&errors))?;
    let notes = notes(args, &config);
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

/// Returns the configuration's text.
fn configuration(args: &args::Init) -> Result<String, Failure> {
    let args::Init { repo, branch, path, root, allowed_signers, keyring, name, to: _ } = args;
    let local = Transport::of(repo) == Transport::Local && !repo.contains("://") && !repo.is_empty();
    let repo = if local { absolute(Path::new(repo))? } else { repo.into() };
    let url = repo.to_str().ok_or_else(|| not_text(&repo))?;
    let root = absolute(root)?;
    let allowed_signers = allowed_signers.as_deref().map(absolute).transpose()?;
    let keyring = keyring.as_deref().map(absolute).transpose()?;
    Ok(config::init_config(&config::Init {
        name,
        url,
        branch,
        path,
        root: &root,
        allowed_signers: allowed_signers.as_deref(),
        keyring: keyring.as_deref(),
        state_dir: Path::new("./.holdfast-state"),
    }))
}

/// Spells a path from the root: the file may be moved.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::usage("a path is empty"));
    }
    let path = std::path::absolute(path)?;
    if path.to_str().is_none() {
        return Err(not_text(&path));
    }
    Ok(path)
}

fn not_text(path: &Path) -> Failure {
    Failure::usage(format!("{path:?} is not UTF-8, and cannot be written in YAML"))
}

/// Says which of the given values cannot be used: whoever gave them never saw a file.
fn refused(errors: &ConfigErrors) -> Failure {
    let say = |error: &config::ConfigError| {
        let hint = if error.hint.is_empty() { String::new() } else { format!("\n    {}", error.hint) };
        format!("{} {}{hint}", error.field, error.what)
    };
    let message = errors.0.iter().map(say).collect::<Vec<_>>().join("\n  ");
    Failure { code: USAGE, message, hint: Some("nothing was written; give other values".to_owned()) }
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

/// Says what is not as it must be before the controller can work.
fn notes(args: &args::Init, config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    match std::fs::metadata(&args.root) {
        Ok(found) if !found.is_dir() => notes.push(format!("{} is no directory", args.root.display())),
        Ok(_) => {}
        Err(_) => notes.push(format!("{} does not exist yet; holdfast never makes it", args.root.display())),
    }
    let mut files = [&args.allowed_signers, &args.keyring].into_iter().flatten().peekable();
    if files.peek().is_none() {
        notes.push("nobody may sign yet: write trust.ssh.allowedSigners, as the file shows".to_owned());
    }
    for file in files.filter(|file| !file.exists()) {
        notes.push(format!("{} does not exist yet", file.display()));
    }
    for app in config.applications.iter().filter(|app| app.source.transport == Transport::Local) {
        if !Path::new(&app.source.url).exists() {
            notes.push(format!("{} does not exist yet", app.source.url));
        }
    }
    notes
}

fn next(args: &args::Init, path: &Path) -> Vec<(String, &'static str)> {
    let config = if path == Path::new("holdfast.yaml") { String::new() } else { format!(" -c {}", path.display()) };
    let mut next = vec![
        (format!("holdfast doctor{config}"), "can everything be reached, read and trusted?"),
        (format!("holdfast plan{config}"), "what would be done"),
        (format!("holdfast run{config}"), "the controller; it only observes, until the file says otherwise"),
    ];
    if args.allowed_signers.is_none() && args.keyring.is_none() {
        next.insert(0, (format!("$EDITOR {}", path.display()), "say who may sign"));
    }
    next
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
            keyring: None,
            name: "web".to_owned(),
            to: "holdfast.yaml".into(),
        }
    }

    #[test]
    fn whatever_is_written_means_what_was_given() {
        let here = std::env::current_dir().unwrap();
        for (repo, url) in [
            ("https://git.example.com/acme/fleet.git", "https://git.example.com/acme/fleet.git".to_owned()),
            ("git@git.example.com:acme/fleet.git", "git@git.example.com:acme/fleet.git".to_owned()),
            ("./fleet: #1.git", here.join("fleet: #1.git").display().to_string()),
            ("file:///srv/fleet.git", "/srv/fleet.git".to_owned()),
        ] {
            let given = args::Init { allowed_signers: Some(PathBuf::from("keys/allowed")), ..args(repo) };
            let text = configuration(&given).expect("the configuration is spelled");
            let config = config::load_text(Path::new("/etc/holdfast/holdfast.yaml"), &text).expect(&text);
            let app = &config.applications[0];
            assert_eq!(app.source.url, url);
            assert_eq!((&*app.source.branch, &*app.source.path, &*app.name), ("main", "hosts/web", "web"));
            assert_eq!(app.target.root(), Some(&*here.join("srv/my files")));
            assert_eq!(app.trust.files.allowed_signers, Some(here.join("keys/allowed")));
        }
    }

    #[test]
    fn values_that_cannot_be_used_are_wrong_usage() {
        for wrong in [args(""), args("ftp://x/y"), args::Init { name: "No Label".to_owned(), ..args("/r") }] {
            let failure = configuration(&wrong)
                .and_then(|text| config::load_text(Path::new("f"), &text).map_err(|errors| refused(&errors)))
                .unwrap_err();
            assert_eq!(failure.code, USAGE, "{failure:?}");
        }
    }
}
