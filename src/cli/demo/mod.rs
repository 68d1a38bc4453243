//! `demo`: the whole story in a temporary directory, with real Git, real signatures and a real target.
//!
//! Nothing is pretended: people's commands are run by a shell, the controller is this program's own executable, and each act
//! looks at files and at `status` before the next begins. An act in which something else happened fails the command.

mod acts;
mod stage;
mod tell;
mod world;

use std::process::ExitCode;

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
    let mut stage = Stage::new(world, Teller::new(cli.output == Output::Text, style(cli)));
    stage.tell.opening();
    let failed = acts::all(&mut stage).err();
    stage.end();
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
