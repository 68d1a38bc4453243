//! The commands that operate: they write facts to the ledger, where a running controller finds them within a second.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::{SignedDuration, Timestamp};

use super::args::{self, Cli};
use super::{Done, Failure, chosen, load};
use crate::clock::MachineClock;
use crate::config::{Application, Config, parse_duration};
use crate::controller::alerting::Receivers;
use crate::controller::edges::Read as _;
use crate::controller::live::Live;
use crate::controller::operate::{self, Actor, Desk, OperateError};
use crate::core::clock::Clock;
use crate::core::freeze::Parsed;
use crate::core::ledger::Fact;
use crate::core::resource::{AnchorSeen, Digest, Id};
use crate::core::state::{Hold, Trouble};
use crate::store::{ControllerLock, Ledger, Mode, StoreError};

fn user() -> Arc<str> {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME"));
    let name = name.unwrap_or_else(|_| format!("uid-{}", rustix::process::getuid().as_raw()));
    format!("local:{name}").into()
}

fn writer(config: &Config) -> Result<Ledger, Failure> {
    Ok(Ledger::open(&config.controller.state_dir, Mode::Writer)?)
}

/// What a command works with.
struct Counter {
    config: Config,
    ledger: Ledger,
    receivers: Receivers,
}

impl Counter {
    fn new(config: Config, ledger: Ledger) -> Self {
        let receivers = Receivers::of(&config.controller.notify);
        Self { config, ledger, receivers }
    }

    fn open(cli: &Cli) -> Result<Self, Failure> {
        let config = load(cli)?;
        let ledger = writer(&config)?;
        Ok(Self::new(config, ledger))
    }

    fn desk(&self) -> Desk<'_> {
        Desk { config: &self.config, ledger: &self.ledger, receivers: &self.receivers }
    }
}

fn actor() -> Actor {
    Actor { by: user(), via: "local" }
}

pub(super) fn until(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let at: Timestamp = text.parse().map_err(|_| {
        Failure::usage(format!("{text:?} is no time with an offset: write it as 2026-01-31T06:00:00Z or …+01:00"))
    })?;
    if at <= MachineClock::wall() {
        return Err(Failure::usage(format!("{text} is already past: nothing was frozen")));
    }
    Ok(Some(at))
}

/// `freeze`
pub(super) fn freeze(cli: &Cli, args: &args::Freeze) -> Done {
    if args.apps.is_empty() && !args.all {
        return Err(Failure::usage("name the applications to freeze, or say --all"));
    }
    let config = load(cli)?;
    let what = Parsed { reason: Some(args.reason.clone()), until: until(args.until.as_deref())?, ..Parsed::default() };
    let names = names(&config, &args.apps)?;
    let ledger = match writer(&config) {
        Ok(ledger) => ledger,
        Err(failure) if args.all => return freeze_by_file(&config, &what, &failure),
        Err(failure) => {
            return Err(
                failure.hint("`holdfast freeze --all` works without the ledger, by a file in the state directory")
            );
        }
    };
    let counter = Counter::new(config, ledger);
    counter.desk().freeze(&names, &what, &actor())?;
    let what = if args.all { "all applications".to_owned() } else { args.apps.join(", ") };
    println!("frozen: {what}. Nothing is written to their targets; drift is still detected and reported.");
    println!("to lift it: holdfast thaw {}", if args.all { "--all".to_owned() } else { args.apps.join(" ") });
    Ok(ExitCode::SUCCESS)
}

/// The freeze of last resort: a file, when the ledger cannot be used.
fn freeze_by_file(config: &Config, what: &Parsed, failure: &Failure) -> Done {
    let path = operate::freeze_by_file(config, what)?;
    println!("the ledger cannot be used ({}); frozen by the file {}", failure.message.trim_end(), path.display());
    println!("to lift it: remove that file");
    Ok(ExitCode::SUCCESS)
}

