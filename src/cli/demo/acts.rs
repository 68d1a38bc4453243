//! The eight acts. Each ends by making sure that what it tells is what happened.

use super::stage::{Played, Stage, ensure};
use super::world::{FILES, digest};
use crate::core::state::LatchName;

/// Plays all acts; the first that goes otherwise ends the story.
pub fn all(stage: &mut Stage) -> Played {
    stage.act("Observe: nothing is written until it is asked for", observe)?;
    stage.act("Converge: the first sync, paced", converge)?;
    stage.act("Somebody edits by hand: announced, then healed", drift)?;
    stage.act("A commit that nobody signed: held, while healing goes on", unsigned)?;
    stage.act("Five commits, the third poisoned: named, and nothing written", poison)?;
    stage.act("FREEZE, committed by anybody: all writing stops, drift is still shown", freeze)?;
    stage.act("A verified thaw, an approval by a second person, a paced rollout", approve)?;
    stage.act("The revert: returned at once", revert)
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn observe(stage: &mut Stage) -> Played {
    stage.host("holdfast run --once")?;
    stage.show_status(|_| true)?;
    let status = stage.look()?.ok_or("nothing was reported")?;
    let creates = status.plan.as_ref().map_or(0, |plan| plan.magnitude.creates);
    ensure(creates as usize == FILES, format!("the plan has {creates} creations"))?;
    ensure(status.latches.iter().any(|latch| latch.name == LatchName::Observe), "OBSERVE does not hold")?;
    ensure(stage.world.target().map_err(text)?.is_empty(), "something was written")?;
    stage.tell.say(&format!("It would create {creates} files, and has written none."));
    Ok(())
}

fn converge(stage: &mut Stage) -> Played {
    stage.host("sed -i 's/mode: observe/mode: converge/' holdfast.yaml")?;
    stage.run()?;
    stage.until_converged()?;
    stage.show_status(|_| true)
}

fn drift(stage: &mut Stage) -> Played {
    stage.host("sed -i 's/30s/5s/' srv/site-07.conf")?;
    let edited = std::fs::read(stage.world.path("srv/site-07.conf")).map_err(text)?;
    stage.until("the edit is announced", |status| {
        status.drift.resources.iter().any(|drifted| &*drifted.resource == "site-07.conf" && &*drifted.class == "fresh")
    })?;
    stage.show_status(|_| true)?;
    let now = std::fs::read(stage.world.path("srv/site-07.conf")).map_err(text)?;
    ensure(now == edited, "it was healed before its time")?;
    stage.until("the edit is healed", |status| status.drift.changed == 0 && status.latches.is_empty())?;
    let wanted = stage.world.wanted().map_err(text)?;
    ensure(stage.world.target().map_err(text)? == wanted, "the file was not healed")?;
    stage.tell.say("After the grace it was put back.");
    Ok(())
}

fn unsigned(stage: &mut Stage) -> Played {
    stage.repo(
        "carol",
        "sed -i 's/30s/60s/' web/site-12.conf && git commit -q --no-gpg-sign -am 'Wait longer' && git push -q",
    )?;
    stage.until_latch(LatchName::Signature)?;
    stage.host("rm srv/site-09.conf")?;
    let gone = stage.world.path("srv/site-09.conf");
    stage.until("the file is back", |_| gone.exists())?;
    stage.show_status(|_| true)?;
    let held = std::fs::read_to_string(stage.world.path("srv/site-12.conf")).map_err(text)?;
    ensure(held.contains("30s"), "the unsigned commit was written")?;
    stage.repo("bob", "git tag -s -m 'Read, and fine' holdfast-vouch/$(git rev-parse HEAD) && git push -q --tags")?;
    stage.until_converged()?;
    Ok(())
}

fn poison(stage: &mut Stage) -> Played {
    let good = ["site-51 45s", "site-52 20s", "", "site-53 15s", "site-54 90s"];
    let mut poisoned = String::new();
    for change in good {
        match change.split_once(' ') {
            Some((site, timeout)) => {
                let script = format!("sed -i 's/30s/{timeout}/' web/{site}.conf && git commit -qam 'Tune {site}'");
                stage.quietly("alice", &script)?;
            }
            None => {
                stage.repo(
                    "carol",
                    "sed -i 's|10.0.0.0/8|0.0.0.0/0|' web/site-[0-3]*.conf && git commit -qam 'Tidy up the base'",
                )?;
                poisoned = stage.quietly("carol", "git rev-parse HEAD")?;
            }
        }
    }
    let before = digest(&stage.world.target().map_err(text)?);
    stage.repo("alice", "git push -q     # five commits")?;
    let status = stage.until_latch(LatchName::Plan)?;
    let culprit = status.plan.as_ref().and_then(|plan| plan.culprit.as_ref());
    ensure(culprit.is_some_and(|commit| commit.commit.as_str() == poisoned), "another commit was named")?;
    stage.intervals(2)?;
    stage.show_status(|_| true)?;
    let after = digest(&stage.world.target().map_err(text)?);
    ensure(before == after, "something was written")
}

fn freeze(stage: &mut Stage) -> Played {
    stage.repo(
        "mallory",
        "touch FREEZE && git add FREEZE && git commit -qm 'Stop, something is wrong' && git push -q",
    )?;
    stage.until_latch(LatchName::Freeze)?;
    stage.host("rm srv/site-11.conf")?;
    stage.until("the drift is seen", |status| status.drift.missing == 1)?;
    stage.intervals(2)?;
    stage.show_status(|_| true)?;
    ensure(!stage.world.path("srv/site-11.conf").exists(), "it was written to while frozen")
}

fn approve(stage: &mut Stage) -> Played {
    stage.repo("alice", "git rm -q FREEZE && git commit -qm 'Go on' && git push -q")?;
    let gone = stage.world.path("srv/site-11.conf");
    let status = stage.until("thawed, healed, and PLAN still holds", |status| {
        status.latches.iter().all(|latch| latch.name == LatchName::Plan) && !status.latches.is_empty() && gone.exists()
    })?;
    let digest = status.plan.as_ref().map(|plan| plan.digest.to_string()).ok_or("there is no plan")?;
    let digits = digest.trim_start_matches("sha256:");
    stage.repo("bob", &format!("git tag -s -m 'carol says so' holdfast-approve/{digits} && git push -q --tags"))?;
    stage.until_converged()?;
    stage.show_status(|_| true)
}

fn revert(stage: &mut Stage) -> Played {
    let good = stage.quietly("carol", "git rev-parse HEAD~7")?;
    stage.repo(
        "carol",
        &format!("git revert --no-commit {good}.. && git commit -qm 'Back to what worked' && git push -q"),
    )?;
    stage.until_converged()?;
    stage.show_status(|_| true)
}
