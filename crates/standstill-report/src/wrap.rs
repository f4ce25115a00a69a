//! Lines of text that fit.

/// Stands for a space at which no line ends.
pub(crate) const TIE: char = '\u{1}';

/// Splits `text` into lines of at most `width` characters, at spaces where that is possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(4);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.chars().count() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        // A word that is longer than a line is cut.
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    for line in &mut lines {
        if line.contains(TIE) {
            *line = line.replace(TIE, " ");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_nothing_is_lost() {
        assert_eq!(wrap("takes the IPI: it is offline", 12), ["takes the", "IPI: it is", "offline"]);
        assert_eq!(wrap("", 12), [""]);
        assert_eq!(wrap("a_very_long_word x", 6), ["a_very", "_long_", "word x"]);
        for width in 4..30 {
            let text = "an IPI that comes too late is not_an_ipi_that_anybody_wants";
            let lines = wrap(text, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width));
            let squeezed = |text: &str| text.replace(' ', "");
            assert_eq!(squeezed(&lines.concat()), squeezed(text));
        }
    }
}
