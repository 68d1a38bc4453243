//! Writes what others chose (names, subjects, values) into Markdown so that it stays what it is: text.

/// Writes text as code: no markup, no mention, no link in it has any effect.
pub fn code(text: &str) -> String {
    let text = plain(text);
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Writes code in a cell of a table.
pub fn cell(text: &str) -> String {
    code(&text.replace('|', "\u{2223}"))
}

/// Writes code where Markdown is not read: inside of HTML.
pub fn tag(text: &str) -> String {
    format!("<code>{}</code>", plain(text).replace('&', "&amp;").replace('<', "&lt;"))
}

/// Makes one line of text, of at most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Writes lines as a block of code.
pub fn fenced(text: &str) -> String {
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let kept = |char: &char| *char == '\n' || !char.is_control();
    let text: String = text.chars().filter(kept).collect();
    format!("{fence}text\n{text}\n{fence}\n")
}

/// Writes a part that is opened by a click.
pub fn details(summary: &str, inside: &str) -> String {
    format!("<details><summary>{summary}</summary>\n\n{inside}\n</details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_leaves_its_code() {
        assert_eq!(code("a.conf"), "`a.conf`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code("x\n\n# @everyone <!-- holdfast:halt:web -->"), "`x  # @everyone <!-- holdfast:halt:web -->`");
        assert_eq!(code(""), "`  `");
        assert_eq!(cell("a|b"), "`a\u{2223}b`");
    }

    #[test]
    fn a_block_of_code_ends_where_it_shall() {
        assert_eq!(fenced("a\r\n```\nb"), "````text\na\n```\nb\n````\n");
        assert_eq!(fenced("a"), "```text\na\n```\n");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
