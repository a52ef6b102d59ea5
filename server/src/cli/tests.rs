//! The definition of the command line, as people see it.

use super::*;

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn help_teaches() {
    fn collect(command: &mut clap::Command, path: &str, into: &mut String) {
        into.push_str(&format!("==== {path}\n{}\n", command.render_help()));
        for sub in command
            .get_subcommands_mut()
            .filter(|sub| sub.get_name() != "help" && !sub.is_hide_set())
        {
            let path = format!("{path} {}", sub.get_name());
            collect(sub, &path, into);
        }
    }
    let mut command = command().term_width(100).mut_args(|arg| arg.hide_env(true));
    command.build();
    let mut text = String::new();
    collect(&mut command, "postworks", &mut text);
    insta::assert_snapshot!("help", text);
}
