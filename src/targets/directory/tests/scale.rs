//! Many files: the order of what is seen by several threads, and what a steady cycle costs, counted.

use super::*;

/// Files in 200 directories, and a thousand in the root.
fn many(fixture: &Fixture) -> Vec<Id> {
    let mut ids = Vec::new();
    for n in 0..20_000 {
        let path = if n % 20 == 0 { format!("file-{n}") } else { format!("dir-{}/sub/file-{n}", n % 200) };
        fixture.put(&path, format!("content {n}"));
        ids.push(Id::new(path));
    }
    ids.sort();
    ids
}

#[test]
fn twenty_thousand_files_are_seen_in_order_and_known_the_next_time() {
    let fixture = Fixture::new();
    let ids = many(&fixture);
    let directory = fixture.with(true, vec![]);
    let mut cache = StatCache::new();
    let expect: Vec<Expect<'_>> = ids.iter().map(Expect::new).collect();
    // A minute from now, so that nothing counts as racy.
    let now = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let first = directory.observe(&expect, &mut cache, now);
    assert_eq!(first.failure, None);
    let seen: Vec<&Id> = first.seen.iter().map(|(id, _)| id).collect();
    assert_eq!(seen, ids.iter().collect::<Vec<_>>());
    for (id, live) in &first.seen {
        let n = id.as_str().rsplit('-').next().unwrap();
        assert_eq!(live.here().unwrap().digest, file_digest(&format!("content {n}")), "{id}");
    }
    assert_eq!(cache.len(), ids.len());

    let path = fixture.temp.path().join("outside/cache");
    cache.save(&path).unwrap();
    let mut cache = StatCache::load(&path).unwrap();
    let again = directory.observe(&expect, &mut cache, now);
    assert_eq!(again, first);
    assert!(!cache.changed(), "nothing was read again");
    // 80 bytes each, so that a hundred thousand take eight megabytes.
    assert!(fs::metadata(&path).unwrap().len() < 81 * 20_000);

    // What is gone is gone, wherever the threads' shares begin and end.
    for n in (0..20_000).step_by(40) {
        fs::remove_file(fixture.root.join(format!("file-{n}"))).unwrap();
    }
    let last = directory.observe(&expect, &mut cache, now);
    assert_eq!(last.seen.iter().filter(|(_, live)| *live == Live::Gone).count(), 500);
    assert_eq!(last.seen.len(), ids.len());
}
