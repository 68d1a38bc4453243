use super::super::edges::Ledger as _;
use super::super::stub::{Bench, Files, files};
use super::*;
use crate::core::state::Approval;

fn changed(count: u32) -> Files {
    let mut all = files(20, 1);
    all.extend(files(count, 2));
    all
}

#[test]
fn a_first_cycle_that_could_not_tell_what_is_desired_has_shown_nothing() {
    let mut bench = Bench::new(files(20, 1), Files::new());
    bench.stub.fetches = false;
    let _ = bench.cycle();
    bench.stub.fetches = true;
    let _ = bench.cycle();
    assert!(bench.stub.wrote.is_empty(), "{:?} was written before its plan was reported", bench.stub.wrote);
    let _ = bench.cycle();
    assert_eq!(bench.stub.wrote.len(), 10);
}

#[test]
fn nothing_converged_while_a_part_could_not_be_read() {
    let mut bench = Bench::at(files(20, 1));
    bench.push("tip", changed(2));
    bench.stub.unread = vec!["f001".to_owned()];
    let _ = bench.cycle();
    assert_eq!(bench.stub.wrote, ["f000"]);
    assert_eq!(bench.state.app.converged, Some(CommitId::new("base")), "f001 is left to do");
    bench.stub.unread.clear();
    for _ in 0..4 {
        let _ = bench.cycle();
    }
    assert_eq!(bench.stub.wrote, ["f000", "f001"]);
    assert_eq!(bench.state.app.converged, Some(CommitId::new("tip")));
}

#[test]
fn another_path_is_approved_once() {
    let mut bench = Bench::at(files(20, 1));
    bench.settings.identity.path = "elsewhere".into();
    bench.push("tip", changed(2));
    let assessment = bench.assess();
    let held = assessment.judgement.latch(LatchName::Plan).expect("another path is held");
    assert_eq!(&*held.latch.reasons[0].code, "configuration");
    let digest = held.latch.digest.expect("it can be approved");
    let at = bench.state.now();
    let approval = Approval { digest, by: "local:ops".into(), via: "local".into(), at, used: false, key: None };
    bench.book.commit(&mut bench.state, &[Fact::Approved { approval }]).unwrap();
    for _ in 0..2 {
        let _ = bench.cycle();
    }
    assert_eq!(bench.stub.wrote.len(), 2);

    bench.push("next", changed(3));
    let _ = bench.cycle();
    assert_eq!(bench.stub.wrote.len(), 3, "what was approved is not held for ever");
}
