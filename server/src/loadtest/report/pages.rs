//! The report's chapters, in the order in which somebody in a hurry wants them.

use super::document::{Block, Document};
use super::numbers::stretch;
use super::{limit, plan, repeat, scenarios, summary};
use crate::loadtest::findings::Findings;

/// All that the report says.
pub(super) fn document(findings: &Findings) -> Document {
    let mut blocks: Vec<Block> = summary::chapter(findings);
    blocks.extend(scenarios::chapters(findings));
    blocks.extend(limit::chapters(findings));
    blocks.extend(plan::chapter(findings));
    blocks.extend(repeat::chapters(findings));
    Document {
        title: format!("Load test of Postworks {}", findings.version),
        under_title: format!(
            "Profile {}, seed {}, begun {}, took {}.",
            findings.profile,
            findings.seed,
            findings.started_at,
            stretch(findings.took_s)
        ),
        blocks,
    }
}
