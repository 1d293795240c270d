//! Help that teaches is checked like code: every subcommand has examples, and every example is one that the program
//! takes.
//!
//! Examples stand in the long help, under `Examples:`, one a line, two spaces in, as one would type them. A line may
//! pass its output on (`| jq .`, `> file`) and end in a remark (`# …`).

use clap::{Command, Parser};

/// What is wrong with the help of the program `P`; nothing, one hopes. For its tests.
pub fn lint<P: Parser>() -> Vec<String> {
    // As written, whatever the width of the terminal: a line that is broken is no example.
    let mut command = P::command().term_width(0);
    command.build();
    let name = command.get_name().to_owned();
    let mut found = Vec::new();
    look::<P>(&mut command, &name, &mut found);
    found
}

fn look<P: Parser>(command: &mut Command, program: &str, found: &mut Vec<String>) {
    let help = command.render_long_help().to_string();
    let place = command.get_bin_name().unwrap_or(program).to_owned();
    if command.get_about().is_none() && command.get_long_about().is_none() {
        found.push(format!("{place}: does not say what it is for"));
    }
    let silent = command.get_arguments().filter(|arg| arg.get_help().is_none() && !arg.is_hide_set());
    found.extend(silent.map(|arg| format!("{place}: `{}` does not say what it does", arg.get_id())));
    let examples = examples(&help);
    if examples.is_empty() {
        found.push(format!("{place}: has no examples"));
    }
    for example in examples {
        for words in commands(&example).filter(|words| words.first().is_some_and(|word| word == program)) {
            if let Err(error) = P::try_parse_from(words)
                && error.use_stderr()
            {
                found.push(format!("{place}: `{example}` is not taken: {error}"));
            }
        }
    }
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
        look::<P>(sub, program, found);
    }
}

/// The lines under `Examples:`, up to the next that is not indented.
pub fn examples(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with("  "));
    lines.filter(|line| !line.is_empty()).map(|line| line.trim().to_owned()).collect()
}

/// The commands of one line, each as its words: without variables before them, remarks, and where output goes.
pub fn commands(line: &str) -> impl Iterator<Item = Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    line.split(['|', ';']).flat_map(|part| part.split("&&")).map(|part| {
        let part = part.split('>').next().unwrap_or_default();
        let is_variable = |word: &String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
        words(part).into_iter().skip_while(is_variable).collect()
    })
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Words as a shell makes them, of single quotes and none.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Subcommand};

    /// Taught well.
    #[derive(Parser)]
    #[command(
        name = "good",
        after_long_help = "Examples:\n  X=1 good --to 'a b' | wc -l  # remark\n\nMore:\n  good --no"
    )]
    struct Good {
        /// Where to.
        #[arg(long)]
        to: String,
    }

    #[derive(Parser)]
    #[command(name = "bad", after_long_help = "Examples:\n  bad --form c\n")]
    struct Bad {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Subcommand)]
    enum Verb {
        Sub(Sub),
    }

    #[derive(Args)]
    struct Sub {
        #[arg(long)]
        mute: bool,
    }

    #[test]
    fn what_is_wrong_is_reported() {
        assert_eq!(lint::<Good>(), Vec::<String>::new());
        let found = lint::<Bad>();
        let has = |words: &str| found.iter().any(|complaint| complaint.contains(words));
        assert!(has("bad: does not say what it is for") && has("`bad --form c` is not taken"), "{found:#?}");
        assert!(has("bad sub: `mute` does not say") && has("bad sub: has no examples"), "{found:#?}");
    }

    #[test]
    fn a_line_is_taken_apart_as_a_shell_would() {
        let all: Vec<_> = commands("A=b weirctl x 'a b' > f && curl -s u | jq .  # note").collect();
        assert_eq!(all, [vec!["weirctl", "x", "a b"], vec!["curl", "-s", "u"], vec!["jq", "."]]);
    }
}
