//! Splits a line of flags into words by the shell's quoting rules; nothing is expanded.

/// Splits at blanks outside quotes. Single quotes are literal; in double quotes a backslash escapes `"`, `\`, `$` and
/// a backquote; elsewhere a backslash escapes anything. The error names what is still open at the end.
pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a single quote is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let open = "a double quote is not closed";
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(open)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(open)? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next().ok_or("nothing follows the last backslash")? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (text, words) in [
            ("", vec![]),
            ("  --a  --b=c\n--d ", vec!["--a", "--b=c", "--d"]),
            (r#"--label "a b=c d" x'y z'"#, vec!["--label", "a b=c d", "xy z"]),
            (r#""\$HOME \n \"q\"" '\'"#, vec![r#"$HOME \n "q""#, r"\"]),
            (r"a\ b ''", vec!["a b", ""]),
            ("$(id) `id` ;|&", vec!["$(id)", "`id`", ";|&"]),
            ("a\\\nb", vec!["ab"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn open_quotes_are_named() {
        assert_eq!(split("a 'b").unwrap_err(), "a single quote is not closed");
        assert_eq!(split("a \"b").unwrap_err(), "a double quote is not closed");
        assert_eq!(split("a\\").unwrap_err(), "nothing follows the last backslash");
    }
}
