//! Why a tree cannot be rendered: where, what, and what to do about it.

use std::sync::Arc;
use std::time::Duration;

use crate::core::resource::Id;
use crate::core::tree::{TreeError, show};
use crate::manifest::{ManifestError, Problem as ManifestProblem};

/// Says why a commit does not render. Nothing of it is used then (`GUARDS.md` 2, RENDER).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("render {path:?}: {problem}")]
pub struct RenderError {
    /// Where, as a path in the repository, spelt as an identity is.
    pub path: Arc<str>,
    /// What is wrong there.
    pub problem: Problem,
}

impl RenderError {
    pub(super) fn at(path: &str, problem: Problem) -> Self {
        Self { path: path.into(), problem }
    }

    /// Tells whether the source path is missing, which core takes as wanting nothing (`GUARDS.md` 8, `empty_desired`).
    pub fn is_path_missing(&self) -> bool {
        self.problem == Problem::PathMissing
    }
}

/// What is wrong, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The source path is not in the commit.
    #[error("the source path is not in this commit; restore it, or change source.path")]
    PathMissing,
    /// The source path names a file or a link.
    #[error("the source path, or a part of it, is not a directory; name the directory in source.path")]
    NotADirectory,
    /// The configured path cannot be one.
    #[error("source.path must be relative to the repository's root, without '..'")]
    BadPath,
    /// There is a submodule.
    #[error("this is a submodule, whose content is not in the repository; commit the files themselves")]
    Submodule,
    /// There is a pointer of Git LFS.
    #[error("this is a Git LFS pointer, whose content is not in the repository; run `git lfs migrate export` for it")]
    LfsPointer,
    /// A file is too large.
    #[error("the file has {size} bytes, over the limit of {cap}; desired state needs no such files")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        cap: u64,
    },
    /// There are too many entries.
    #[error("there are more than {0} files and directories below the source path; split the application")]
    TooMany(usize),
    /// A name that no directory can hold, or that would leave it.
    #[error("a directory cannot hold this name ({0}); rename it")]
    Name(&'static str),
    /// A name that holdfast keeps for its own files in the target.
    #[error(
        "this name is kept for holdfast's own files (`.holdfast`, `.holdfast-tmp-…`); rename it, or move it out of source.path"
    )]
    Reserved,
    /// A link without a target, or with one that no file system takes.
    #[error("the symbolic link's target is empty, too long or has a NUL; remove it")]
    Link,
    /// A program wants too much memory.
    #[error("{name} wanted more memory than the {cap} bytes that it may take; split the application")]
    Memory {
        /// The program.
        name: &'static str,
        /// The limit in bytes.
        cap: u64,
    },
    /// A program prints too much.
    #[error("{name} printed more than {cap} bytes; split the application")]
    Printed {
        /// The program.
        name: &'static str,
        /// The limit in bytes.
        cap: u64,
    },
    /// It took too long.
    #[error("rendering took longer than {} s; split the application", .0.as_secs_f32())]
    Time(Duration),
    /// The commit does not want this resource.
    #[error("this commit does not want it")]
    NotWanted,
    /// A file of manifests has a document that is no object.
    #[error(transparent)]
    Manifest(ManifestError),
    /// An object is where the definition of its kind says that there are none.
    #[error("{0}")]
    Misplaced(ManifestProblem),
    /// Two files declare one object.
    #[error("it declares {id}, which {other} declares too; take it out of one of the two")]
    Twice {
        /// Which object.
        id: Id,
        /// The other file.
        other: Arc<str>,
    },
    /// A symbolic link where a manifest should be.
    #[error("a manifest cannot be a symbolic link; put the file itself there")]
    LinkToManifest,
    /// What a program built has a document that is no object.
    #[error("what it builds is wrong: {0}")]
    Built(ManifestError),
    /// A reference that leads out of the repository, or to nothing in it.
    #[error("{0:?} is not in this repository at this commit; nothing is fetched from elsewhere: put a copy there")]
    Elsewhere(String),
    /// There is no kustomization.
    #[error("there is no kustomization.yaml; name a directory that has one, or set `render: {{ plain: {{}} }}`")]
    NoKustomization,
    /// There is no chart.
    #[error("there is no Chart.yaml; name the chart's directory, or set `render: {{ plain: {{}} }}`")]
    NoChart,
    /// Something that would be executed, or fetched.
    #[error(
        "`{0}` is refused: only fields that neither execute nor fetch anything are known here; render it, commit the result"
    )]
    Executes(String),
    /// The same tree rendered twice differs.
    #[error("rendering it twice differs ({0} is not the same); take out what is random or tells the time")]
    Undetermined(Id),
    /// A program that is needed is not there.
    #[error("{name} cannot be run: {why}; install it ({get}), or say where it is with `program`")]
    ProgramMissing {
        /// Which program.
        name: &'static str,
        /// Why not.
        why: String,
        /// Where to get it.
        get: &'static str,
    },
    /// The machine cannot isolate a program.
    #[error(
        "{0} is not run: this machine lets no program be isolated (user namespaces, `unshare`); allow them, or accept it \
         with `unconfined: true`"
    )]
    Unconfined(&'static str),
    /// A program failed.
    #[error("{0}")]
    Program(String),
    /// An object is encrypted, and nothing says how to decrypt it.
    #[error("{0} is encrypted with SOPS; say `sops: {{ ageKeyFile: … }}` under `render`")]
    Encrypted(Id),
    /// An object could not be read.
    #[error(transparent)]
    Tree(TreeError),
}

impl Problem {
    /// Returns the variant's name, for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PathMissing => "path_missing",
            Self::NotADirectory => "not_a_directory",
            Self::BadPath => "bad_path",
            Self::Submodule => "submodule",
            Self::LfsPointer => "lfs_pointer",
            Self::TooLarge { .. } | Self::Printed { .. } | Self::Memory { .. } => "too_large",
            Self::TooMany(_) => "too_many",
            Self::Name(_) => "name",
            Self::Reserved => "reserved",
            Self::Link => "link",
            Self::Time(_) => "time",
            Self::NotWanted => "not_wanted",
            Self::Manifest(_) => "manifest",
            Self::Misplaced(_) => "misplaced",
            Self::Twice { .. } => "twice",
            Self::LinkToManifest => "link_to_manifest",
            Self::Built(_) => "built",
            Self::Elsewhere(_) => "elsewhere",
            Self::NoKustomization => "no_kustomization",
            Self::NoChart => "no_chart",
            Self::Executes(_) => "executes",
            Self::Undetermined(_) => "undetermined",
            Self::ProgramMissing { .. } => "program_missing",
            Self::Unconfined(_) => "unconfined",
            Self::Program(_) => "program",
            Self::Encrypted(_) => "encrypted",
            Self::Tree(_) => "tree",
        }
    }
}

impl From<TreeError> for Problem {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::TooLarge { oid: _, size, cap } => Self::TooLarge { size, cap },
            other => Self::Tree(other),
        }
    }
}

/// What ends a walk over trees: something wrong at a place, or a tree that cannot be read.
pub(super) enum Fail {
    At(RenderError),
    Tree(TreeError),
}

impl Fail {
    /// Says where: at the source path, if a tree cannot be read.
    pub(super) fn at(self, source: &[u8]) -> RenderError {
        match self {
            Self::At(error) => error,
            Self::Tree(error) => RenderError { path: show(source), problem: error.into() },
        }
    }
}

impl From<TreeError> for Fail {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}
