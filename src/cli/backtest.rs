//! `backtest`: what the guards would have done on past pushes.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::args::{self, Cli, Output};
use super::{CONFIG, Done, Failure, backtest_text, chosen, print_json, progress, style};
use crate::clock::MachineClock;
use crate::config::{self, Application, Config, ConfigErrors, Override};
use crate::controller::backtest::{Ask, Report, backtest};
use crate::controller::live::remote_of;
use crate::controller::rendering;
use crate::core::effect::Rules;
use crate::core::guards::{Guards, Limit};
use crate::git::{self, Mirror, Snapshot, Wanted};
use crate::render::{self, Renderer};

/// Where a backtest looks.
struct Place {
    /// The application; none for a repository that was named.
    name: Option<String>,
    repository: String,
    path: String,
    snapshot: Snapshot,
    renderer: Renderer,
    ask: Ask,
    /// How the guards are called.
    guards: String,
}

/// `backtest`: judges past pushes; nothing is written but the clone of an application's repository.
pub(super) fn run(cli: &Cli, args: &args::Backtest) -> Done {
    let overrides = args.set.iter().map(|set| set.parse().map_err(Failure::usage)).collect::<Result<Vec<_>, _>>()?;
    let since = args.since.as_deref().map(since).transpose()?;
    let mut reports = Vec::new();
    match &args.repo {
        Some(repo) => reports.push(judge(in_repository(repo, args, &overrides, since)?)?),
        None => {
            if args.path != "." || args.rev != "HEAD" || args.render != args::RenderAs::Files {
                return Err(Failure::usage("--path, --rev and --render go with --repo; an application has its own"));
            }
            let (config, plain) = configs(cli, &overrides)?;
            for (app, before) in chosen(&config, args.app.as_deref())?.into_iter().zip(plain) {
                reports.push(judge(of_application(app, &before, &config, args, since)?)?);
            }
        }
    }
    if cli.output == Output::Json {
        let documents = reports.iter().map(document).collect::<Result<Vec<_>, _>>()?;
        return match documents.as_slice() {
            [document] if args.repo.is_some() => print_json(document),
            documents => print_json(&json!({ "applications": documents })),
        };
    }
    for (place, report) in &reports {
        let head = backtest_text::Head {
            name: place.name.as_deref(),
            repository: &place.repository,
            path: &place.path,
            guards: &place.guards,
        };
        print!("{}", backtest_text::print(&head, report, style(cli)));
    }
    Ok(std::process::ExitCode::SUCCESS)
}

fn document((place, report): &(Place, Report)) -> Result<serde_json::Value, serde_json::Error> {
    let mut value = serde_json::to_value(report)?;
    if let Some(name) = &place.name {
        value["name"] = json!(name);
    }
    value["repository"] = json!(place.repository);
    value["path"] = json!(place.path);
    value["guards"] = json!(place.guards);
    Ok(value)
}

fn judge(place: Place) -> Result<(Place, Report), Failure> {
    let bar = progress::bar("pushes");
    let report = backtest(&place.snapshot, &place.renderer, &place.ask, &mut |done, all| bar.at(done, all))?;
    drop(bar);
    Ok((place, report))
}

/// Opens a repository that needs no configuration.
fn in_repository(
    repo: &Path,
    args: &args::Backtest,
    overrides: &[Override],
    since: Option<Timestamp>,
) -> Result<Place, Failure> {
    let snapshot = Snapshot::open_readonly(repo).map_err(|error| {
        Failure::from(error).hint("name the top of a work tree, or a bare repository; `git clone --bare` makes one")
    })?;
    let tip = snapshot
        .revision(&args.rev)
        .map_err(|error| Failure::from(error).hint("name a branch, tag or commit of the repository with --rev"))?;
    let renderer = Renderer::new(render::Render::Plain, &args.path, render::Limits::default())?;
    let renderer = match args.render {
        args::RenderAs::Files => renderer,
        args::RenderAs::Manifests => renderer.with_rules(Rules::Kubernetes).lenient(),
    };
    let guards = default_guards(overrides)?;
    let other = compared(&guards, &default_guards(&[])?);
    let repository = std::fs::canonicalize(repo).unwrap_or_else(|_| repo.to_owned()).display().to_string();
    Ok(Place {
        name: None,
        repository,
        path: args.path.clone(),
        snapshot,
        renderer,
        ask: Ask { tip, guards, other, last: args.last, since, partial: true },
        guards: called("the default guards", &args.set),
    })
}

/// Fetches an application's repository; its target is not looked at.
fn of_application(
    app: &Application,
    plain: &Guards,
    config: &Config,
    args: &args::Backtest,
    since: Option<Timestamp>,
) -> Result<Place, Failure> {
    let remote = remote_of(app).map_err(Failure::new)?;
    let mirror = Mirror::open(&git::directory_for(&config.controller.state_dir, &remote.url))?;
    let spinner = progress::spinner(&format!("fetching {}", remote.url));
    let tip = mirror.fetch(&remote, &Wanted::default(), &AtomicBool::new(false))?.tip;
    drop(spinner);
    Ok(Place {
        name: Some(app.name.to_string()),
        repository: app.source.url.clone(),
        path: if app.source.path.is_empty() { ".".to_owned() } else { app.source.path.clone() },
        snapshot: mirror.snapshot()?,
        renderer: rendering::renderer(app)?,
        ask: Ask {
            tip,
            guards: app.guards.clone(),
            other: compared(&app.guards, plain),
            last: args.last,
            since,
            partial: false,
        },
        guards: called("its guards", &args.set),
    })
}

