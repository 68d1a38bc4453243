//! Prints a table of what holdfast costs, each line beside what people would otherwise do, measured in the same run.
//!
//! `cargo bench` runs everything; `cargo bench -- steady fetch` runs the named lines. Times differ between machines and
//! moments; only the ratios mean something, and no test asserts any of them.

mod cluster;
mod core;
mod world;

use std::process::Command;
use std::time::{Duration, Instant};

use world::World;

/// One line of the table.
struct Row {
    what: String,
    ours: String,
    theirs: String,
    ratio: Option<f64>,
    aim: &'static str,
}

impl Row {
    /// A comparison of two medians.
    fn compared(what: &str, ours: Duration, against: &str, theirs: Duration, aim: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            ours: show(ours),
            theirs: format!("{against}: {}", show(theirs)),
            ratio: Some(ours.as_secs_f64() / theirs.as_secs_f64()),
            aim,
        }
    }

    /// A comparison of two numbers.
    fn counted(what: &str, ours: f64, theirs: &str, ratio: f64, aim: &'static str) -> Self {
        let (what, theirs) = (what.to_owned(), theirs.to_owned());
        Self { what, ours: format!("{ours:.2}"), theirs, ratio: Some(ratio), aim }
    }

    fn alone(what: &str, ours: String, aim: &'static str) -> Self {
        Self { what: what.to_owned(), ours, theirs: String::new(), ratio: None, aim }
    }
}

fn show(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let _ = std::hint::black_box(work());
    began.elapsed()
}

