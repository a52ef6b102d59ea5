//! `postworks publication …` and `postworks post move`: when what is to be published.

use clap::{Args, Subcommand, ValueEnum};
use postworks::job::Timestamp;
use postworks_workers::store::Late;
use uuid::Uuid;

use super::failure::{Exit, Failure};
use super::output::{list, or_dash, table};
use super::{Context, target};
use crate::app::types::{MovePost, MovePublication, MovedPost, Publication};

/// What to do with publications.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PublicationCommand {
    /// Show a publication
    Show {
        /// The publication's id
        id: Uuid,
    },
    /// Move a publication to another time, or change its window
    Move(PublicationMoveArgs),
}

/// Arguments of `publication move`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PublicationMoveArgs {
    /// The publication's id
    id: Uuid,
    /// When it is to be published, RFC 3339
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    window: WindowArgs,
}

/// Arguments of `post move`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PostMoveArgs {
    /// The post's id
    id: Uuid,
    /// When they are to be published, RFC 3339
    #[arg(long, value_name = "TIME")]
    at: Timestamp,
    #[command(flatten)]
    window: WindowArgs,
}

/// A window, and why it changes.
#[derive(Debug, Clone, Args)]
pub(crate) struct WindowArgs {
    /// Until when, RFC 3339
    #[arg(long, value_name = "TIME")]
    not_after: Option<Timestamp>,
    /// What becomes of what is late
    #[arg(long, value_name = "POLICY")]
    late: Option<LateArg>,
    /// Take the window away
    #[arg(long, conflicts_with_all = ["not_after", "late"])]
    no_window: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A policy, as a flag names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LateArg {
    /// It is not sent any more
    Skip,
    /// It is sent all the same
    Publish,
}

impl WindowArgs {
    fn not_after(&self) -> Option<Option<Timestamp>> {
        if self.no_window { Some(None) } else { self.not_after.map(Some) }
    }

    fn late(&self) -> Option<Late> {
        self.late.map(|late| match late {
            LateArg::Skip => Late::Skip,
            LateArg::Publish => Late::Publish,
        })
    }
}

pub(super) async fn run(context: &Context, command: PublicationCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    let publication = match command {
        PublicationCommand::Show { id } => target.publication(id).await?,
        PublicationCommand::Move(PublicationMoveArgs { id, at, window }) => {
            let (not_after, late) = (window.not_after(), window.late());
            let wanted = MovePublication { at, not_after, late, reason: window.reason };
            if (at, not_after, late) == (None, None, None) {
                let message = "say where to: --at, --not-after, --late or --no-window";
                return Err(Failure::new(Exit::Usage, message));
            }
            target.move_publication(id, &wanted).await?
        }
    };
    context.format.say(&publication, summary)
}

pub(super) async fn move_post(context: &Context, args: PostMoveArgs) -> Result<(), Failure> {
    let PostMoveArgs { id, at, window } = args;
    let (not_after, late) = (window.not_after(), window.late());
    let wanted = MovePost { at, not_after, late, reason: window.reason };
    let moved = target::choose(context).await?.move_post(id, &wanted).await?;
    context.format.say(&moved, outcome)
}

fn summary(publication: &Publication) -> String {
    let missed = publication.missed.as_ref().map(|missed| format!("{}: {}", missed.at, missed.why));
    let mut lines = vec![
        ("id", publication.id.to_string()),
        ("state", publication.state.clone()),
        ("at", publication.at.to_string()),
        ("not after", or_dash(publication.not_after.as_ref())),
        ("late", or_dash(publication.late.as_ref())),
        ("missed", or_dash(missed.as_ref())),
        ("post", publication.post_id.to_string()),
        ("connector", publication.connector_id.to_string()),
        ("job", publication.job_id.to_string()),
        ("where", or_dash(publication.remote_url.as_ref().or(publication.remote_id.as_ref()))),
    ];
    if let Some(answers) = &publication.reply_to {
        lines.push(("answers", answers.clone()));
    }
    if let Some(answers) = publication.in_reply_to {
        lines.push(("answers publication", answers.to_string()));
    }
    if let Some(revision) = publication.revision {
        lines.push(("revision", revision.to_string()));
    }
    list(&lines)
}

fn outcome(moved: &MovedPost) -> String {
    let rows = moved.moved.iter().map(|row| {
        vec![row.id.to_string(), row.connector_id.to_string(), format!("moved to {}", row.at)]
    });
    let not = moved.not_moved.iter().map(|row| {
        vec![row.id.to_string(), row.connector_id.to_string(), format!("not moved: {}", row.why)]
    });
    table(&["PUBLICATION", "CONNECTOR", "OUTCOME"], rows.chain(not), "it has no publications")
}