fn called(guards: &str, set: &[String]) -> String {
    if set.is_empty() { guards.to_owned() } else { format!("{guards} and {}", set.join(", ")) }
}

/// Reads the configuration with the overrides, and each application's guards without.
fn configs(cli: &Cli, overrides: &[Override]) -> Result<(Config, Vec<Guards>), Failure> {
    let load = |overrides: &[Override]| config::load_with(cli.config.as_deref(), overrides);
    let plain = load(&[]).map_err(|errors| Failure { code: CONFIG, message: errors.to_string(), hint: None })?;
    let guards = plain.applications.iter().map(|app| app.guards.clone()).collect();
    if overrides.is_empty() {
        return Ok((plain, guards));
    }
    Ok((load(overrides).map_err(|errors| refused(&errors))?, guards))
}

/// Returns the default guards with overrides.
fn default_guards(overrides: &[Override]) -> Result<Guards, Failure> {
    // Only the guards of it are used.
    let text = format!(
        "apiVersion: {}\nkind: Application\nmetadata: {{ name: app }}\nspec:\n  source: {{ url: https://localhost/app.git }}\n  target: {{ directory: {{ root: /nonexistent }} }}\n",
        config::API_VERSION
    );
    let config = config::load_text_with(Path::new("--set"), &text, overrides).map_err(|errors| refused(&errors))?;
    let app = config.application("app").ok_or_else(|| Failure::usage("--set may not rename the application"))?;
    Ok(app.guards.clone())
}

/// Says what is wrong with `--set`: the configuration itself was read without errors.
fn refused(errors: &ConfigErrors) -> Failure {
    let say = |error: &config::ConfigError| format!("--set: {}: {}", error.field, error.what);
    let failure = Failure::usage(errors.0.iter().map(say).collect::<Vec<_>>().join("\n  "));
    match errors.0.first().filter(|error| !error.hint.is_empty()) {
        Some(error) => failure.hint(error.hint.clone()),
        None => failure,
    }
}

/// Returns what the guards are compared with: those without `--set`, or else a looser change limit.
fn compared(guards: &Guards, plain: &Guards) -> Option<(String, Guards)> {
    if guards != plain {
        return Some(("without --set".to_owned(), plain.clone()));
    }
    let mut looser = guards.clone();
    let label = match guards.change_halt {
        Limit::Relative { over, percent, at_most } if over > 0 && percent > 0 => {
            let percent = percent.saturating_add(10);
            looser.change_halt = Limit::Relative { over, percent, at_most };
            format!("raising changeHalt to {percent} %")
        }
        Limit::Fixed(limit) if limit > 0 => {
            let limit = limit.saturating_mul(2);
            looser.change_halt = Limit::Fixed(limit);
            format!("raising changeHalt to {limit}")
        }
        Limit::Fixed(_) | Limit::Relative { .. } => return None,
        Limit::Disabled => {
            looser.change_halt = Guards::default().change_halt;
            "enabling changeHalt with its default".to_owned()
        }
    };
    Some((label, looser))
}

/// Reads a date, a time, or how long ago.
fn since(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(duration) = config::parse_duration(text) {
        let ago = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        return Ok(MachineClock::wall().checked_sub(ago).unwrap_or(Timestamp::MIN));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let date = text.parse::<jiff::civil::Date>().ok().and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    date.map(|date| date.timestamp()).ok_or_else(|| {
        Failure::usage(format!("--since: {text:?} is no date, and not how long ago"))
            .hint("write it as 2025-01-31, 2025-01-31T08:00:00Z or 90d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_durations_are_times() {
        let at = |text| since(text).map(|time| time.to_string()).unwrap();
        assert_eq!(at("2025-01-31"), "2025-01-31T00:00:00Z");
        assert_eq!(at("2025-01-31T08:00:00+02:00"), "2025-01-31T06:00:00Z");
        let before = MachineClock::wall();
        let ago = since("90d").unwrap() + SignedDuration::from_hours(90 * 24);
        assert!((before..=MachineClock::wall()).contains(&ago), "{ago}");
        for wrong in ["", "yesterday", "2025-13-01", "90", "90x"] {
            assert_eq!(since(wrong).unwrap_err().code, super::super::USAGE, "{wrong}");
        }
    }

    #[test]
    fn values_are_set_on_the_default_guards() {
        let set = |text: &str| default_guards(&[text.parse().unwrap()]);
        let defaults = Guards { spare_undeclared: true, ..Guards::default() };
        assert_eq!(default_guards(&[]).unwrap(), defaults);
        let changed = Guards { change_halt: Limit::Relative { over: 15, percent: 20, at_most: None }, ..defaults };
        assert_eq!(set("guards.changeHalt.percent=20").unwrap(), changed);
        assert_eq!(set("guards.changeHalt=disabled").unwrap().change_halt, Limit::Disabled);
        let failure = set("guards.noSuchThing=1").unwrap_err();
        assert!(failure.code == super::super::USAGE && failure.message.contains("noSuchThing"), "{failure:?}");
    }
}
