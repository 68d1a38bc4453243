//! Keeping a clone usable over thousands of fetches: opening it, tidying what a crash left, few packs, on disk for sure.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::refs::transaction::{Change, PreviousValue, RefEdit, RefLog};

use super::fetch::{REVS, TAGS};
use super::mirror::MirrorError;
use super::remote::{Limits, Network};
use super::transport::hermetic;

/// Opens the clone with none but its own configuration and ours.
///
/// Every use opens it anew: a long-lived handle runs out of slots for packs after some dozens of fetches.
pub(super) fn open(dir: &Path, limits: Option<&Limits>) -> Result<gix::Repository, MirrorError> {
    open_as(dir, limits, true)
        .map_err(|e| MirrorError::Damaged { dir: dir.into(), why: format!("it cannot be opened: {e:#}") })
}

/// Opens a repository of somebody else's, bare or the top of a work tree, for reading.
pub(super) fn open_any(dir: &Path) -> Result<gix::Repository, MirrorError> {
    open_as(dir, None, false).map_err(|error| {
        let why = format!("{error:#}");
        // What the library says of these is written for those who debug it.
        let why = match dir.try_exists() {
            Ok(false) => "there is no such directory".to_owned(),
            Ok(true) if why.contains("does not appear to be a git repository") => "it is none".to_owned(),
            _ => why,
        };
        MirrorError::NoRepository { path: dir.into(), why }
    })
}

fn open_as(dir: &Path, limits: Option<&Limits>, as_is: bool) -> Result<gix::Repository, gix::Error> {
    let default = Limits::default();
    let limit = limits.unwrap_or(&default).allocation();
    let overrides = [
        "gitoxide.userAgent=holdfast".to_owned(),
        "pack.threads=1".into(),
        "core.logAllRefUpdates=false".into(),
        "core.useReplaceRefs=false".into(),
        "core.commitGraph=false".into(),
        "core.multiPackIndex=false".into(),
        format!("gitoxide.objects.allocLimit={limit}"),
        // gix wants a name even where no log is written.
        "gitoxide.committer.nameFallback=holdfast".into(),
        "gitoxide.committer.emailFallback=holdfast@localhost".into(),
    ];
    let options = gix::open::Options::isolated().config_overrides(overrides).open_path_as_is(as_is);
    let mut repo = options.open(dir)?.to_thread_local();
    // Trees are read again and again along a history; a few megabytes save most of the inflating.
    repo.object_cache_size(32 << 20);
    Ok(repo)
}

/// Makes an empty bare clone.
pub(super) fn create(dir: &Path) -> Result<(), MirrorError> {
    std::fs::create_dir_all(dir).map_err(|e| MirrorError::io(dir, &e))?;
    gix::ThreadSafeRepository::init_opts(
        dir,
        gix::create::Kind::Bare,
        gix::create::Options { destination_must_be_empty: Some(true), ..Default::default() },
        gix::open::Options::isolated(),
    )
    .map_err(|e| MirrorError::Damaged { dir: dir.into(), why: format!("it cannot be made: {e:#}") })?;
    Ok(())
}

/// Returns what the names of interest point at: the tracked branch, and the tags that approve and vouch.
pub(super) fn names(repo: &gix::Repository, tracked: &str) -> Result<BTreeMap<String, ObjectId>, MirrorError> {
    let damaged =
        |e: gix::Error| MirrorError::Damaged { dir: repo.path().into(), why: format!("its references: {e:#}") };
    let mut names = BTreeMap::new();
    if let Some(reference) = repo.try_find_reference(tracked).map_err(damaged)?
        && let Some(id) = reference.target().try_id()
    {
        names.insert(tracked.to_owned(), id.to_owned());
    }
    for tags in TAGS {
        for reference in repo.references().map_err(damaged)?.prefixed(tags).map_err(damaged)? {
            let reference =
                reference.map_err(|e| MirrorError::Damaged { dir: repo.path().into(), why: e.to_string() })?;
            if let Some(id) = reference.target().try_id() {
                names.insert(reference.name().as_bstr().to_str_lossy().into_owned(), id.to_owned());
            }
        }
    }
    Ok(names)
}

/// Deletes references.
pub(super) fn forget<'a>(repo: &gix::Repository, names: impl Iterator<Item = &'a str>) -> Result<(), MirrorError> {
    let edits: Vec<RefEdit> = names
        .filter_map(|name| {
            let change = Change::Delete { expected: PreviousValue::Any, log: RefLog::AndReference };
            Some(RefEdit { change, name: name.try_into().ok()?, deref: false })
        })
        .collect();
    if edits.is_empty() {
        return Ok(());
    }
    repo.edit_references(edits)
        .map(drop)
        .map_err(|e| MirrorError::Damaged { dir: repo.path().into(), why: format!("its references: {e:#}") })
}

