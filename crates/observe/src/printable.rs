//! Text for a terminal: a client chooses the paths and hosts that are printed.

use std::fmt::Write as _;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Replaces what is not printable in `text` from the byte `start` on by what Python's `unicode_escape` makes of it.
///
/// So no line ends within it, the cursor stays, and the direction of writing too.
pub(crate) fn escape_from(text: &mut String, start: usize) {
    let Some(first) = text[start..].find(|character| !is_printable(character)) else { return };
    let rest = text.split_off(start + first);
    for character in rest.chars() {
        if is_printable(character) {
            text.push(character);
        } else {
            escape(character, text);
        }
    }
}

/// As Python's `str.isprintable`: neither of the categories "Other" and "Separator", but for the space.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return character == ' ' || character.is_ascii_graphic();
    }
    !matches!(character.general_category_group(), GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator)
}

fn escape(character: char, out: &mut String) {
    let code = u32::from(character);
    let written = match character {
        '\t' => out.write_str("\\t"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        _ if code < 0x100 => write!(out, "\\x{code:02x}"),
        _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    // Writing to a String does not fail.
    debug_assert!(written.is_ok(), "{character:?}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = format!("\n{text}");
        escape_from(&mut out, 1);
        out.split_off(1)
    }

    #[test]
    fn what_moves_a_cursor_or_turns_the_direction_is_escaped() {
        assert_eq!(
            escaped("/a\nb\t\r\x1b[2J\u{85}\u{a0}\u{ad}\u{200b}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0001}"),
            r"/a\nb\t\r\x1b[2J\x85\xa0\xad\u200b\u2028\u202e\u2066\ufeff\U000e0001"
        );
    }

    #[test]
    fn what_is_printable_stays() {
        for text in ["", " ~", "Grüße, 世界", "e\u{301}", "🚀", "\\n"] {
            assert_eq!(escaped(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_printable(text: String) {
            prop_assert!(escaped(&text).chars().all(is_printable));
        }
    }
}
