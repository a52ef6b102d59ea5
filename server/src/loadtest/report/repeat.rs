//! When to test again, on what this test ran, and how to run it again.

use super::document::{Block, Grid};
use super::growth::{Reached, day, reaches};
use super::numbers::{number, stretch};
use super::sizing::BUSY_MAX;
use crate::loadtest::findings::{Capacity, Findings};

/// Whatever the growth, a full test is not older than this, in months.
const FULL_MONTHS_MAX: f64 = 3.0;

/// And not repeated sooner, in months.
const FULL_MONTHS_MIN: f64 = 1.0;

/// The review schedule, the machine, and how to repeat.
pub(super) fn chapters(findings: &Findings) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(2, "Review schedule".to_owned())];
    blocks.push(Block::Grid(schedule(findings)));
    blocks.push(Block::Heading(2, "Machine and versions".to_owned()));
    blocks.push(Block::Grid(machine(findings)));
    blocks.push(Block::Heading(2, "How it was measured, and how to repeat it".to_owned()));
    blocks.push(Block::Words(
        "Times count from when a thing was due, so that a stall counts for all that it held up; a \
         run counts from its start. The same profile and seed ask for the same load. Times depend \
         on the machine: compare only what one machine measured."
            .to_owned(),
    ));
    blocks.push(Block::Command(commands(findings)));
    blocks
}

/// Months until the peak reaches the share of the sustainable rate at which to scale.
fn months_to_scale(capacity: &Capacity) -> Option<f64> {
    let Capacity { projected_peak: peak, monthly_growth: growth, .. } = *capacity;
    match reaches(peak, capacity.sustainable_rate? * BUSY_MAX, growth) {
        Reached::Already => Some(0.0),
        Reached::In(months) => Some(months),
        Reached::Never => None,
    }
}

fn schedule(findings: &Findings) -> Grid {
    let mut grid = Grid::new(&["when", "what", "why"]);
    let mut row = |when: String, what: &str, why: &str| {
        grid.row([when.into(), what.into(), why.into()]);
    };
    let on = |months: f64| {
        day(&findings.started_at, months).unwrap_or_else(|| format!("in {} months", number(months)))
    };
    let scale = months_to_scale(&findings.capacity);
    if scale == Some(0.0) {
        row(
            "now".to_owned(),
            "scale, then this profile",
            "The peak is above 70 % of what is sustained.",
        );
    }
    let next = scale.map_or(FULL_MONTHS_MAX, |months| months / 2.0);
    let next = next.clamp(FULL_MONTHS_MIN, FULL_MONTHS_MAX);
    row(
        on(next),
        "this profile",
        match scale {
            Some(_) => "Half of the time until 70 % is reached, but within one to three months.",
            None => "A full test is at most three months old.",
        },
    );
    if let Some(months) = scale.filter(|months| *months > 0.0) {
        row(
            on(months),
            "scale before, then this profile",
            "The peak reaches 70 % of what is sustained, if it grows as expected.",
        );
    }
    row(
        "every month".to_owned(),
        "profile smoke, compared with the last",
        "Data grow and neighbours change; and the peak that came is compared with the expected \
         one.",
    );
    row(
        "before and after an upgrade".to_owned(),
        "this profile, compared",
        "Of Postworks, Redis, PostgreSQL, the system, or the machine.",
    );
    row(
        "when the work changes".to_owned(),
        "this profile, its mix brought up to date",
        "New kinds or platforms, or runs that take 20 % longer than here.",
    );
    row(
        "before a known peak".to_owned(),
        "the scenario breaking-point",
        "A campaign or a large customer comes faster than by the month.",
    );
    grid
}

fn machine(findings: &Findings) -> Grid {
    let mut grid = Grid::new(&["what", "is"]);
    let chosen = match findings.chosen.is_empty() {
        true => "all of the profile".to_owned(),
        false => findings.chosen.join(", "),
    };
    let targets = findings.targets.as_deref().unwrap_or("the usual");
    let of_test = [
        ("Postworks", findings.version.clone()),
        ("scenarios", chosen),
        ("profile", by_digest(&findings.profile, &findings.profile_digest)),
        ("targets", by_digest(targets, &findings.targets_digest)),
        ("seed", findings.seed.to_string()),
        ("begun", findings.started_at.clone()),
        ("took", stretch(findings.took_s)),
    ];
    let facts = findings.facts.iter().map(|(name, fact)| (name.as_str(), fact.clone()));
    for (name, fact) in facts.chain(of_test) {
        grid.row([name.into(), fact.into()]);
    }
    grid
}

/// A name or a file, and enough of the digest to tell whether it says the same still.
fn by_digest(name: &str, digest: &str) -> String {
    let short: String = digest.chars().take(12).collect();
    format!("{name} (SHA-256 of what it says: {short}…)")
}

fn commands(findings: &Findings) -> String {
    let mut test = vec!["postworks", "loadtest"].into_iter().map(str::to_owned).collect::<Vec<_>>();
    test.extend(findings.chosen.iter().map(|scenario| shell_word(scenario)));
    test.extend(["--profile".to_owned(), shell_word(&findings.profile)]);
    test.extend(["--seed".to_owned(), findings.seed.to_string()]);
    if let Some(file) = &findings.targets {
        test.extend(["--targets".to_owned(), shell_word(file)]);
    }
    format!("{}\npostworks loadtest compare THIS THAT", test.join(" "))
}

/// A word that a shell takes as it stands.
fn shell_word(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    match !word.is_empty() && word.chars().all(safe) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, markdown};
    use super::*;

    #[test]
    fn the_next_test_is_due_before_there_is_too_little_room() {
        let findings = fixture::whole();
        insta::assert_snapshot!(markdown::grid(&schedule(&findings)));
    }

    #[test]
    fn without_a_limit_the_next_test_is_in_three_months() {
        let mut findings = fixture::whole();
        findings.capacity.sustainable_rate = None;
        assert_eq!(schedule(&findings).rows[0][0].text, "2027-02-28");
        findings.started_at = "some time".to_owned();
        assert_eq!(schedule(&findings).rows[0][0].text, "in 3 months");
    }

    #[test]
    fn the_command_can_be_pasted() {
        let mut findings = fixture::whole();
        findings.profile = "it's mine; reboot".to_owned();
        assert!(
            commands(&findings)
                .starts_with(r"postworks loadtest --profile 'it'\''s mine; reboot' --seed 42")
        );
    }

    #[test]
    fn the_command_asks_for_all_that_was_asked_for() {
        let findings = Findings {
            profile: "load/ours.toml".to_owned(),
            targets: Some("what must hold.toml".to_owned()),
            chosen: ["queue", "breaking-point"].map(str::to_owned).into(),
            ..fixture::whole()
        };
        let asked = "postworks loadtest queue breaking-point --profile load/ours.toml --seed 42 \
                     --targets 'what must hold.toml'\n";
        assert!(commands(&findings).starts_with(asked), "{}", commands(&findings));
    }
}
