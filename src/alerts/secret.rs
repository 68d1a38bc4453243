//! The secret that alerts are signed with.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// 64 KiB: far more than any list of secrets, and a bound for a path that names something else.
const LARGEST: u64 = 64 * 1024;

/// Reads the first secret of a file: while one is being replaced, the new one stands first.
///
/// # Errors
/// Those of reading, and a file without a secret.
pub fn newest(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    let secret = text.lines().map(str::trim).find(|line| !line.is_empty());
    secret.map(str::to_owned).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file holds no secret"))
}
