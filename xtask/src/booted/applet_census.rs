//! Which of busybox's applets the cases of `tests/applets` run.
//!
//! Counted from the scripts: a word counts where the shell takes it for a command's name, in a substitution, in the script of a `sh -c`
//! and behind a command that runs another, too; a word in quotes, in a here-document or among the arguments does not. The shell's own
//! built-in commands do not count, nor does what stands only where the recording says that there is no such program.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// Commands that the shell runs itself.
const BUILT_IN: &[&str] = &["[", "echo", "false", "kill", "printf", "pwd", "sh", "test", "true"];
/// Commands that run another one.
const RUNNERS: &[&str] = &["busybox", "command", "env", "exec", "nice", "nohup", "setsid", "time", "timeout", "xargs"];
/// Words behind which a command's name stands.
const BEFORE_COMMANDS: &[&str] = &["!", "do", "elif", "else", "if", "then", "until", "while", "{"];

/// The names of commands in `script` that are among `applets`.
pub fn of(script: &str, applets: &BTreeSet<String>) -> BTreeSet<String> {
    let mut scanner = Scanner { found: Vec::new() };
    scanner.scan(&mut script.chars().peekable(), Until::End);
    let known = |name: &String| applets.contains(name) && !BUILT_IN.contains(&name.as_str());
    scanner.found.into_iter().filter(known).collect()
}

/// Where a piece of script ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Parenthesis,
    Backquote,
}

/// What the next word is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Command,
    /// Behind a runner: options, numbers and assignments first, then a command.
    Run,
    Argument,
    File,
}

/// Collects names of commands.
struct Scanner {
    found: Vec<String>,
}

impl Scanner {
    fn scan(&mut self, text: &mut Peekable<Chars<'_>>, until: Until) {
        let mut place = Place::Command;
        // What a redirection interrupts.
        let mut after_file = Place::Argument;
        let mut words: Vec<String> = Vec::new();
        let mut documents: Vec<String> = Vec::new();
        while let Some(&character) = text.peek() {
            match character {
                ')' if until == Until::Parenthesis => break,
                '`' if until == Until::Backquote => break,
                '\n' | ';' | '&' | '|' | '(' | ')' => {
                    text.next();
                    if character == '\n' {
                        documents.drain(..).for_each(|end| skip_document(text, &end));
                    }
                    if place != Place::File {
                        place = Place::Command;
                        words.clear();
                    }
                }
                ' ' | '\t' => drop(text.next()),
                '#' => while text.next_if(|next| *next != '\n').is_some() {},
                '<' | '>' => {
                    text.next();
                    if character == '<' && text.next_if_eq(&'<').is_some() {
                        while text.next_if(|next| *next == '-' || *next == ' ').is_some() {}
                        documents.push(self.word(text).0);
                        continue;
                    }
                    while text.next_if(|next| matches!(next, '>' | '&' | '|')).is_some() {}
                    if place != Place::File {
                        (after_file, place) = (place, Place::File);
                    }
                }
                _ => {
                    let (word, quoted) = self.word(text);
                    if word.is_empty() && !quoted {
                        text.next();
                        continue;
                    }
                    // The number of a descriptor belongs to the redirection.
                    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
                    if is_number && !quoted && matches!(text.peek(), Some('<' | '>')) {
                        continue;
                    }
                    if let [.., shell, option] = words.as_slice()
                        && shell.as_str() == "sh"
                        && option.as_str() == "-c"
                    {
                        self.scan(&mut word.chars().peekable(), Until::End);
                    }
                    place = match place {
                        Place::File => after_file,
                        Place::Argument => Place::Argument,
                        Place::Run if word.starts_with('-') || is_number || word.contains('=') => Place::Run,
                        Place::Command if BEFORE_COMMANDS.contains(&word.as_str()) || is_assignment(&word) => {
                            Place::Command
                        }
                        Place::Command | Place::Run => self.command(&word, quoted),
                    };
                    words.push(word);
                }
            }
        }
    }

