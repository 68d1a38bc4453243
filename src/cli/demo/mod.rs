//! `demo`: the whole story in a temporary directory, with real Git, real signatures and a real target.
//!
//! Nothing is pretended: people's commands are run by a shell, the controller is this program's own executable, and each act
//! looks at files and at `status` before the next begins. An act in which something else happened fails the command.

mod acts;
mod stage;
mod tell;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{self, Cli, Output};
use super::{Done, ERROR, Failure, print_json, style};

use self::stage::Stage;
use self::tell::Teller;
use self::world::World;

/// `demo`
pub(super) fn demo(cli: &Cli, args: &args::Demo) -> Done {
    let begun = std::time::Instant::now();
    world::check_programs()?;
    let world = World::new()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let flag = interrupted.clone();
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
    });
    let mut stage = Stage::new(world, Teller::new(cli.output == Output::Text, style(cli)), interrupted.clone());
    stage.tell.opening();
    let failed = acts::all(&mut stage).err();
    stage.end();
    if interrupted.load(Ordering::Relaxed) {
        return Err(Failure::new("interrupted; nothing is left of it"));
    }
    let kept = args.keep || failed.is_some();
    let dir = stage.world.dir().to_owned();
    if kept {
        stage.world.keep();
    }
    let kept = kept.then_some(dir);
    stage.tell.closing(begun.elapsed(), failed.as_deref(), kept.as_deref());
    if cli.output == Output::Json {
        print_json(&stage.tell.report(kept.as_deref()))?;
    }
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => {
            let kept = kept.map(|dir| dir.display().to_string()).unwrap_or_default();
            Err(Failure { code: ERROR, message: why, hint: Some(format!("everything is kept in {kept}")) })
        }
    }
}
