//! Which dead letters: `--filter k=v`, ids, or `--all`.

use clap::Args;
use postworks::job::{JobId, Kind, Queue, did_you_mean};
use uuid::Uuid;

use crate::app;
use crate::app::types::{DeadChoice, DeadQuery};
use crate::cli::failure::{Exit, Failure};
use crate::cli::parse_job_id;

const FILTERS: [&str; 7] =
    ["category", "fingerprint", "queue", "kind", "account", "died_after", "died_before"];

/// A filter.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// What must fit, all of it
    #[arg(
        long,
        value_name = "k=v",
        value_parser = parse,
        help = "category=, fingerprint=, queue=, kind=, account=, died_after= or died_before= (a \
                time, or how long ago, as in 2h); all that are given must fit"
    )]
    filter: Vec<(String, String)>,
}

/// The letters to act on.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChoiceArgs {
    /// The jobs
    #[arg(value_parser = parse_job_id)]
    pub(super) ids: Vec<JobId>,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// Every dead letter
    #[arg(long, conflicts_with_all = ["ids", "filter"])]
    pub(super) all: bool,
    /// Only say what would happen
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask; a script that means --all must say so
    #[arg(long)]
    pub(super) yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

fn parse(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if FILTERS.contains(&name) && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some((name, _)) if !FILTERS.contains(&name) => {
            let shown: String = name.chars().take(60).collect();
            Err(format!("no such filter{}", did_you_mean(&shown, FILTERS)))
        }
        _ => Err(format!("must be name=value with a name of {}", FILTERS.join(", "))),
    }
}

impl FilterArgs {
    /// Whether nothing is named.
    pub(super) fn is_empty(&self) -> bool {
        self.filter.is_empty()
    }

    /// The filter of a list.
    pub(super) fn query(&self) -> Result<DeadQuery, Failure> {
        self.check_once()?;
        Ok(DeadQuery {
            category: self.value("category"),
            fingerprint: self.value("fingerprint"),
            queue: self.value("queue"),
            kind: self.value("kind"),
            account: self.value("account"),
            died_after: self.value("died_after"),
            died_before: self.value("died_before"),
            ..DeadQuery::default()
        })
    }

    /// Two values of one name would contradict each other.
    fn check_once(&self) -> Result<(), Failure> {
        for name in FILTERS {
            if self.filter.iter().filter(|(key, _)| key == name).count() > 1 {
                return Err(Failure::new(Exit::Usage, format!("--filter {name} is there twice")));
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<String> {
        self.filter.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// A value that is read here, so that a slip of the pen asks nobody.
    fn parsed<T, E: ToString>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        self.value(name).map(|text| read(&text)).transpose().map_err(|error: E| {
            Failure::new(Exit::Usage, format!("--filter {name}: {}", error.to_string()))
        })
    }
}

impl ChoiceArgs {
    /// What is chosen.
    pub(super) fn choice(&self) -> Result<DeadChoice, Failure> {
        let filter = &self.filter;
        filter.check_once()?;
        if self.ids.is_empty() && filter.is_empty() && !self.all {
            return Err(Failure::new(Exit::Usage, "dead letters to act on are required")
                .advise("name ids, or a --filter k=v, or --all"));
        }
        Ok(DeadChoice {
            ids: self.ids.clone(),
            category: filter.parsed("category", app::category)?,
            fingerprint: filter.value("fingerprint"),
            queue: filter.parsed("queue", Queue::parse)?,
            kind: filter.parsed("kind", Kind::parse)?,
            account: filter.parsed("account", str::parse::<Uuid>)?,
            died_after: filter.value("died_after"),
            died_before: filter.value("died_before"),
        })
    }
}
