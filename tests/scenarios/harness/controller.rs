//! A controller that keeps running beside the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Status, World};

/// How long anything may take before the test fails; never reached when all is well.
const DEADLINE: Duration = Duration::from_secs(240);

/// A running controller. It is killed when the guard goes out of scope.
pub struct Controller<'a> {
    world: &'a World,
    child: Child,
    log: PathBuf,
}

impl World {
    /// Starts `holdfast run`.
    pub fn controller(&self) -> Controller<'_> {
        self.start(&self.config_file(), "controller.log", None)
    }

    /// Starts another `holdfast run`, with a configuration of its own in the file of this name.
    pub fn controller_with(&self, name: &str, text: &str) -> Controller<'_> {
        let config = self.dir().join(name);
        fs::write(&config, text).expect("the configuration is written");
        self.start(&config, &format!("{name}.log"), None)
    }

    /// Starts another one, as the pod of this name.
    pub fn controller_as(&self, name: &str, text: &str, pod: &str) -> Controller<'_> {
        let config = self.dir().join(name);
        fs::write(&config, text).expect("the configuration is written");
        self.start(&config, &format!("{name}.log"), Some(pod))
    }

    fn start(&self, config: &Path, log: &str, pod: Option<&str>) -> Controller<'_> {
        let log = self.dir().join(log);
        let file = File::options().create(true).append(true).open(&log).expect("the log is made");
        let child = self
            .command(&["run"])
            .arg("-c")
            .arg(config)
            .envs(pod.map(|pod| ("HOLDFAST_POD", pod)))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log is shared"))
            .stderr(file)
            .spawn()
            .expect("the controller starts");
        self.running.fetch_add(1, Ordering::Relaxed);
        Controller { world: self, child, log }
    }
}

impl<'a> Controller<'a> {
    /// Returns the world in which it runs.
    pub fn world(&self) -> &'a World {
        self.world
    }

    /// Returns what it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something holds, and returns it.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if let Some(ended) = self.child.try_wait().expect("the controller can be asked for") {
                panic!("waiting for {what}, the controller ended with {ended}:\n{}", self.log());
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}:\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until `status` of an application is as wanted, and returns it.
    #[track_caller]
    pub fn until_status(&mut self, what: &str, app: &str, mut wanted: impl FnMut(&Status) -> bool) -> Status {
        let world = self.world;
        self.until(what, || {
            let ran = world.holdfast(&["status", "--output", "json"]);
            if ran.code != Some(0) {
                return None;
            }
            let document = ran.json();
            let known = document["applications"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == app));
            known.then(|| Status::of(&document, app)).filter(&mut wanted)
        })
    }

    /// Sends it a signal, such as `STOP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Returns the most memory that it ever held, in bytes.
    #[track_caller]
    pub fn peak_memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system tells");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") * 1024
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("the controller can be killed");
        self.child.wait().expect("the controller ends");
    }

    /// Asks it to end, and waits for it.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(asked.success());
        let begun = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().expect("the controller can be asked for") {
                return ended;
            }
            assert!(begun.elapsed() < DEADLINE, "it does not end when asked to:\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Controller<'_> {
    fn drop(&mut self) {
        self.world.running.fetch_sub(1, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
