//! What operators watch with: dashboards, alerts, runbooks. `make observe` runs all of it under load
//! for minutes; here is what must hold at every change.

mod live;
mod panels;
mod rules;
mod runbooks;

use std::process::Command;

use crate::prometheus::root;

/// Runs a program in a folder of the repository to its end; answers what it said, or fails with it.
#[track_caller]
fn run(program: &str, args: &[&str], folder: &str) -> String {
    let (good, said) = try_run(program, args, folder);
    assert!(good, "{program} {}:\n{said}", args.join(" "));
    said
}

/// The same, and whether it ended well.
fn try_run(program: &str, args: &[&str], folder: &str) -> (bool, String) {
    let output = Command::new(program).args(args).current_dir(root().join(folder)).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program} does not start ({error}); `make setup` installs what is missing")
    });
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
