//! Where acts are played: people's commands, the running controller, and waiting for what is to happen.

use std::fs::File;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::tell::Teller;
use super::world::World;
use crate::controller::report::Status;
use crate::core::state::LatchName;

/// How long anything may take; a slow machine needs a fraction of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// How wide lines of `status` are shown.
const WIDTH: usize = 116;

/// Who works on the machine that is kept in sync.
const OPS: &str = "ops";

/// What an act comes to: why it went otherwise, if it did.
pub type Played<T = ()> = Result<T, String>;

/// The world, the teller, and the controller while it runs.
pub struct Stage {
    /// Where it happens.
    pub world: World,
    /// Who tells it.
    pub tell: Teller,
    controller: Option<Child>,
    interrupted: Arc<AtomicBool>,
}

impl Stage {
    /// Sets the stage; `interrupted` ends whatever is waited for.
    pub fn new(world: World, tell: Teller, interrupted: Arc<AtomicBool>) -> Self {
        Self { world, tell, controller: None, interrupted }
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
        self.quietly(who, script)
    }

    /// Runs a command in the work clone as somebody, without showing it.
    pub fn quietly(&mut self, who: &str, script: &str) -> Played<String> {
        self.world.commit(who, script).map_err(|failure| failure.message)
    }

    /// Runs a command on the machine that is kept in sync, and shows it.
    pub fn ops(&mut self, script: &str) -> Played<String> {
        self.tell.command(OPS, script);
        self.run_sh(script)
    }

    /// Runs a command on the machine that is kept in sync, and shows it with what it prints.
    pub fn ops_shown(&mut self, script: &str) -> Played {
        let printed = self.ops(script)?;
        printed.lines().for_each(|line| self.tell.status(line));
        Ok(())
    }

    fn run_sh(&self, script: &str) -> Played<String> {
        self.world.sh(OPS, ".", script).map_err(|failure| failure.message)
    }

    /// Starts the controller, which runs until the stage ends.
    pub fn run(&mut self) -> Played {
        self.tell.command(OPS, "holdfast run &");
        let begin = || -> std::io::Result<Child> {
            let log = File::create(self.world.path("controller.log"))?;
            let mut command = self.world.command("holdfast", OPS);
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
        let json = self.run_sh("holdfast status --output json")?;
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
            if self.interrupted.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
            if begun.elapsed() > DEADLINE {
                let said = self.run_sh("holdfast status")?;
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
        let counted = |status: &Status| {
            let (counted, _) = status.last_cycle.id.split_once('-').unwrap_or((&status.last_cycle.id, ""));
            counted.parse::<u64>().unwrap_or_default()
        };
        let now = self.look()?.as_ref().map(counted).unwrap_or_default();
        self.until("more cycles are done", |status| counted(status) >= now + number)
    }

    /// Shows the lines of `holdfast status` that begin so: what matters here.
    pub fn status(&mut self, begins: &[&str]) -> Played {
        self.tell.command(OPS, "holdfast status");
        let text = self.run_sh("holdfast status")?;
        let shown = |line: &&str| begins.iter().any(|begin| line.trim_start().starts_with(begin));
        for line in text.lines().filter(shown) {
            fitted(&abridged(line)).iter().for_each(|line| self.tell.status(line));
        }
        Ok(())
    }

    fn journal(&self) -> Played<Vec<serde_json::Value>> {
        let json = self.run_sh("holdfast history web --last 100000 --output json")?;
        let mut document: serde_json::Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let rows = document["history"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(rows.into_iter().rev().filter(|row| row["application"] == "web").collect())
    }

    /// Returns the number of the newest fact in the journal.
    pub fn journalled(&self) -> Played<u64> {
        Ok(self.journal()?.iter().filter_map(|row| row["seq"].as_u64()).max().unwrap_or_default())
    }

    /// Returns how many files each batch since a fact was of, by interval.
    pub fn batches(&self, since: u64) -> Played<Vec<Vec<usize>>> {
        let mut intervals: Vec<Vec<usize>> = vec![Vec::new()];
        for row in self.journal()?.iter().filter(|row| row["seq"].as_u64().is_some_and(|seq| seq > since)) {
            match row["kind"].as_str() {
                Some("cycle") if row["fact"]["counted"] == true => intervals.push(Vec::new()),
                Some("batchStarted") => intervals.last_mut().into_iter().for_each(|interval| interval.push(0)),
                Some("wrote") => {
                    let batch = intervals.last_mut().and_then(|interval| interval.last_mut());
                    batch.into_iter().for_each(|batch| *batch += 1);
                }
                _ => {}
            }
        }
        intervals.retain(|interval| !interval.is_empty());
        Ok(intervals)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end();
    }
}

/// Fails an act unless something holds.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Played {
    if holds { Ok(()) } else { Err(what()) }
}

/// Breaks a line that is too wide, between its parts where it has some: whether a time has one digit or two must not move
/// the break.
fn fitted(line: &str) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let indent = " ".repeat(width(line) - width(line.trim_start()) + 6);
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while let Some((end, _)) = rest.char_indices().nth(WIDTH) {
        let begin = width(&indent);
        let parts =
            ["; ", ": ", " · "].into_iter().filter_map(|mark| rest[..end].rfind(mark).map(|at| at + mark.len()));
        let Some(at) = parts.max().or_else(|| rest[..end].rfind(' ')).filter(|at| *at > begin) else { break };
        let after = format!("{indent}{}", &rest[at..]);
        rest.truncate(at);
        lines.push(rest.trim_end().to_owned());
        rest = after;
    }
    lines.push(rest);
    lines
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
