//! Runs a program: bounded in time, in output kept, and never held up by what it left running. Shared by all edges that do.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::Child;

/// How much of a program's output is kept for people: its end, where errors stand.
const TAIL: usize = 4096;
/// How much is kept of its beginning, where a crash says what it is before it says where.
const HEAD: usize = 256;
/// How much is read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;
/// How long a killed program is waited for.
const DYING: Duration = Duration::from_secs(5);

/// A program to run once.
#[derive(Debug)]
pub struct Command<'a, S = String> {
    /// The program and its arguments; not empty.
    pub argv: &'a [S],
    /// Where it runs.
    pub dir: Option<&'a Path>,
    /// How long it may take.
    pub timeout: Duration,
    /// Its whole environment; that of this process if there is none.
    pub environment: Option<&'a [(&'a str, OsString)]>,
    /// What it may take of the machine.
    pub bounds: Bounds,
}

/// What a program may take of the machine; nothing is taken from it by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Bytes of address space.
    pub memory: Option<u64>,
    /// Time on a processor.
    pub cpu: Option<Duration>,
}

impl Bounds {
    /// Sets the bounds of a child that has just begun; what it starts inherits them.
    fn set(self, child: &Child) -> io::Result<()> {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let limit = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
        if let Some(memory) = self.memory {
            prlimit(pid, Resource::As, limit(memory))?;
        }
        if let Some(cpu) = self.cpu {
            prlimit(pid, Resource::Cpu, limit(cpu.as_secs().max(1)))?;
        }
        Ok(())
    }
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// With status 0.
    Success,
    /// With another status, or by a signal.
    Failure(ExitStatus),
    /// It was killed, with its process group, after this time.
    TimedOut(Duration),
    /// It was killed, with its process group, because nobody wanted to hear more.
    Stopped,
}

impl fmt::Display for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("succeeded"),
            Self::Failure(status) => write!(f, "failed with {status}"),
            Self::TimedOut(after) => write!(f, "was killed after {after:?}"),
            Self::Stopped => f.write_str("was stopped"),
        }
    }
}

impl<S: AsRef<OsStr>> Command<'_, S> {
    /// Runs it to its end and returns the end of what it printed, both streams together.
    ///
    /// # Errors
    /// If it cannot be started, or its end cannot be learned.
    pub fn run(self) -> io::Result<(Finish, String)> {
        let mut tail = Tail::default();
        let finish = block_on(self.drive(None, &mut |bytes| {
            tail.push(bytes);
            true
        }))?;
        Ok((finish.0, tail.text()))
    }

    /// Runs it to its end, gives it `input`, hands what it prints to `hear` until that answers no, and returns the end
    /// of what it printed on standard error.
    ///
    /// # Errors
    /// If it cannot be started, or its end cannot be learned.
    pub fn talk(self, input: &[u8], hear: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<(Finish, String)> {
        let (finish, tail) = block_on(self.drive(Some(input), hear))?;
        Ok((finish, tail.text()))
    }

    /// With input, standard error is kept apart; without, it is heard as well.
    async fn drive(self, input: Option<&[u8]>, hear: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<(Finish, Tail)> {
        let (out, out_writer) = io::pipe()?;
        let (err, err_writer) = match input {
            Some(_) => io::pipe().map(|(reader, writer)| (Some(reader), writer))?,
            None => (None, out_writer.try_clone()?),
        };
        let (stdin, to) = match input {
            Some(_) => io::pipe().map(|(reader, writer)| (Stdio::from(reader), Some(writer)))?,
            None => (Stdio::null(), None),
        };
        let mut child = self.spawn(stdin, out_writer.into(), err_writer.into())?;
        let group = Group::of(&child);
        let mut streams = Streams {
            out: Stream::open(Some(out))?,
            err: Stream::open(err)?,
            to: to.map(|to| Sender::from_owned_fd(to.into())).transpose()?,
            input: input.unwrap_or_default(),
            tail: Tail::default(),
        };
        let ended = tokio::time::timeout(self.timeout, streams.attend(&mut child, hear)).await;
        let finish = match ended {
            Ok(Ok(Some(status))) if status.success() => Finish::Success,
            Ok(Ok(Some(status))) => Finish::Failure(status),
            Ok(Err(error)) => {
                group.kill();
                return Err(error);
            }
            Ok(Ok(None)) | Err(_) => {
                group.kill();
                // What hangs in the kernel does not even die; it is left to itself.
                if let Ok(waited) = tokio::time::timeout(DYING, child.wait()).await {
                    waited?;
                }
                if ended.is_err() { Finish::TimedOut(self.timeout) } else { Finish::Stopped }
            }
        };
        // What is in the pipes by now; whoever still holds them open is not waited for.
        streams.drain(hear);
        Ok((finish, streams.tail))
    }

    fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> io::Result<Child> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| io::Error::other("there is no program to run"))?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(stderr);
        command.process_group(0).kill_on_drop(true);
        if let Some(dir) = self.dir {
            command.current_dir(dir);
        }
        if let Some(environment) = self.environment {
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        }
        // Our copies of its ends of the pipes go with the command.
        let child = command.spawn()?;
        if let Err(error) = self.bounds.set(&child)
            && child.id().is_some()
        {
            Group::of(&child).kill();
            return Err(error);
        }
        Ok(child)
    }
}

