//! A directory together with what is remembered of it between observations and runs.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Config, Directory, OpenError, Reload, StatCache};
use crate::config::DirectoryTarget;
use crate::core::resource::Observed;
use crate::targets::Expect;

/// A directory target with its [`StatCache`], which a file keeps.
#[derive(Debug)]
pub struct Kept {
    directory: Directory,
    cache: StatCache,
    file: PathBuf,
}

impl Kept {
    /// Prepares a directory target, with what `file` still knows of it. The root is not touched.
    ///
    /// # Errors
    /// If the configuration makes no sense by itself.
    pub fn open(target: &DirectoryTarget, file: &Path) -> Result<Self, OpenError> {
        let DirectoryTarget { root, exclusive, reload } = target;
        let reload = reload.iter().map(|reload| Reload {
            matches: reload.matches.to_string(),
            run: reload.run.clone(),
            check: reload.check.clone(),
            timeout: reload.timeout,
        });
        let config = Config { root: root.clone(), exclusive: *exclusive, reload: reload.collect() };
        // A cache that is damaged or of another version is none.
        let cache = StatCache::load(file).unwrap_or_default();
        Ok(Self { directory: Directory::open(config)?, cache, file: file.to_owned() })
    }

    /// Returns the directory itself.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Observes like [`Directory::observe`], and keeps what was learned.
    pub fn observe(&mut self, expect: &[Expect<'_>], now: Timestamp) -> Observed {
        let observed = self.directory.observe(expect, &mut self.cache, now);
        if self.cache.changed()
            && let Err(error) = self.save()
        {
            tracing::debug!(cache = %self.file.display(), %error, "could not keep the stat cache");
        }
        observed
    }

    fn save(&mut self) -> std::io::Result<()> {
        if let Some(dir) = self.file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        self.cache.save(&self.file)
    }
}
