//! The commands: what people type, and what they get back (`INTERFACE.md`).
//!
//! The library below touches neither terminal nor environment; this folder does, and nothing else.

pub mod args;
mod backtest;
mod backtest_text;
mod demo;
mod doctor;
mod history_text;
mod init;
pub mod kubectl;
mod look;
mod operate;
mod progress;
mod text;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};

use self::args::{Cli, Command, Output};
use crate::config::{self, Application, Config};
use crate::controller::incluster::snapshot;
use crate::controller::run::{Controller, RunError, Wake};

/// What a command came to.
type Done = Result<ExitCode, Failure>;

/// Exit codes (`INTERFACE.md`).
const ERROR: u8 = 1;
const USAGE: u8 = 64;
const CONFIG: u8 = 65;

/// Why a command failed: what, why, and what to do next.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { code: ERROR, message: message.into(), hint: None }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

/// Returns the command line's definition, for what is made from it: the reference in `docs/`.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Lets the program end quietly when whoever read its output is gone (`holdfast history | head`): `println!` can only panic.
fn end_quietly_with_the_reader() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic.payload_as_str().unwrap_or_default();
        if what.starts_with("failed printing to stdout") && what.contains("Broken pipe") {
            std::process::exit(0);
        }
        before(panic);
    }));
}

/// Runs the command line; the only entry.
pub fn main() -> ExitCode {
    end_quietly_with_the_reader();
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    if called.as_deref().and_then(std::path::Path::file_stem).is_some_and(|name| name == kubectl::NAME) {
        return ended(kubectl::main());
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(&cli);
    let result = dispatch(&cli);
    crate::crash::report();
    ended(result)
}

fn ended(result: Done) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("holdfast: {}", failure.message.trim_end());
            if let Some(hint) = &failure.hint {
                eprintln!("  {hint}");
            }
            ExitCode::from(failure.code)
        }
    }
}

fn log_to_stderr(cli: &Cli) {
    let filter =
        tracing_subscriber::EnvFilter::try_new(&cli.log).unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let quiet = !matches!(cli.command, Command::Run(_));
    // What the library says of each attempt says neither what nor where; whoever asked says it once.
    let few = || tracing_subscriber::EnvFilter::new("error,kube_client=off");
    let filter = if quiet && cli.log == "info" { few() } else { filter };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // No colours: a log is read by other programs, and asking for them on a terminal is a panic without their support built in.
    let builder = builder.with_ansi(false);
    let _ = if cli.log_json { builder.json().try_init() } else { builder.try_init() };
}

fn dispatch(cli: &Cli) -> Done {
    match &cli.command {
        Command::Run(run) => run_controller(cli, run),
        Command::Status(apps) => look::status(cli, apps.app.as_deref()),
        Command::Plan(plan) => look::plan(cli, plan),
        Command::Drift(apps) => look::drift(cli, apps.app.as_deref()),
        Command::History(history) => look::history(cli, history),
        Command::Verify(verify) => look::verify(cli, verify),
        Command::Freeze(freeze) => operate::freeze(cli, freeze),
        Command::Thaw(thaw) => operate::thaw(cli, thaw),
        Command::Approve(approve) => operate::approve(cli, approve),
        Command::Hold(hold) => operate::hold(cli, hold),
        Command::Release(release) => operate::release(cli, release),
        Command::Reanchor(reanchor) => operate::reanchor(cli, reanchor),
        Command::Schema(schema) if schema.crd => {
            Ok(put(&crate::cluster::crd::definition_yaml()).map(|()| ExitCode::SUCCESS)?)
        }
        Command::Schema(_) => print_json(&config::schema()),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "holdfast", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            Ok(clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map(|()| ExitCode::SUCCESS)?)
        }
        Command::Backtest(args) => backtest::run(cli, args),
        Command::Demo(args) => demo::demo(cli, args),
        Command::Init(args) => init::init(cli, args),
        Command::Doctor => doctor::doctor(cli),
    }
}

/// Reads the configuration with its applications: where they are a cluster's, as the controller beside last read them.
fn load(cli: &Cli) -> Result<Config, Failure> {
    let mut config = read(cli)?;
    if let Some(cluster) = &config.controller.cluster {
        config.applications = snapshot::read(&config.controller, cluster);
    }
    Ok(config)
}

fn read(cli: &Cli) -> Result<Config, Failure> {
    config::load(cli.config.as_deref()).map_err(|errors| Failure {
        code: CONFIG,
        message: errors.to_string(),
        hint: None,
    })
}

/// Returns the application that is named, or all.
fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Application>, Failure> {
    let Some(name) = name else { return Ok(config.applications.iter().collect()) };
    config.application(name).map(|app| vec![app]).ok_or_else(|| {
        let known: Vec<&str> = config.applications.iter().map(|app| &*app.name).collect();
        Failure::usage(format!("there is no application {name:?} in the configuration; it has {}", known.join(", ")))
    })
}

fn print_json(value: &impl serde::Serialize) -> Done {
    put(&format!("{}\n", serde_json::to_string_pretty(value)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a text that may be long; whoever closed the pipe has read enough.
fn put(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn style(cli: &Cli) -> text::Style {
    let terminal = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    text::Style { colour: terminal && cli.output == Output::Text }
}

fn run_controller(cli: &Cli, run: &args::Run) -> Done {
    let config = read(cli)?;
    let wake = Arc::new(Wake::default());
    let mut controller = Controller::open(&config, run.pod.as_deref(), &wake).map_err(|error| match error {
        RunError::Lock(error) => {
            Failure::from(error).hint("only one controller may run on a state directory; stop the other one first")
        }
        error => Failure::from(error),
    })?;
    if run.once {
        return Ok(controller.once().map(|()| ExitCode::SUCCESS)?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let signalled = wake.clone();
    runtime.spawn(async move {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = async { match term.as_mut() { Some(term) => { term.recv().await; } None => std::future::pending().await } } => {}
        }
        signalled.shut_down();
    });
    Ok(controller.run().map(|()| ExitCode::SUCCESS)?)
}