/// A name, and what measures it.
type Bench = (&'static str, fn() -> Vec<Row>);

const BENCHES: [Bench; 7] = [
    ("core", core::compare_and_judge),
    ("fetch", fetch),
    ("verify", verify),
    ("commits", commits),
    ("sync", first_sync),
    ("steady", steady),
    ("cluster", cluster::objects_on_a_server),
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("| what | holdfast | beside it | ratio | aim |");
    println!("|---|---|---|---|---|");
    for (name, bench) in BENCHES {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        for row in bench() {
            let ratio = row
                .ratio
                .map(|ratio| if ratio < 0.01 { format!("{ratio:.4}") } else { format!("{ratio:.2}") })
                .unwrap_or_default();
            println!("| {} | {} | {} | {ratio} | {} |", row.what, row.ours, row.theirs, row.aim);
        }
    }
}

/// A fetch of one new commit into a long-lived clone, beside `git fetch`.
fn fetch() -> Vec<Row> {
    let world = World::new();
    world.fill(1_000);
    world.commit("all files", true);
    world.push();
    let url = world.origin().to_string_lossy().into_owned();
    let remote = holdfast::git::Remote::new(url.clone(), "main".to_owned());
    let mirror = holdfast::git::Mirror::open(&world.path("mirror")).expect("the mirror opens");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let ours = || mirror.fetch(&remote, &holdfast::git::Wanted::default(), &stop).expect("holdfast fetches");
    world.git_at(&world.path(""), &["clone", "-q", "--bare", &url, "theirs"]);
    let theirs = world.path("theirs");
    let fetch = || world.git_at(&theirs, &["fetch", "-q", "origin", "+refs/heads/*:refs/heads/*"]);
    ours();
    fetch();
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for round in 0..20 {
        world.change(round, "fetched");
        world.commit("one more", false);
        world.push();
        // In turns, so that neither always finds what the other has just warmed.
        if round % 2 == 0 {
            of_ours.push(timed(ours));
            of_theirs.push(timed(fetch));
        } else {
            of_theirs.push(timed(fetch));
            of_ours.push(timed(ours));
        }
    }
    vec![Row::compared("fetch of one commit", median(of_ours), "git fetch", median(of_theirs), "at most 1.2")]
}

/// The verdict on 1,000 signed commits, beside `git log --show-signature`.
fn verify() -> Vec<Row> {
    const COMMITS: usize = 1_000;
    let world = World::new();
    world.fill(100);
    world.commit("all files", true);
    let base = world.head();
    for round in 0..COMMITS {
        world.change(round % 100, &format!("round {round}"));
        world.commit("a change", true);
    }
    world.push();
    let config = world.configure("observe", "10m", &[]);
    let range = format!("{base}..{}", world.head());
    // The first one fetches.
    world.holdfast(&config, &["verify", "web", &range]);
    let ours = (0..3).map(|_| timed(|| world.holdfast(&config, &["verify", "web", &range]))).collect();
    let theirs = (0..3).map(|_| timed(|| world.git(&["log", "--show-signature", "--format=%H", &range]))).collect();
    vec![Row::compared("verify 1,000 commits", median(ours), "git log --show-signature", median(theirs), "")]
}

/// What each of 1,000 commits over 10,000 files changes.
fn commits() -> Vec<Row> {
    let world = World::new();
    world.fill(10_000);
    world.commit("all files", false);
    for round in 0..1_000 {
        world.change((round * 37) % 10_000, &format!("round {round}"));
        world.commit("a change", false);
    }
    let work = world.path("work").to_string_lossy().into_owned();
    let backtest = || world.run_holdfast(&["backtest", "--repo", &work, "--path", ".", "--last", "1000", "-o", "json"]);
    let ours = (0..3).map(|_| timed(backtest)).collect();
    let theirs = (0..3).map(|_| timed(|| world.git(&["log", "--raw", "--no-renames", "--format=%H"]))).collect();
    vec![Row::compared("1,000 commits over 10,000 files", median(ours), "git log --raw", median(theirs), "under 5 s")]
}

/// A first sync of 10,000 files, durable, beside `rsync -a --fsync`.
fn first_sync() -> Vec<Row> {
    let world = World::new();
    world.fill(10_000);
    world.commit("all files", true);
    world.push();
    let config = world.configure("converge", "1s", &["writeCap: disabled"]);
    world.holdfast(&config, &["run", "--once"]);
    std::thread::sleep(Duration::from_millis(1_100));
    let ours = timed(|| world.holdfast(&config, &["run", "--once"]));
    assert_eq!(world.count("root"), 10_000, "everything is there");
    let (from, to) = (format!("{}/files", world.path("work").display()), world.path("copied"));
    let rsync = || Command::new("rsync").args(["-a", "--fsync", &from]).arg(&to).status();
    if Command::new("rsync").arg("--version").output().is_err() {
        return vec![Row::alone("first sync of 10,000 files", format!("{} (rsync is not installed)", show(ours)), "")];
    }
    std::fs::create_dir(&to).expect("the other root is made");
    let theirs = timed(|| assert!(rsync().is_ok_and(|status| status.success()), "rsync copies"));
    vec![Row::compared("first sync of 10,000 files", ours, "rsync -a --fsync", theirs, "")]
}

/// A cycle over 100,000 files in which nothing changed, beside `git status`; and the memory of the process.
fn steady() -> Vec<Row> {
    const FILES: usize = 100_000;
    let world = World::new();
    world.fill(FILES);
    world.commit("all files", true);
    world.push();
    world.copy_to_root();
    let config = world.configure("converge", "1s", &["changeHalt: disabled"]);
    let mut running = world.start(&config);
    let mut cycles = std::collections::BTreeMap::new();
    let began = Instant::now();
    let mut ever = None;
    // What is already as desired is accepted in the first cycles, which write to the ledger; they do not count.
    while cycles.len() < 14 {
        if cycles.len() == 4 {
            ever.get_or_insert_with(|| running.forget_peak());
        }
        assert!(began.elapsed() < Duration::from_secs(600), "the controller cycles");
        std::thread::sleep(Duration::from_millis(300));
        if let Some((started, seconds, inventory)) = world.last_cycle(&config)
            && inventory == FILES as u64
        {
            cycles.insert(started, Duration::from_secs_f64(seconds));
        }
    }
    let (peak, now) = running.memory();
    let ever = ever.unwrap_or_default().max(peak);
    running.stop();
    let ours = median(cycles.into_values().skip(4).collect());
    world.git(&["status"]);
    let tracked = median((0..5).map(|_| timed(|| world.git(&["status", "--porcelain", "-uno"]))).collect());
    let whole = median((0..5).map(|_| timed(|| world.git(&["status", "--porcelain"]))).collect());
    vec![
        Row::compared("a steady cycle over 100,000 files", ours, "git status", whole, "at most 1"),
        Row::compared("the same", ours, "git status -uno", tracked, ""),
        Row::alone("memory at 100,000 files", format!("{now} MB, at most {peak} MB"), "under 100 MB"),
        Row::alone("the same, the first cycles included", format!("at most {ever} MB"), ""),
    ]
}