    /// A command's name; gives what comes next.
    fn command(&mut self, word: &str, quoted: bool) -> Place {
        if quoted {
            return Place::Argument;
        }
        let name = word.rsplit('/').next().unwrap_or(word);
        self.found.push(name.to_owned());
        if RUNNERS.contains(&name) { Place::Run } else { Place::Argument }
    }

    /// Reads a word; gives it without quotes, and whether it had some. Substitutions in it are scanned.
    fn word(&mut self, text: &mut Peekable<Chars<'_>>) -> (String, bool) {
        let (mut word, mut quoted) = (String::new(), false);
        while let Some(&character) = text.peek() {
            match character {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    quoted = true;
                    text.next();
                    word.extend(text.by_ref().take_while(|next| *next != '\''));
                    continue;
                }
                '"' => {
                    quoted = true;
                    text.next();
                    while let Some(next) = text.next() {
                        match next {
                            '"' => break,
                            '\\' => word.extend(text.next()),
                            '$' | '`' => self.substitution(next, text, &mut word),
                            _ => word.push(next),
                        }
                    }
                    continue;
                }
                '`' if word.is_empty() && !quoted => {
                    text.next();
                    self.substitution('`', text, &mut word);
                    quoted = true;
                    continue;
                }
                '`' => break,
                _ => {}
            }
            text.next();
            match character {
                '\\' => word.extend(text.next()),
                '$' => self.substitution('$', text, &mut word),
                _ => word.push(character),
            }
        }
        (word, quoted)
    }

    /// What follows a `$` or a backquote.
    fn substitution(&mut self, opening: char, text: &mut Peekable<Chars<'_>>, word: &mut String) {
        word.push('$');
        if opening == '`' {
            self.scan(text, Until::Backquote);
            text.next();
        } else if text.next_if_eq(&'(').is_some() {
            if text.next_if_eq(&'(').is_some() {
                // Arithmetic: to the second closing parenthesis of the pair.
                let mut depth = 2;
                while depth > 0
                    && let Some(next) = text.next()
                {
                    depth += i32::from(next == '(') - i32::from(next == ')');
                }
            } else {
                self.scan(text, Until::Parenthesis);
                text.next();
            }
        } else if text.next_if_eq(&'{').is_some() {
            while text.next().is_some_and(|next| next != '}') {}
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn skip_document(text: &mut Peekable<Chars<'_>>, end: &str) {
    loop {
        let mut line = String::new();
        let mut more = false;
        for character in text.by_ref() {
            if character == '\n' {
                more = true;
                break;
            }
            line.push(character);
        }
        if !more || line.trim_start_matches('\t') == end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(script: &str) -> String {
        let applets = ["sort", "cat", "awk", "ls", "env", "timeout", "sleep", "cut", "xargs", "rm", "head", "busybox"];
        let found = of(script, &applets.map(str::to_owned).into());
        found.into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn commands_count_and_arguments_do_not() {
        assert_eq!(names("cat ls rm | sort -k 2 > cut 2>awk; echo sleep"), "cat sort");
        assert_eq!(names("if ls; then A=1 B='x y' cat; else ! head; fi # rm"), "cat head ls");
        assert_eq!(names("> f 2>&1 ls; for rm in cat; do /bin/sort; done"), "ls sort");
        assert_eq!(names("awk 'cat; ls' \"rm\" f && (cut x)"), "awk cut");
    }

    #[test]
    fn substitutions_and_runners_are_looked_into() {
        assert_eq!(names("x=$(ls | head -1); echo \"a $(cat \"$(cut f)\") b\" `sort`"), "cat cut head ls sort");
        assert_eq!(
            names("timeout 1 sleep 5; env A=1 ls; xargs -n 2 rm; busybox cat"),
            "busybox cat env ls rm sleep timeout xargs"
        );
        assert_eq!(names("sh -c 'ls; \"$(cat)\"'; echo $((ls + 1)) ${rm:-cut}"), "cat ls");
    }

    #[test]
    fn documents_are_not_commands() {
        assert_eq!(names("cat <<EOF | sort\nls\nrm\nEOF\nhead <<-'X'\n\tcut\n\tX\nawk"), "awk cat head sort");
    }
}
