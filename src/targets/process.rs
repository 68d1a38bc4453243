//! Runs a program of the user's: bounded in time, in output kept, and never held up by what it left running.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

/// How much of a program's output is kept: its end, where errors stand.
pub(super) const TAIL: usize = 4096;

/// A program to run once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    /// The program and its arguments; not empty.
    pub(super) argv: &'a [String],
    /// Where it runs.
    pub(super) dir: Option<&'a Path>,
    /// How long it may take.
    pub(super) timeout: Duration,
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    /// With status 0.
    Success,
    /// With another status, or by a signal.
    Failure(ExitStatus),
    /// It was killed, with its process group, after this time.
    TimedOut(Duration),
}

impl fmt::Display for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("succeeded"),
            Self::Failure(status) => write!(f, "failed with {status}"),
            Self::TimedOut(after) => write!(f, "was killed after {after:?}"),
        }
    }
}

impl Command<'_> {
    /// Runs it to its end and returns the end of what it printed, both streams together.
    ///
    /// # Errors
    /// If it cannot be started, or its end cannot be learned.
    pub(super) fn run(self) -> io::Result<(Finish, String)> {
        // A small runtime of its own: the caller's thread may block, and a pipe that a grandchild keeps open must not.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(self.run_async());
        runtime.shutdown_background();
        result
    }

    async fn run_async(self) -> io::Result<(Finish, String)> {
        let deadline = Instant::now() + self.timeout;
        let (reader, writer) = io::pipe()?;
        let mut command = self.prepare()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command holds our ends of the pipe until it is dropped.
        drop(command);
        let group = Group::of(&child);
        let mut reader = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())?;
        let mut tail = Tail::default();
        let finish = tokio::select! {
            status = wait_and_read(&mut child, &mut reader, &mut tail) => match status? {
                status if status.success() => Finish::Success,
                status => Finish::Failure(status),
            },
            () = tokio::time::sleep_until(deadline) => {
                group.kill();
                child.wait().await?;
                Finish::TimedOut(self.timeout)
            }
        };
        // What is in the pipe by now; whoever still holds it is not waited for.
        let mut buffer = [0; TAIL];
        while let Ok(read @ 1..) = reader.try_read(&mut buffer) {
            tail.push(&buffer[..read]);
        }
        Ok((finish, tail.text()))
    }

    pub(super) fn prepare(self) -> io::Result<tokio::process::Command> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| io::Error::other("there is no program to run"))?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).process_group(0).kill_on_drop(true);
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        Ok(command)
    }
}

/// Waits for the program, not for the end of its output, which a grandchild may hold open for ever.
async fn wait_and_read(
    child: &mut tokio::process::Child,
    reader: &mut (impl AsyncRead + Unpin),
    tail: &mut Tail,
) -> io::Result<ExitStatus> {
    let mut buffer = [0; TAIL];
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            read = reader.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(read) => tail.push(&buffer[..read]),
            },
            status = child.wait() => return status,
        }
    }
}

/// The process group that a program leads.
#[derive(Clone, Copy)]
pub(super) struct Group(Option<rustix::process::Pid>);

impl Group {
    /// Names the group of a child that was started with `prepare` and is not yet waited for.
    pub(super) fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }

    /// Kills it whole. Its leader is not yet waited for, so that the number cannot be somebody else's.
    pub(super) fn kill(self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// The end of a stream.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    pub(super) fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        if let Some(excess) = self.bytes.len().checked_sub(TAIL).filter(|excess| *excess > 0) {
            self.bytes.drain(..excess);
            self.cut = true;
        }
    }

    /// Returns it as text that is safe to show.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        format!("{}{}", if self.cut { "…" } else { "" }, text.trim())
    }
}