/// Deletes the names of revisions that were fetched before and are not asked for now: they would keep objects for ever.
pub(super) fn forget_revs(repo: &gix::Repository, keep: &[String]) -> Result<(), MirrorError> {
    let damaged =
        |e: gix::Error| MirrorError::Damaged { dir: repo.path().into(), why: format!("its references: {e:#}") };
    let all = repo.references().map_err(damaged)?;
    let names = all.prefixed(REVS).map_err(damaged)?.flatten().map(|r| r.name().as_bstr().to_str_lossy().into_owned());
    let gone: Vec<String> = names.filter(|name| !keep.contains(name)).collect();
    forget(repo, gone.iter().map(String::as_str))
}

/// Removes what a killed process may have left. Only under the lock: then no such file is anybody's.
pub(super) fn tidy(dir: &Path) -> Result<(), MirrorError> {
    let beside = beside(dir);
    if beside.exists() {
        std::fs::remove_dir_all(&beside).map_err(|e| MirrorError::io(&beside, &e))?;
    }
    let remove = |path: &Path| match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(MirrorError::io(path, &e)),
        _ => Ok(()),
    };
    for path in files(&dir.join("objects/pack"), 0) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("pack-") || name.ends_with(".keep") || name.ends_with(".lock") {
            remove(&path)?;
        }
    }
    let locks = files(dir, 0).into_iter().chain(files(&dir.join("refs"), 16));
    for path in locks.filter(|path| path.extension().is_some_and(|e| e == "lock")) {
        remove(&path)?;
    }
    Ok(())
}

/// Lists files below a directory, at most so deep.
fn files(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            Ok(kind) if kind.is_dir() && depth > 0 => found.extend(files(&entry.path(), depth - 1)),
            _ => {}
        }
    }
    found
}

/// Where a clone is made anew, before it takes the place of the old.
pub(super) fn beside(dir: &Path) -> PathBuf {
    dir.with_extension("new")
}

/// Puts a fetched pack and the names on disk for sure: a pin is a promise that outlives a power cut.
pub(super) fn sync(dir: &Path, pack: &Path) -> Result<(), MirrorError> {
    let index = pack.with_extension("idx");
    sync_files(&[pack.into(), index, dir.join("objects/pack"), dir.join("packed-refs"), dir.into()])
}

/// Puts files and directories on disk for sure; those that are not there are fine.
pub(super) fn sync_files(paths: &[PathBuf]) -> Result<(), MirrorError> {
    for path in paths {
        match File::open(path).and_then(|file| file.sync_all()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(MirrorError::io(path, &e)),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the packs of a clone.
pub(super) fn packs(dir: &Path) -> Vec<PathBuf> {
    let files = files(&dir.join("objects/pack"), 0).into_iter();
    files.filter(|path| path.extension().is_some_and(|e| e == "pack")).collect()
}

/// Says what is wrong with a clone at first sight: constant work per pack, done at every opening.
pub(super) fn unsound(dir: &Path) -> Option<String> {
    if !dir.join("HEAD").is_file() || !dir.join("objects/pack").is_dir() {
        return Some("HEAD or the object directory is missing".into());
    }
    packs(dir).into_iter().find_map(|pack| {
        let name = pack.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match ends_agree(&pack) {
            Ok(true) => None,
            Ok(false) => Some(format!("{name} is cut off, or not the one that its index describes")),
            Err(e) => Some(format!("{name}: {e}")),
        }
    })
}

/// A pack ends in its checksum, and its index names the same one before its own.
fn ends_agree(pack: &Path) -> std::io::Result<bool> {
    let tail = |path: &Path, from_end: i64| -> std::io::Result<[u8; 20]> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-from_end))?;
        let mut bytes = [0; 20];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    Ok(tail(pack, 20)? == tail(&pack.with_extension("idx"), 40)?)
}

/// Packs everything reachable into one, where git is installed.
pub(super) fn repack(dir: &Path, network: &Network, within: Duration) -> Result<(), String> {
    let mut command = Command::new(&network.git);
    hermetic(&mut command);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.arg("--git-dir").arg(dir).args(["-c", "pack.threads=1", "-c", "repack.writeBitmaps=false"]);
    command.args(["-c", "core.multiPackIndex=false", "repack", "-a", "-d", "-q"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let deadline = std::time::Instant::now() + within;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("git repack ended with {status}")),
            Ok(None) if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _killed = child.kill().and_then(|()| child.wait());
                return Err("git repack took too long".into());
            }
            Err(e) => return Err(e.to_string()),
        }
    }
}
