//! `help`: of the program, of a verb, or the page of a code that a report shows.

use clap::{Command, CommandFactory as _};
use portcullis_config::pages::{nearest, page};

use crate::cli::args::{Cli, HelpArgs};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(args: &HelpArgs) -> Exit {
    if let [code] = args.topic.as_slice()
        && let Some(page) = page(code)
    {
        answer(page.trim_end());
        return Exit::Success;
    }
    let mut program = Cli::command();
    // It gives the verbs their full names and the options that all of them have.
    program.build();
    let mut verb = &mut program;
    for (depth, word) in args.topic.iter().enumerate() {
        if verb.find_subcommand(word).is_none() {
            return unknown(verb, word, depth);
        }
        let Some(below) = verb.find_subcommand_mut(word) else { return unknown_word(word, None) };
        verb = below;
    }
    answer(verb.render_long_help().to_string().trim_end());
    Exit::Success
}

/// A word that is neither a verb here nor, where one may stand, a code.
fn unknown(verb: &Command, word: &str, depth: usize) -> Exit {
    // Codes and verbs have no word before them; a verb's verbs have nothing that is like a code.
    let near = if depth == 0 { nearest(word, verb.get_subcommands().map(Command::get_name)) } else { None };
    unknown_word(word, near)
}

fn unknown_word(word: &str, near: Option<&str>) -> Exit {
    let shown: String = word.chars().take(64).flat_map(char::escape_debug).collect();
    let hint = near.map_or_else(
        || "`portcullis help` lists the verbs; a code looks like E0103".to_owned(),
        |near| format!("did you mean `portcullis help {near}`?"),
    );
    remark(&format!("error: there is no help on `{shown}`; {hint}"));
    Exit::Usage
}
