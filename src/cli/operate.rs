//! The commands that operate: they write facts to the ledger, where a running controller finds them within a second.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::{SignedDuration, Timestamp};

use super::args::{self, Cli};
use super::{Done, Failure, chosen, load};
use crate::clock::MachineClock;
use crate::config::{Application, Config, parse_duration};
use crate::controller::edges::Read as _;
use crate::controller::live::Live;
use crate::controller::report::Status;
use crate::core::approval::{self, Wanted};
use crate::core::clock::Clock;
use crate::core::freeze::Parsed;
use crate::core::ledger::Fact;
use crate::core::resource::{AnchorSeen, Digest, Id};
use crate::core::state::{Approval, Hold, State};
use crate::store::{CommitError, ControllerLock, EVERY, Ledger, Mode, StoreError};

/// How many times a fact is tried again because another process wrote meanwhile.
const TRIES: usize = 50;

fn user() -> Arc<str> {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME"));
    let name = name.unwrap_or_else(|_| format!("uid-{}", rustix::process::getuid().as_raw()));
    format!("local:{name}").into()
}

fn writer(config: &Config) -> Result<Ledger, Failure> {
    Ok(Ledger::open(&config.controller.state_dir, Mode::Writer)?)
}

/// Commits what `decide` makes of the newest state, until nobody else wrote in between.
fn commit(
    ledger: &Ledger,
    app: &str,
    mut decide: impl FnMut(&State) -> Result<Vec<Fact>, Failure>,
) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let mut state = ledger.load(app)?;
        let facts = decide(&state)?;
        if facts.is_empty() {
            return Ok(());
        }
        match ledger.commit(app, state.seq, &facts, &mut state, None) {
            Ok(_) => return Ok(()),
            Err(CommitError::Moved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new("write to the ledger: other processes kept writing to it").hint("try again"))
}

fn until(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
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
    let names = names(&config, &args.apps, args.all)?;
    let ledger = match writer(&config) {
        Ok(ledger) => ledger,
        Err(failure) if args.all => return freeze_by_file(&config, args, &failure),
        Err(failure) => {
            return Err(
                failure.hint("`holdfast freeze --all` works without the ledger, by a file in the state directory")
            );
        }
    };
    let by = user();
    for name in &names {
        commit(&ledger, name, |state| {
            let frozen = state.app.freeze.with_operator(&by, "local", what.clone(), MachineClock::wall());
            Ok(frozen.map(|(state, change)| Fact::Freezes { state, change }).into_iter().collect())
        })?;
    }
    let what = if args.all { "all applications".to_owned() } else { args.apps.join(", ") };
    println!("frozen: {what}. Nothing is written to their targets; drift is still detected and reported.");
    println!("to lift it: holdfast thaw {}", if args.all { "--all".to_owned() } else { args.apps.join(" ") });
    Ok(ExitCode::SUCCESS)
}

/// The freeze of last resort: a file, when the ledger cannot be used.
fn freeze_by_file(config: &Config, args: &args::Freeze, failure: &Failure) -> Done {
    let path = config.controller.state_dir.join("FREEZE");
    std::fs::create_dir_all(&config.controller.state_dir)?;
    let mut text = format!("reason: {}\n", serde_json::to_string(&args.reason)?);
    if let Some(until) = &args.until {
        text.push_str(&format!("until: {until}\n"));
    }
    std::fs::write(&path, text)?;
    println!("the ledger cannot be used ({}); frozen by the file {}", failure.message.trim_end(), path.display());
    println!("to lift it: remove that file");
    Ok(ExitCode::SUCCESS)
}

fn names(config: &Config, apps: &[String], all: bool) -> Result<Vec<Arc<str>>, Failure> {
    if all {
        return Ok(vec![EVERY.into()]);
    }
    apps.iter().map(|name| Ok(chosen(config, Some(name))?[0].name.clone())).collect()
}

