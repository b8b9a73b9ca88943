//! A command as one text, split into words as a shell does it, without running anything.

/// Splits a command into words. Nothing where quotes are not closed or parentheses are not quoted.
pub(crate) fn words(text: &str) -> Option<Vec<String>> {
    #[derive(PartialEq, Clone, Copy)]
    enum Got {
        Nothing,
        Bare,
        Quoted,
    }
    let mut words = Vec::new();
    let mut word = String::new();
    let mut got = Got::Nothing;
    let (mut escaped, mut double, mut single, mut back, mut dollar) = (false, false, false, false, false);
    let mut flush = |word: &mut String, got: &mut Got| {
        if *got == Got::Quoted || (*got == Got::Bare && !word.is_empty()) {
            words.push(std::mem::take(word));
        }
        word.clear();
        *got = Got::Nothing;
    };
    for c in text.chars() {
        if escaped {
            escaped = false;
            if back || dollar {
                word.push('\\');
                word.push(c);
            } else {
                word.push(match c {
                    't' => '\t',
                    'n' => '\n',
                    c => c,
                });
            }
            got = Got::Bare;
            continue;
        }
        match c {
            '\\' if single => {
                word.push('\\');
                continue;
            }
            '\\' => {
                escaped = true;
                continue;
            }
            ' ' | '\t' | '\r' | '\n' => {
                if single || double || back || dollar {
                    word.push(c);
                } else {
                    flush(&mut word, &mut got);
                }
                continue;
            }
            '`' if !single && !double && !dollar => back = !back,
            ')' if !single && !double && !back => {
                if !dollar {
                    return None;
                }
                dollar = false;
            }
            '(' if !single && !double && !back => {
                let opens = !dollar && word.ends_with('$') && !word.ends_with("\\$");
                if !opens {
                    return None;
                }
                dollar = true;
                word.push('(');
                continue;
            }
            '"' if !single && !dollar && !back => {
                if double {
                    got = Got::Quoted;
                }
                double = !double;
                continue;
            }
            '\'' if !double && !dollar && !back => {
                if single {
                    got = Got::Quoted;
                }
                single = !single;
                continue;
            }
            // What follows would be another command: it is left out, as the reference implementation does.
            ';' | '&' | '|' | '<' | '>' if !(single || double || back || dollar) => {
                if c == '>' && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
                    got = Got::Nothing;
                }
                break;
            }
            _ => {}
        }
        got = Got::Bare;
        word.push(c);
    }
    flush(&mut word, &mut got);
    (!(escaped || double || single || back || dollar)).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split() {
        for (text, expected) in [
            ("a  b", vec!["a", "b"]),
            ("sh -c 'echo \"x y\"'", vec!["sh", "-c", "echo \"x y\""]),
            ("a '' \"\"", vec!["a", "", ""]),
            (r"a\ b c\n", vec!["a b", "c\n"]),
            ("a ; b", vec!["a"]),
            ("a$(b c)d", vec!["a$(b c)d"]),
            ("`a b`", vec!["`a b`"]),
            ("", vec![]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "a\\", "(a)", "a)", "`a"] {
            assert_eq!(words(text), None, "{text}");
        }
    }
}