fn names(config: &Config, apps: &[String]) -> Result<Vec<Arc<str>>, Failure> {
    apps.iter().map(|name| Ok(chosen(config, Some(name))?[0].name.clone())).collect()
}

/// `thaw`
pub(super) fn thaw(cli: &Cli, args: &args::Thaw) -> Done {
    if args.apps.is_empty() && !args.all {
        return Err(Failure::usage("name the applications to thaw, or say --all"));
    }
    let counter = Counter::open(cli)?;
    let names = if args.all { Vec::new() } else { names(&counter.config, &args.apps)? };
    let thawed = counter.desk().thaw(&names, args.reason.as_deref(), &actor())?;
    for still in &thawed.still {
        println!("{} is still {}", still.app, still.message);
        println!("  {}", still.lift);
    }
    println!(
        "{}",
        if thawed.lifted == 0 {
            "nothing was frozen by a command"
        } else {
            "thawed: a fresh observation and a new plan come first"
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// `approve`
pub(super) fn approve(cli: &Cli, args: &args::Approve) -> Done {
    let counter = Counter::open(cli)?;
    let app = chosen(&counter.config, Some(&args.app))?[0];
    let digest: Digest =
        args.digest.parse().map_err(|error: crate::core::resource::NotADigest| Failure::usage(error.to_string()))?;
    let actor = actor();
    let what = counter.desk().approve(app, digest, &actor).map_err(|error| {
        let hint = match &error {
            OperateError::NothingHeld { .. } => {
                Some("look at what is held: holdfast status; before a merge: holdfast plan APP --rev REV")
            }
            OperateError::Used { .. } => Some("look at what is held now: holdfast status"),
            OperateError::NotAnApprover(_) => Some("have a person approve who is listed and has no part in it"),
            _ => None,
        };
        let failure = Failure::from(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let by = &actor.by;
    match what {
        Some(what) => {
            println!("approved: {what}, by {by}; used once, good for {} min", app.guards.approval_ttl.as_secs() / 60)
        }
        None => {
            println!("nothing has this digest now: it is kept for 14 days as a pre-approval of a change that has it");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds the application that has a resource.
fn having<'a>(
    config: &'a Config,
    ledger: &Ledger,
    app: Option<&str>,
    resource: &Id,
) -> Result<&'a Application, Failure> {
    if let Some(name) = app {
        return Ok(chosen(config, Some(name))?[0]);
    }
    let mut having = Vec::new();
    for app in &config.applications {
        if ledger.load(&app.name)?.resources.contains_key(resource) {
            having.push(app);
        }
    }
    match having.as_slice() {
        [app] => Ok(app),
        [] if config.applications.len() == 1 => Ok(&config.applications[0]),
        [] => Err(Failure::usage(format!("no application has a resource {resource}; name one with --app"))),
        _ => Err(Failure::usage(format!("several applications have a resource {resource}; name one with --app"))),
    }
}

/// `hold`
pub(super) fn hold(cli: &Cli, args: &args::Hold) -> Done {
    let counter = Counter::open(cli)?;
    let id = Id::new(args.resource.as_str());
    let app = having(&counter.config, &counter.ledger, args.app.as_deref(), &id)?;
    let time = args
        .time
        .as_deref()
        .map(|text| parse_duration(text).map_err(|why| Failure::usage(format!("--for {text}: {why}"))))
        .transpose()?;
    let mut known = false;
    counter.desk().commit(&app.name, |state| -> Result<_, Failure> {
        known = state.resources.contains_key(&id);
        let now =
            state.app.clock.as_ref().map_or_else(MachineClock::wall, |clock| clock.advance(&MachineClock::read()).now);
        let until =
            time.and_then(|time| now.checked_add(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)).ok());
        let hold = Hold { by: user(), reason: args.reason.as_str().into(), since: now, until };
        Ok(vec![Fact::Held { id: id.clone(), hold }])
    })?;
    println!(
        "held: {id} of {} is not written{}",
        app.name,
        args.time.as_ref().map(|time| format!(" for {time}")).unwrap_or_default()
    );
    if !known {
        println!("note: {} knows nothing of that name yet; `holdfast drift` and `holdfast plan` print names", app.name);
    }
    println!("to end it: holdfast release {id} --app {}", app.name);
    Ok(ExitCode::SUCCESS)
}

/// `release`
pub(super) fn release(cli: &Cli, args: &args::Release) -> Done {
    let counter = Counter::open(cli)?;
    let id = Id::new(args.resource.as_str());
    let app = having(&counter.config, &counter.ledger, args.app.as_deref(), &id)?;
    let mut held = false;
    counter.desk().commit(&app.name, |state| -> Result<_, Failure> {
        let differs = |trouble: &Trouble| trouble.drift.as_ref().is_some_and(|mark| mark.released.is_none());
        let Some(trouble) = state
            .trouble(&id)
            .filter(|trouble| trouble.hold.is_some() || trouble.quarantined.is_some() || differs(trouble))
        else {
            let why = format!("{id} of {} is neither held nor quarantined, and nothing differs there", app.name);
            return Err(Failure::new(why).hint("`holdfast drift` prints what differs, by the names to use here"));
        };
        held = trouble.hold.is_some() || trouble.quarantined.is_some();
        let mut facts = Vec::new();
        if trouble.hold.is_some() || !held {
            facts.push(Fact::Released { id: id.clone(), by: user() });
        }
        if trouble.quarantined.is_some() {
            facts.push(Fact::Unquarantined { id: id.clone() });
        }
        Ok(facts)
    })?;
    let what = if held { "" } else { "; what differs there now is taken back, as far as nothing stops healing" };
    println!("released: {id} of {}{what}", app.name);
    Ok(ExitCode::SUCCESS)
}

/// `reanchor`
pub(super) fn reanchor(cli: &Cli, args: &args::Reanchor) -> Done {
    let config = load(cli)?;
    let app = chosen(&config, Some(&args.app))?[0];
    let state_dir = &config.controller.state_dir;
    let ledger = match Ledger::open(state_dir, Mode::Writer) {
        Ok(ledger) => ledger,
        Err(StoreError::Corrupt { .. }) => {
            let lock = ControllerLock::take(state_dir).map_err(|error| {
                Failure::from(error).hint("stop the controller first: the damaged ledger is moved aside")
            })?;
            if let Some(path) = Ledger::set_aside(state_dir, &lock)? {
                println!("the damaged ledger was moved to {}", path.display());
            }
            Ledger::open(state_dir, Mode::Writer)?
        }
        Err(error) => return Err(error.into()),
    };
    let mut live = Live::open(app, state_dir, Arc::new(AtomicBool::new(false)))?;
    let tip = live.fetch().map_err(|why| Failure::new(why.to_string()))?;
    let snapshot = live.snapshot().ok_or_else(|| Failure::new("the repository was not read"))?;
    let commit_id = snapshot.resolve(&app.source.branch, &args.commit)?;
    let anchor = match live.read_anchor() {
        AnchorSeen::Present(anchor) => Some(Box::new(anchor)),
        AnchorSeen::Absent => None,
        AnchorSeen::Foreign(why) | AnchorSeen::Unread(why) => {
            return Err(Failure::new(format!("the target's anchor cannot be read: {why}")));
        }
    };
    let counter = Counter::new(config.clone(), ledger);
    counter.desk().commit(&app.name, |_| -> Result<_, Failure> {
        let clock = Some(Clock::start(&MachineClock::read()));
        Ok(vec![Fact::Reanchored {
            commit: commit_id.clone(),
            by: user(),
            reason: args.reason.clone(),
            clock,
            anchor: anchor.clone(),
        }])
    })?;
    println!("reanchored {} at {}; the tip is {}", app.name, commit_id.short(), tip.short());
    println!("the next whole cycle only observes; then it converges again, through every guard");
    Ok(ExitCode::SUCCESS)
}
