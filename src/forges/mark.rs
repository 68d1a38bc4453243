//! How something that we wrote is known again: a comment of HTML at its end, which nobody sees.

use std::fmt;

/// Names one notice: what kind it is, and of which application. Its text is `<!-- holdfast:KIND:APP -->`.
///
/// It counts only in what we wrote ourselves; anybody can copy it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mark(String);

impl Mark {
    /// Makes a mark; characters other than letters, digits and `._/-` become `_`, so that none can end the comment.
    pub fn new(kind: &str, app: &str) -> Self {
        let safe = |text: &str| -> String {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
            text.chars().map(|c| if plain(c) { c } else { '_' }).collect()
        };
        Self(format!("<!-- holdfast:{}:{} -->", safe(kind), safe(app)))
    }

    /// Tells whether a body ends in this mark.
    pub fn is_on(&self, body: &str) -> bool {
        body.trim_end().ends_with(&self.0)
    }

    /// Returns a body with this mark at its end, cut so that the whole has at most so many characters.
    pub(super) fn on(&self, body: &str, limit: usize) -> String {
        const CUT: &str = "\n\n… (cut here: it is longer than the service takes)";
        let body = body.trim_end();
        let room = limit.saturating_sub(self.0.chars().count() + 2);
        if body.chars().count() <= room {
            return format!("{body}\n\n{}", self.0);
        }
        let kept: String = body.chars().take(room.saturating_sub(CUT.chars().count())).collect();
        format!("{kept}{CUT}\n\n{}", self.0)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_at_the_end_and_nowhere_else() {
        let mark = Mark::new("plan", "shop/web");
        assert_eq!(mark.to_string(), "<!-- holdfast:plan:shop/web -->");
        assert!(mark.is_on("text\n\n<!-- holdfast:plan:shop/web -->\r\n"));
        for other in [
            "text",
            "<!-- holdfast:plan:shop/web --> and more",
            "> <!-- holdfast:plan:shop/we -->",
            "<!-- holdfast:halt:shop/web -->",
        ] {
            assert!(!mark.is_on(other), "{other}");
        }
        assert_ne!(Mark::new("plan", "a"), Mark::new("plan", "b"));
    }

    #[test]
    fn no_name_ends_the_comment() {
        assert_eq!(Mark::new("plan", "a --> <b>").to_string(), "<!-- holdfast:plan:a_--___b_ -->");
    }

    #[test]
    fn what_is_too_long_is_cut_and_still_marked() {
        let mark = Mark::new("plan", "web");
        assert_eq!(mark.on("short\n", 100), format!("short\n\n{mark}"));
        let exact = "é".repeat(100 - 2 - mark.to_string().len());
        assert_eq!(mark.on(&exact, 100).chars().count(), 100);
        assert!(!mark.on(&exact, 100).contains('…'));
        let cut = mark.on(&"é".repeat(5000), 200);
        assert_eq!(cut.chars().count(), 200);
        assert!(mark.is_on(&cut) && cut.contains("cut here"), "{cut}");
    }
}
