//! The report of a load test: for a person as Markdown and as one page of HTML, for a program as
//! JSON.
//!
//! Findings become a list of blocks ([`document`], put together by [`pages`]), and both forms are
//! made of that list. Nothing here looks at a clock or a machine: the same findings are the same
//! report.

mod compare;
mod document;
#[cfg(test)]
mod fixture;
mod growth;
mod html;
mod limit;
mod markdown;
mod numbers;
mod pages;
mod plan;
mod plots;
mod repeat;
mod scenarios;
mod sizing;
mod sound;
mod summary;
mod svg;
#[cfg(test)]
mod tests;

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::findings::{FORM, Findings};

pub(crate) use compare::compare;

const JSON: &str = "findings.json";
const MARKDOWN: &str = "report.md";
const HTML: &str = "report.html";

/// Where the parts of a report are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// For a person in a terminal or a repository.
    pub(crate) markdown: PathBuf,
    /// For a person in a browser.
    pub(crate) html: PathBuf,
    /// What [`read`] reads.
    pub(crate) json: PathBuf,
}

/// Writes the report into `folder`, which is made if it is not there. A report that is there
/// already is replaced, each file at once: nobody reads half of one.
///
/// # Errors
/// The folder or a file cannot be written.
pub(crate) fn write(findings: &Findings, folder: &Path) -> anyhow::Result<Written> {
    let findings = sound::sound(findings);
    let document = pages::document(&findings);
    let mut json = serde_json::to_string(&findings).context("the findings are no JSON")?;
    json.push('\n');
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // What was measured first: the pages can be made again from it.
    Ok(Written {
        json: put(folder, JSON, &json)?,
        markdown: put(folder, MARKDOWN, &markdown::page(&document))?,
        html: put(folder, HTML, &html::page(&document))?,
    })
}

fn put(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        // As any other file: who may read the folder may read the report.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Only the form, which every form of findings has.
#[derive(Deserialize)]
struct Form {
    form: u32,
    version: String,
}

/// Reads what a load test found: from the folder of a report, or from its JSON.
///
/// # Errors
/// There is none, or it is of another form.
pub(crate) fn read(path: &Path) -> anyhow::Result<Findings> {
    let file = if path.is_dir() { path.join(JSON) } else { path.to_owned() };
    let shown = file.display();
    let text = fs::read_to_string(&file).with_context(|| {
        format!("cannot read {shown}; name the folder of a report, or the {JSON} in it")
    })?;
    let Form { form, version } = serde_json::from_str(&text)
        .with_context(|| format!("{shown} is not the {JSON} of a load test"))?;
    if form != FORM {
        bail!(
            "{shown} is of form {form}, written by Postworks {version}; this Postworks reads form \
             {FORM}: run the load test again with it, or read the file with a Postworks of its \
             form"
        );
    }
    serde_json::from_str(&text).with_context(|| format!("{shown} is damaged"))
}