/// `thaw`
pub(super) fn thaw(cli: &Cli, args: &args::Thaw) -> Done {
    if args.apps.is_empty() && !args.all {
        return Err(Failure::usage("name the applications to thaw, or say --all"));
    }
    let config = load(cli)?;
    let ledger = writer(&config)?;
    let mut names = names(&config, &args.apps, args.all)?;
    if args.all {
        names.extend(config.applications.iter().map(|app| app.name.clone()));
    }
    let mut lifted = 0;
    for name in &names {
        commit(&ledger, name, |state| {
            let thawed = state.app.freeze.without_operator(name);
            lifted += usize::from(thawed.is_some());
            let why = args.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Ok(thawed
                .map(|(state, change)| Fact::Freezes { state, change: format!("{change} by {}{why}", user()) })
                .into_iter()
                .collect())
        })?;
    }
    for app in config.applications.iter().filter(|app| args.all || args.apps.iter().any(|name| **name == *app.name)) {
        let state = ledger.load(&app.name)?;
        let left = state.app.freeze.active(&app.name, MachineClock::wall());
        let every = ledger.load(EVERY)?;
        let everywhere = every.app.freeze.active(&app.name, MachineClock::wall());
        for freeze in left {
            println!("{} is still {}", app.name, crate::core::freeze::reason(freeze).message);
            println!("  a FREEZE on the branch is lifted by a verified commit that removes it");
        }
        for freeze in everywhere {
            println!(
                "{} is still {}; lift it with: holdfast thaw --all",
                app.name,
                crate::core::freeze::reason(freeze).message
            );
        }
        for reason in crate::controller::live::local_freezes(app, &config.controller.state_dir) {
            println!("{} is still {}", app.name, reason.message);
        }
    }
    println!(
        "{}",
        if lifted == 0 {
            "nothing was frozen by a command"
        } else {
            "thawed: a fresh observation and a new plan come first"
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// `approve`
pub(super) fn approve(cli: &Cli, args: &args::Approve) -> Done {
    let config = load(cli)?;
    let app = chosen(&config, Some(&args.app))?[0];
    let digest: Digest =
        args.digest.parse().map_err(|error: crate::core::resource::NotADigest| Failure::usage(error.to_string()))?;
    let ledger = writer(&config)?;
    let by = user();
    let what = known(&ledger, app, digest)?;
    if what.is_none() && ledger.get_report(&super::look::shown(app, digest))?.is_none() {
        return Err(Failure::new(format!(
            "refused: nothing of {} that is held, parked or was shown has the digest {digest}",
            app.name
        ))
        .hint("look at what is held: holdfast status; before a merge: holdfast plan APP --rev REV"));
    }
    for name in sharing(&ledger, &config, app, digest)? {
        let Some(app) = config.application(&name) else { continue };
        commit(&ledger, &name, |state| {
            if let Some(used) = state.app.approvals.iter().find(|known| known.digest == digest && known.used) {
                return Err(Failure::new(format!(
                    "{digest} was approved before (by {}) and used: an approval serves once",
                    used.by
                ))
                .hint("look at what is held now: holdfast status"));
            }
            let wanted = Wanted { digest: &digest, change: None, seen: state.now(), contributors: &[] };
            if let Some(why) = approval::refusal(&by, &wanted, &app.trust.policy, &app.guards, state.now()) {
                return Err(Failure::new(format!("not approved: {why}")));
            }
            let approval = Approval { digest, by: by.clone(), via: "local".into(), at: state.now(), used: false };
            Ok(vec![Fact::Approved { approval }])
        })?;
    }
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

/// Says what a digest is of, if it is of something that is held now.
fn known(ledger: &Ledger, app: &Application, digest: Digest) -> Result<Option<String>, Failure> {
    let Some(report) = ledger.get_report(&app.name)? else { return Ok(None) };
    let status: Status = serde_json::from_str(&report.json)?;
    if status.latches.iter().any(|latch| latch.digest == Some(digest)) {
        return Ok(Some("what is held".to_owned()));
    }
    if let Some(parked) = status.parked.iter().find(|parked| parked.digest == digest) {
        return Ok(Some(format!("{} of {}", parked.effect, parked.resource)));
    }
    if status.configuration.is_some_and(|configuration| configuration.digest == digest) {
        return Ok(Some("the loosened configuration".to_owned()));
    }
    let plan = status.plan.is_some_and(|plan| plan.digest == digest || plan.change == digest);
    Ok(plan.then(|| "the plan".to_owned()))
}

/// Returns the applications that are held under one digest: a fleet's approval lets all of them go.
fn sharing(ledger: &Ledger, config: &Config, app: &Application, digest: Digest) -> Result<Vec<Arc<str>>, Failure> {
    let mut names = vec![app.name.clone()];
    for other in config.applications.iter().filter(|other| other.name != app.name && other.source.url == app.source.url)
    {
        let Some(report) = ledger.get_report(&other.name)? else { continue };
        let status: Status = serde_json::from_str(&report.json)?;
        if status.latches.iter().any(|latch| latch.digest == Some(digest)) {
            names.push(other.name.clone());
        }
    }
    Ok(names)
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
    let config = load(cli)?;
    let ledger = writer(&config)?;
    let id = Id::new(args.resource.as_str());
    let app = having(&config, &ledger, args.app.as_deref(), &id)?;
    let time = args
        .time
        .as_deref()
        .map(|text| parse_duration(text).map_err(|why| Failure::usage(format!("--for {text}: {why}"))))
        .transpose()?;
    commit(&ledger, &app.name, |state| {
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
    println!("to end it: holdfast release {id} --app {}", app.name);
    Ok(ExitCode::SUCCESS)
}

/// `release`
pub(super) fn release(cli: &Cli, args: &args::Release) -> Done {
    let config = load(cli)?;
    let ledger = writer(&config)?;
    let id = Id::new(args.resource.as_str());
    let app = having(&config, &ledger, args.app.as_deref(), &id)?;
    commit(&ledger, &app.name, |state| {
        let Some(trouble) =
            state.trouble(&id).filter(|trouble| trouble.hold.is_some() || trouble.quarantined.is_some())
        else {
            return Err(Failure::new(format!("{id} of {} is neither held nor quarantined", app.name)));
        };
        let mut facts = Vec::new();
        if trouble.hold.is_some() {
            facts.push(Fact::Released { id: id.clone(), by: user() });
        }
        if trouble.quarantined.is_some() {
            facts.push(Fact::Unquarantined { id: id.clone() });
        }
        Ok(facts)
    })?;
    println!("released: {id} of {}", app.name);
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
        AnchorSeen::Unread(why) => return Err(Failure::new(format!("the target's anchor cannot be read: {why}"))),
    };
    commit(&ledger, &app.name, |_| {
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
