//! Text that goes into HTML, escaped on its way.

use std::fmt::{self, Display, Write as _};

/// Shows a value as text in HTML, also inside an attribute. Control characters are shown as what they are.
pub struct Text<T>(pub T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '&' => self.0.write_str("&amp;"),
                    '<' => self.0.write_str("&lt;"),
                    '>' => self.0.write_str("&gt;"),
                    '"' => self.0.write_str("&quot;"),
                    '\'' => self.0.write_str("&#39;"),
                    // Whatever turns the direction of text could make one name look like another.
                    c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                        write!(self.0, "\\u{{{:x}}}", u32::from(c))
                    }
                    c => self.0.write_char(c),
                })
            }
        }
        write!(Escape(f), "{}", self.0)
    }
}

/// Percent-encodes one segment of a path.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        let hostile = "<script>\"'&\u{1b}[2J\u{202e}gnp";
        assert_eq!(Text(hostile).to_string(), "&lt;script&gt;&quot;&#39;&amp;\\u{1b}[2J\\u{202e}gnp");
        assert_eq!(segment("a/../ü?"), "a%2F..%2F%C3%BC%3F");
    }
}
