//! Reading for people.

use super::*;

#[test]
fn only_regular_files_of_a_bearable_size_are_read() {
    let fixture = Fixture::new();
    fixture.put("d/file", "text");
    fixture.link("link", "d/file");
    fixture.link("out", "../outside");
    let fifo = fixture.root.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let directory = fixture.directory();
    let read = |path: &str, cap| directory.read(&Id::new(path), cap);
    assert_eq!(read("d/file", 4), Some(b"text".to_vec()));
    assert_eq!(read("d/file", 3), None);
    for path in ["fifo", "link", "d", "none", "out/secret", "../outside/secret", ""] {
        assert_eq!(read(path, 1000), None, "{path}");
    }
}
