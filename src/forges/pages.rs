//! Lists, page by page, with what was read before: a page that did not change is neither sent nor counted against us.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How many bytes of answers are remembered, as they came: those of a few thousand pull requests.
const LARGEST: usize = 32 << 20;

/// No answer above this is remembered: comments are as long as anybody likes.
const LARGEST_PAGE: usize = 4 << 20;

/// One page as it was last read.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) etag: Option<String>,
    pub(super) items: Vec<T>,
    /// Whether there is another one after it.
    pub(super) next: bool,
}

/// The pages that were read, the ones longest known forgotten first.
#[derive(Debug)]
pub(super) struct Pages<T>(Mutex<Known<T>>);

#[derive(Debug)]
struct Known<T> {
    pages: BTreeMap<String, (Arc<Page<T>>, usize)>,
    order: VecDeque<String>,
    bytes: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { pages: BTreeMap::new(), order: VecDeque::new(), bytes: 0 }))
    }
}

impl<T> Pages<T> {
    pub(super) fn get(&self, path: &str) -> Option<Arc<Page<T>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.pages.get(path).map(|(page, _)| page.clone())
    }

    /// Remembers a page that has a tag, by the size of its answer.
    pub(super) fn put(&self, path: &str, page: &Arc<Page<T>>, bytes: usize) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget(path);
        if page.etag.is_none() || bytes > LARGEST_PAGE {
            return;
        }
        while known.bytes + bytes > LARGEST {
            let Some(oldest) = known.order.front().cloned() else { break };
            known.forget(&oldest);
        }
        known.bytes += bytes;
        known.order.push_back(path.to_owned());
        known.pages.insert(path.to_owned(), (page.clone(), bytes));
    }
}

impl<T> Known<T> {
    fn forget(&mut self, path: &str) {
        if let Some((_, bytes)) = self.pages.remove(path) {
            self.bytes -= bytes;
            self.order.retain(|known| known != path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(etag: Option<&str>) -> Arc<Page<u8>> {
        Arc::new(Page { etag: etag.map(str::to_owned), items: vec![1], next: false })
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pages = Pages::default();
        for n in 0..20 {
            pages.put(&format!("/{n}"), &page(Some("x")), LARGEST_PAGE);
        }
        let kept: Vec<u32> = (0..20).filter(|n| pages.get(&format!("/{n}")).is_some()).collect();
        assert_eq!(kept, (12..20).collect::<Vec<u32>>());
        pages.put("/huge", &page(Some("x")), LARGEST_PAGE + 1);
        pages.put("/untagged", &page(None), 1);
        assert!(pages.get("/huge").is_none() && pages.get("/untagged").is_none());
    }

    #[test]
    fn a_page_takes_the_place_of_the_one_before() {
        let pages = Pages::default();
        for _ in 0..100 {
            pages.put("/a", &page(Some("x")), LARGEST_PAGE);
        }
        pages.put("/b", &page(Some("y")), LARGEST_PAGE);
        assert!(pages.get("/a").is_some() && pages.get("/b").is_some());
        pages.put("/a", &page(None), 1);
        assert!(pages.get("/a").is_none(), "an answer without a tag is not the old one");
    }
}
