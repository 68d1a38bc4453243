//! Where acts are played: people's commands, the running controller, and waiting for what is to happen.

use std::fs::File;
use std::process::Child;
use std::time::{Duration, Instant};

use super::tell::Teller;
use super::world::World;
use crate::controller::report::Status;
use crate::core::state::LatchName;

/// How long anything may take; a slow machine needs a fraction of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// What an act comes to: why it went otherwise, if it did.
pub type Played<T = ()> = Result<T, String>;

/// The world, the teller, and the controller while it runs.
pub struct Stage {
    /// Where it happens.
    pub world: World,
    /// Who tells it.
    pub tell: Teller,
    controller: Option<Child>,
}

impl Stage {
    /// Sets the stage.
    pub fn new(world: World, tell: Teller) -> Self {
        Self { world, tell, controller: None }
    }

    /// Plays an act.
    pub fn act(&mut self, title: &'static str, play: fn(&mut Self) -> Played) -> Played {
        self.tell.act(title);
        let result = play(self);
        let told = result.map_err(|why| format!("{title}: {why}"));
        self.tell.end(told.clone());
        told
    }

    /// Runs a command in the work clone as somebody, and shows it.
    pub fn repo(&mut self, who: &str, script: &str) -> Played<String> {
        self.tell.command(who, &abridged(script));
        self.world.sh(who, "fleet", script).map_err(|failure| failure.message)
    }

    /// Runs a command in the work clone as somebody, without showing it.
    pub fn quietly(&mut self, who: &str, script: &str) -> Played<String> {
        self.world.sh(who, "fleet", script).map_err(|failure| failure.message)
    }

    /// Runs a command on the machine that is kept in sync, and shows it.
    pub fn host(&mut self, script: &str) -> Played<String> {
        self.tell.command("root", script);
        self.world.sh("root", ".", script).map_err(|failure| failure.message)
    }

    /// Starts the controller, which runs until the stage ends.
    pub fn run(&mut self) -> Played {
        self.tell.command("root", "holdfast run &");
        let begin = || -> std::io::Result<Child> {
            let log = File::create(self.world.path("controller.log"))?;
            let mut command = self.world.command("holdfast", "root");
            command.arg("run").stdout(log.try_clone()?).stderr(log).spawn()
        };
        self.controller = Some(begin().map_err(|error| format!("start the controller: {error}"))?);
        Ok(())
    }

    /// Ends the controller.
    pub fn end(&mut self) {
        if let Some(mut child) = self.controller.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Returns what `holdfast status` says; `None` before the first cycle.
    pub fn look(&mut self) -> Played<Option<Status>> {
        let json = self.world.sh("root", ".", "holdfast status --output json").map_err(|failure| failure.message)?;
        let mut document: serde_json::Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let Some(first) = document["applications"].as_array_mut().and_then(|all| all.pop()) else { return Ok(None) };
        serde_json::from_value(first).map(Some).map_err(|error| error.to_string())
    }

    /// Waits until `status` is as wanted, and returns it.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Played<Status> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.look()?.filter(|status| wanted(status)) {
                return Ok(status);
            }
            if let Some(Ok(Some(ended))) = self.controller.as_mut().map(Child::try_wait) {
                return Err(format!("waiting until {what}, the controller ended ({ended}); see controller.log"));
            }
            if begun.elapsed() > DEADLINE {
                let said = self.world.sh("root", ".", "holdfast status").map_err(|failure| failure.message)?;
                return Err(format!("waited in vain until {what}; status says:\n{said}"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the target holds what the repository asks for and `status` says so.
    pub fn until_converged(&mut self) -> Played<Status> {
        let tip = self.quietly("alice", "git rev-parse HEAD")?;
        let status = self.until("everything is converged", |status| {
            status.latches.is_empty() && status.source.converged.as_ref().is_some_and(|at| at.as_str() == tip)
        })?;
        let (target, wanted) = (self.world.target(), self.world.wanted());
        if target.map_err(|error| error.to_string())? == wanted.map_err(|error| error.to_string())? {
            return Ok(status);
        }
        Err("`status` says converged, but the files are not what was committed".to_owned())
    }

    /// Waits until a latch holds, and returns the status.
    pub fn until_latch(&mut self, name: LatchName) -> Played<Status> {
        self.until(&format!("{} holds", name.as_str()), |status| status.latches.iter().any(|latch| latch.name == name))
    }

    /// Lets so many whole intervals pass.
    pub fn intervals(&mut self, number: u64) -> Played<Status> {
        let counted = |status: &Status| status.last_cycle.id.parse::<u64>().unwrap_or_default();
        let now = self.look()?.as_ref().map(counted).unwrap_or_default();
        self.until("more cycles are done", |status| counted(status) >= now + number)
    }

    /// Shows lines of `holdfast status` that `keep` says are worth it here.
    pub fn show_status(&mut self, keep: impl Fn(&str) -> bool) -> Played {
        self.tell.command("root", "holdfast status");
        let text = self.world.sh("root", ".", "holdfast status").map_err(|failure| failure.message)?;
        for line in text.lines().filter(|line| keep(line)) {
            self.tell.status(&abridged(line));
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end();
    }
}

/// Fails an act unless something holds.
pub fn ensure(holds: bool, what: impl Into<String>) -> Played {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// Cuts digests and commits to what people read of them.
fn abridged(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        match run.len() {
            40 => out.push_str(&run[..7]),
            64 => {
                out.push_str(&run[..12]);
                out.push('…');
            }
            _ => out.push_str(&run),
        }
        run.clear();
        out.push(c);
    }
    out.pop();
    out
}
