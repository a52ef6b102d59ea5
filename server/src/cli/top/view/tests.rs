//! What the screen looks like.

use std::time::Duration;

use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::super::ask::{Answer, Cause, Wish};
use super::super::fixture::{NOW, busy, cause, counting, later, model, quiet};
use super::super::model::{Model, Page, Prompt};
use super::{Palette, draw};
use crate::cli::failure::{Exit, Failure};

fn drawn(model: &Model, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, Palette::new(true))).unwrap();
    terminal.backend().clone()
}

/// Two looks, a second apart, at a busy place.
fn watched() -> Model {
    let mut model = model(counting(busy(), 1_000));
    model.take(Answer::Looked(Ok(counting(later(&busy()), 1_400))));
    model
}

#[test]
fn a_busy_place_on_a_small_screen() {
    assert_snapshot!(drawn(&watched(), 80, 24));
}

#[test]
fn a_busy_place_on_a_wide_screen() {
    let mut model = watched();
    model.selected = Some(model.picture.queues[2].queue.clone());
    assert_snapshot!(drawn(&model, 140, 30));
}

#[test]
fn an_idle_place_where_nobody_counts_runs() {
    assert_snapshot!(drawn(&model(quiet()), 80, 24));
}

#[test]
fn a_server_that_went_away_is_told_with_the_pictures_age() {
    let mut model = watched();
    let failure = Failure::new(Exit::Unavailable, "no answer from http://127.0.0.1:7000/: refused");
    model.take(Answer::Looked(Err(failure)));
    model.now = NOW.after(Duration::from_secs(13));
    assert_snapshot!(drawn(&model, 80, 24));
}

#[test]
fn a_server_that_does_not_answer_is_told_as_well() {
    let mut model = model(quiet());
    model.now = NOW.after(Duration::from_secs(4));
    assert!(!drawn(&model, 80, 24).to_string().contains("no answer yet"));
    model.now = NOW.after(Duration::from_secs(9));
    assert!(drawn(&model, 80, 24).to_string().contains("as of 9.0s ago: no answer yet"));
}

fn with_causes() -> Model {
    let mut picture = busy();
    let queue = picture.queues[0].queue.clone();
    picture.dead_groups_of = Some(queue.clone());
    let long = "the platform says that the text of this post is far too long for it, and goes on \
                at some length about why that is so and where the rules for it can be read";
    picture.dead_groups[0] = cause("4f1c22aa90b3d7e1", 5, long);
    let mut model = model(picture);
    model.page = Page::Causes(queue, None);
    model
}

#[test]
fn a_queues_dead_letters_with_what_putting_some_back_would_do() {
    let mut model = with_causes();
    let queue = model.picture.queues[0].queue.clone();
    let cause = Cause { queue, fingerprint: "4f1c22aa90b3d7e1".to_owned() };
    let plan =
        crate::app::types::Plan { matched: 5, runnable: 3, unknown: 2, ..Default::default() };
    model.prompt = Some(Prompt::PutBack { cause, plan: Some(plan) });
    assert_snapshot!(drawn(&model, 80, 24));
}

#[test]
fn a_queues_dead_letters_on_a_wide_screen() {
    assert_snapshot!(drawn(&with_causes(), 140, 24));
}

#[test]
fn a_filter_that_nothing_fits() {
    let mut model = model(busy());
    model.filter = "nothing".to_owned();
    assert_snapshot!(drawn(&model, 80, 24));
}

#[test]
fn help_over_everything() {
    let mut model = model(quiet());
    model.explains = true;
    assert_snapshot!(drawn(&model, 80, 24));
}

#[test]
fn a_long_reason_shows_its_end_and_the_cursor() {
    let mut model = model(quiet());
    let queue = model.picture.queues[3].queue.clone();
    let text = format!("{} the end", "so many words ".repeat(12));
    model.prompt = Some(Prompt::Reason { wish: Wish::Pause, queue, text });
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, &model, Palette::new(true))).unwrap();
    let screen = terminal.backend().to_string();
    let last = screen.lines().last().unwrap();
    assert!(last.contains("for this reason: ") && last.contains("the end"), "{last}");
    terminal.backend_mut().assert_cursor_position((79, 23));
}

#[test]
fn no_size_makes_it_panic_and_no_colour_is_used_where_none_is_wanted() {
    let mut help = watched();
    help.explains = true;
    for model in [watched(), with_causes(), help] {
        for (width, height) in [(1, 1), (10, 3), (20, 8), (79, 10), (300, 90)] {
            drawn(&model, width, height);
        }
        let mut terminal = Terminal::new(TestBackend::new(140, 30)).unwrap();
        terminal.draw(|frame| draw(frame, &model, Palette::new(false))).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
    let coloured = drawn(&watched(), 140, 30);
    assert!(coloured.buffer().content().iter().any(|cell| cell.fg != Color::Reset));
}

#[test]
fn text_from_elsewhere_cannot_move_the_cursor() {
    let text = super::super::text::of(&busy());
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("connector_sync.bluesky") && text.contains("4f1c22aa90b3d7e1"), "{text}");
}
