//! The real servers and tools of `tests/servers`: built once on a machine, and ended with the process that started them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Returns where a program is, built if it has not been on this machine.
pub fn program(name: &str) -> PathBuf {
    static KNOWN: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = known.get(name) {
        return path.clone();
    }
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/build");
    let built = Command::new(build).arg(name).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.expect("tests/servers/build runs");
    assert!(built.status.success(), "tests/servers/build {name} failed: see above");
    let path = PathBuf::from(String::from_utf8(built.stdout).expect("a path of ours is text").trim());
    known.insert(name.to_owned(), path.clone());
    path
}

/// One server to start: its name, its arguments and its environment.
pub struct Start {
    /// The program's name in `tests/servers`.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, besides `PATH`.
    pub environment: Vec<(&'static str, String)>,
}

/// Starts servers that live as long as this process, in a folder that receives their logs.
///
/// Each is killed when the thread that started it ends, however that comes about; that thread ends with the process.
pub fn start(dir: &Path, servers: Vec<Start>) {
    let programs: Vec<PathBuf> = servers.iter().map(|server| program(server.name)).collect();
    let dir = dir.to_owned();
    let (told, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (server, program) in servers.into_iter().zip(programs) {
            let log = fs::File::create(dir.join(format!("{}.log", server.name))).expect("the log is made");
            let child = Command::new("setpriv")
                .arg("--pdeathsig=KILL")
                .arg(program)
                .args(&server.arguments)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", &dir)
                .envs(server.environment)
                .current_dir(&dir)
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("the log is shared"))
                .stderr(log)
                .spawn();
            drop(child.unwrap_or_else(|error| panic!("{} starts: {error}", server.name)));
        }
        told.send(()).expect("who started them waits");
        loop {
            std::thread::park();
        }
    });
    started.recv().expect("the servers start");
}
