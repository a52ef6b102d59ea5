//! The whole report, as it looks.

use super::*;

#[test]
fn the_whole_report_as_markdown() {
    insta::assert_snapshot!(markdown::page(&pages::document(&fixture::whole())));
}

#[test]
fn the_report_of_an_interrupted_test_says_what_is_missing() {
    insta::assert_snapshot!(markdown::page(&pages::document(&fixture::interrupted())));
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("logs/loadtest/one");
    let written = write(&fixture::whole(), &deep).unwrap();
    assert!(read(&deep).unwrap() == fixture::whole());
    assert!(read(&written.json).unwrap() == fixture::whole());
    let (from_folder, from_file) = (read(&deep).unwrap(), read(&written.json).unwrap());
    assert!(compare(&from_folder, &from_file).contains("within noise"));
    // A second report replaces the first, and nothing else is left in the folder.
    write(&fixture::interrupted(), &deep).unwrap();
    assert!(read(&deep).unwrap() == fixture::interrupted());
    let mut names: Vec<_> =
        fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["findings.json", "report.html", "report.md"]);
}

/// Whoever wants to look at it says in `LOADTEST_EXAMPLE` where it is to stay.
#[test]
fn the_example_has_a_picture_for_each_plot_and_width() {
    let short_lived = tempfile::tempdir().unwrap();
    let wanted = std::env::var_os("LOADTEST_EXAMPLE").map(PathBuf::from);
    let folder = wanted.unwrap_or_else(|| short_lived.path().to_owned());
    for (findings, name) in [(fixture::whole(), "whole"), (fixture::interrupted(), "interrupted")] {
        let written = write(&findings, &folder.join(name)).unwrap();
        let html = fs::read_to_string(written.html).unwrap();
        let plots: usize =
            findings.scenarios.iter().map(|scenario| plots::of(scenario).len()).sum();
        assert_eq!(html.matches("<svg class=\"plot wide\"").count(), plots);
        assert_eq!(html.matches("<svg class=\"plot narrow\"").count(), plots);
        assert!(html.len() < 2_000_000, "{} bytes", html.len());
    }
}

#[test]
fn another_form_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(JSON);
    fs::write(&file, r#"{"form": 99, "version": "9.0.0", "elsewhere": true}"#).unwrap();
    let said = format!("{:#}", read(folder.path()).unwrap_err());
    assert!(said.contains("is of form 99, written by Postworks 9.0.0"), "{said}");
    fs::write(&file, "a text").unwrap();
    let said = format!("{:#}", read(&file).unwrap_err());
    assert!(said.contains("is not the findings.json of a load test"), "{said}");
    fs::remove_file(&file).unwrap();
    let said = format!("{:#}", read(folder.path()).unwrap_err());
    assert!(said.contains("name the folder of a report, or the findings.json in it"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let said = format!("{:#}", write(&fixture::whole(), &file.join("below")).unwrap_err());
    assert!(said.contains("cannot make ") && said.contains("file/below"), "{said}");
}