/// Runs on a small runtime of its own: the caller's thread may block, and a pipe that somebody keeps open must not.
fn block_on<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// Everything that goes to a program and comes from it.
struct Streams<'a> {
    out: Stream,
    err: Stream,
    to: Option<Sender>,
    input: &'a [u8],
    tail: Tail,
}

impl Streams<'_> {
    /// Serves all streams until the program has ended, not until they have: a grandchild may hold them for ever.
    /// `None` if nobody wants to hear more.
    async fn attend(
        &mut self,
        child: &mut Child,
        hear: &mut dyn FnMut(&[u8]) -> bool,
    ) -> io::Result<Option<ExitStatus>> {
        loop {
            tokio::select! {
                biased;
                bytes = self.out.read() => if !hear(bytes) { return Ok(None) },
                bytes = self.err.read() => self.tail.push(bytes),
                written = write(self.to.as_mut(), self.input) => match written {
                    Ok(written) if written < self.input.len() => self.input = &self.input[written..],
                    // All was said, or it does not listen, which is its own business.
                    Ok(_) | Err(_) => self.to = None,
                },
                status = child.wait() => return status.map(Some),
            }
        }
    }

    fn drain(&mut self, hear: &mut dyn FnMut(&[u8]) -> bool) {
        while let Some(bytes) = self.out.read_now() {
            if !hear(bytes) {
                break;
            }
        }
        while let Some(bytes) = self.err.read_now() {
            self.tail.push(bytes);
        }
    }
}

async fn write(to: Option<&mut Sender>, input: &[u8]) -> io::Result<usize> {
    match to {
        Some(_) if input.is_empty() => Ok(0),
        Some(to) => to.write(input).await,
        None => std::future::pending().await,
    }
}

/// What comes from a program; after its end nothing ever comes.
struct Stream {
    from: Option<Receiver>,
    buffer: Vec<u8>,
}

impl Stream {
    fn open(from: Option<io::PipeReader>) -> io::Result<Self> {
        let from = from.map(|from| Receiver::from_owned_fd(from.into())).transpose()?;
        Ok(Self { from, buffer: vec![0; CHUNK] })
    }

    async fn read(&mut self) -> &[u8] {
        let read = match &mut self.from {
            Some(from) => from.read(&mut self.buffer).await.unwrap_or(0),
            None => std::future::pending().await,
        };
        if read == 0 {
            self.from = None;
        }
        &self.buffer[..read]
    }

    fn read_now(&mut self) -> Option<&[u8]> {
        match self.from.as_ref()?.try_read(&mut self.buffer) {
            Ok(read @ 1..) => Some(&self.buffer[..read]),
            Ok(_) | Err(_) => None,
        }
    }
}

/// The process group that a program leads.
#[derive(Clone, Copy)]
struct Group(Option<rustix::process::Pid>);

impl Group {
    /// Names the group of a child that is not yet waited for.
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }

    /// Kills it whole. Its leader is not yet waited for, so that the number cannot be somebody else's.
    fn kill(self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// The end of a stream, and how it began.
#[derive(Default)]
struct Tail {
    head: Vec<u8>,
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, more: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len()).min(more.len());
        self.head.extend_from_slice(&more[..room]);
        self.bytes.extend_from_slice(more);
        if let Some(excess) = self.bytes.len().checked_sub(TAIL).filter(|excess| *excess > 0) {
            self.bytes.drain(..excess);
            self.cut = true;
        }
    }

    /// Returns it as text that is safe to show.
    fn text(&self) -> String {
        let safe = |bytes: &[u8]| -> String {
            let text = String::from_utf8_lossy(bytes);
            text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
        };
        if self.cut {
            format!("{}…\n…{}", safe(&self.head).trim(), safe(&self.bytes).trim())
        } else {
            safe(&self.bytes).trim().to_owned()
        }
    }
}
