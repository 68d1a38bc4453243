//! The eight acts. Each ends by making sure that what it tells is what happened.

use super::stage::{Played, Stage, ensure};
use super::world::{FILES, address, digest};
use crate::controller::report::Status;
use crate::core::state::LatchName;

/// The file that is edited by hand.
const EDITED: &str = "site-07.conf";
/// The file that is removed while a commit is held.
const HELD: &str = "site-09.conf";
/// The file that is removed while all is frozen.
const FROZEN: &str = "site-11.conf";
/// How many files the poisoned commit changes: `site-00` to `site-39`.
const POISONED: u32 = 40;

/// Plays all acts; the first that goes otherwise ends the story.
pub fn all(stage: &mut Stage) -> Played {
    stage.act("Observe: nothing is written until that is asked for", observe)?;
    stage.act("Converge: the first sync, paced", converge)?;
    stage.act("Somebody edits a file by hand: announced, then healed", drift)?;
    stage.act("A commit that nobody signed: held, while healing goes on", unsigned)?;
    stage.act("Five commits, the third poisoned: named, and nothing written", poison)?;
    stage.act("FREEZE, committed by somebody unknown: all writing stops, drift is still shown", freeze)?;
    stage.act("A signed thaw, an approval by a second person, a paced rollout", approve)?;
    stage.act("The revert: returned at once, without an approval", revert)
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn holds(status: &Status, name: LatchName) -> bool {
    status.latches.iter().any(|latch| latch.name == name)
}

fn observe(stage: &mut Stage) -> Played {
    stage.ops("holdfast run --once")?;
    let status = stage.look()?.ok_or("nothing was reported")?;
    let creates = status.plan.as_ref().map_or(0, |plan| plan.magnitude.creates);
    ensure(creates as usize == FILES, || format!("the plan has {creates} creations"))?;
    ensure(holds(&status, LatchName::Observe), || "OBSERVE does not hold".to_owned())?;
    ensure(stage.world.target().map_err(text)?.is_empty(), || "something was written".to_owned())?;
    stage.status(&["web", "OBSERVE", "to let it write"])?;
    stage
        .tell
        .say(&format!("It fetched, verified, observed and planned: {creates} files to create. None was written."));
    Ok(())
}

fn converge(stage: &mut Stage) -> Played {
    let before = stage.journalled()?;
    stage.ops("sed -i 's/mode: observe/mode: converge/' holdfast.yaml")?;
    stage.run()?;
    stage.until_converged()?;
    let batches = stage.batches(before)?;
    ensure(batches.first().is_some_and(|first| first.starts_with(&[1, 2])), || format!("the batches are {batches:?}"))?;
    ensure(batches.len() >= 5, || format!("it took {} intervals only", batches.len()))?;
    ensure(batches.iter().flatten().sum::<usize>() == FILES, || format!("the batches are {batches:?}"))?;
    stage.status(&["web"])?;
    stage.tell.say(&format!("In batches, one group an interval: {}.", spelled(&batches)));
    stage
        .tell
        .say("The first is one file, each next at most twice the last and only after it is healthy, ten an interval.");
    Ok(())
}

fn drift(stage: &mut Stage) -> Played {
    stage.ops(&format!("sed -i 's/30s/5s/' srv/{EDITED}"))?;
    let edited = stage.world.live(EDITED)?;
    stage.until("the edit is announced", |status| {
        status.drift.resources.iter().any(|drifted| &*drifted.resource == EDITED && &*drifted.class == "fresh")
    })?;
    stage.status(&["web", "drift"])?;
    ensure(stage.world.live(EDITED)? == edited, || "it was healed before its time".to_owned())?;
    stage.tell.say(
        "Nobody knows who did it, so it is announced first, with what keeps it. Nobody keeps it, and after the grace:",
    );
    stage.until("the edit is healed", |status| status.drift.changed == 0 && status.latches.is_empty())?;
    let wanted = stage.world.wanted().map_err(text)?;
    ensure(stage.world.target().map_err(text)? == wanted, || "the file was not healed".to_owned())?;
    stage.ops_shown(&format!("grep timeout srv/{EDITED}"))
}

fn unsigned(stage: &mut Stage) -> Played {
    stage.repo(
        "carol",
        "sed -i 's/30s/60s/' web/site-12.conf && git commit -q --no-gpg-sign -am 'Wait longer' && git push -q",
    )?;
    stage.until_latch(LatchName::Signature)?;
    stage.ops(&format!("rm srv/{HELD}"))?;
    let gone = stage.world.path("srv").join(HELD);
    let status = stage.until("the removed file is back", |status| gone.exists() && status.drift.missing == 0)?;
    ensure(status.writes.healing && !status.writes.promotion, || "healing does not go on".to_owned())?;
    stage.status(&["web", "SIGNATURE"])?;
    ensure(stage.world.live("site-12.conf")?.contains("30s"), || "the unsigned commit was written".to_owned())?;
    stage.tell.say(&format!("site-12.conf still says 30s, and {HELD} is back: only promotion is stopped."));
    stage.repo(
        "bob",
        "git tag -s -m 'It is hers, and fine' holdfast-vouch/$(git rev-parse HEAD) && git push -q --tags",
    )?;
    stage.until_converged()?;
    stage.status(&["web"])?;
    stage.tell.say("An approver's signed tag stands in for the missing signature.");
    Ok(())
}

fn poison(stage: &mut Stage) -> Played {
    for site in ["site-51", "site-52"] {
        tune(stage, site)?;
    }
    stage
        .repo("carol", "sed -i 's|10.0.0.0/8|0.0.0.0/0|' web/site-[0-3]*.conf && git commit -qam 'Tidy up the base'")?;
    let poisoned = stage.quietly("carol", "git rev-parse HEAD")?;
    for site in ["site-53", "site-54"] {
        tune(stage, site)?;
    }
    let before = digest(&stage.world.target().map_err(text)?);
    stage.repo("alice", "git push -q   # with two small commits before it, and two after")?;
    let status = stage.until_latch(LatchName::Plan)?;
    let culprit = status.plan.as_ref().and_then(|plan| plan.culprit.as_ref()).ok_or("no commit was named")?;
    ensure(culprit.commit.as_str() == poisoned, || format!("another commit was named: {}", culprit.commit))?;
    ensure(culprit.magnitude == POISONED, || format!("its magnitude is {}", culprit.magnitude))?;
    stage.intervals(2)?;
    stage.status(&[
        "web",
        "PLAN",
        "commit",
        "40 of",
        "still on",
        "to let it go",
        "holdfast approve",
        "to take it back",
    ])?;
    let after = digest(&stage.world.target().map_err(text)?);
    ensure(before == after, || "something was written".to_owned())?;
    stage
        .tell
        .say("The whole plan was judged before the first write, so not one file of the five commits was written.");
    Ok(())
}

/// Commits a small change of alice's.
fn tune(stage: &mut Stage, site: &str) -> Played {
    stage.quietly("alice", &format!("sed -i 's/30s/45s/' web/{site}.conf && git commit -qam 'Tune {site}'")).map(drop)
}

fn freeze(stage: &mut Stage) -> Played {
    stage.repo("mallory", "touch FREEZE && git add FREEZE && git commit -qm 'Stop, please' && git push -q")?;
    stage.until_latch(LatchName::Freeze)?;
    let before = stage.journalled()?;
    stage.ops(&format!("rm srv/{FROZEN}"))?;
    stage.until("the drift is seen", |status| status.drift.missing == 1)?;
    let status = stage.intervals(2)?;
    ensure(!status.writes.healing && !status.writes.promotion, || "something may be written".to_owned())?;
    stage.status(&["web", "FREEZE", "still on", "drift", "to clear FREEZE"])?;
    ensure(!stage.world.path("srv").join(FROZEN).exists(), || "it was written to while frozen".to_owned())?;
    ensure(stage.batches(before)?.is_empty(), || "something was written".to_owned())?;
    stage.tell.say("Stopping is cheap: no signature is asked for. What is frozen still looks, and says so.");
    Ok(())
}

fn approve(stage: &mut Stage) -> Played {
    stage.repo("alice", "git rm -q FREEZE && git commit -qm 'Go on' && git push -q")?;
    let healed = stage.world.path("srv").join(FROZEN);
    let status = stage.until("it is thawed and healed, and PLAN still holds", |status| {
        let only_plan = status.latches.len() == 1 && holds(status, LatchName::Plan);
        only_plan && status.drift.missing == 0 && healed.exists()
    })?;
    stage.status(&["web", "PLAN"])?;
    stage.tell.say(
        "Going on is dear: the removal had to be signed, and it lifts the freeze, not the halt. bob looks, and agrees:",
    );
    let digest = status.plan.as_ref().map(|plan| plan.digest.to_string()).ok_or("there is no plan")?;
    let digits = digest.trim_start_matches("sha256:");
    let before = stage.journalled()?;
    stage.repo("bob", &format!("git tag -s -m 'carol means it' holdfast-approve/{digits} && git push -q --tags"))?;
    let status = stage.until("the approved rollout goes on", |status| status.rollout.is_some())?;
    let by = status.rollout.and_then(|rollout| rollout.approved_by).ok_or("the rollout was not approved")?;
    ensure(*by == *address("bob"), || format!("{by} approved it"))?;
    stage.until_converged()?;
    let batches = stage.batches(before)?;
    ensure(batches.len() >= 4, || format!("it took {} intervals only", batches.len()))?;
    stage.tell.say(&format!("Exactly that plan, once, and paced all the same: {}.", spelled(&batches)));
    Ok(())
}

fn revert(stage: &mut Stage) -> Played {
    let open = stage.world.target().map_err(text)?;
    let open = open.values().filter(|file| String::from_utf8_lossy(file).contains("0.0.0.0/0")).count();
    ensure(open == POISONED as usize, || format!("{open} files were open to everybody"))?;
    stage.tell.say("It was a mistake after all, and 40 sites are open to everybody.");
    let before = stage.journalled()?;
    stage.repo("carol", "git revert --no-commit HEAD~7.. && git commit -qm 'Back to what worked' && git push -q")?;
    stage.until_converged()?;
    let open = stage.world.target().map_err(text)?;
    let open = open.values().filter(|file| String::from_utf8_lossy(file).contains("0.0.0.0/0")).count();
    ensure(open == 0, || format!("{open} files are still open to everybody"))?;
    let batches = stage.batches(before)?;
    ensure(batches.len() == 1, || format!("it was paced: {batches:?}"))?;
    stage.status(&["web"])?;
    stage.tell.say(&format!(
        "A return to a state that was good is neither halted nor capped: {}, in one interval.",
        spelled(&batches)
    ));
    Ok(())
}

/// Spells batches: commas within an interval, dots between intervals.
fn spelled(batches: &[Vec<usize>]) -> String {
    let group = |group: &Vec<usize>| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    batches.iter().map(group).collect::<Vec<_>>().join(" · ")
}
