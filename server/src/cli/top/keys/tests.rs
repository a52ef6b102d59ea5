//! What keys do to the model, and what is asked for.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use postworks::job::Queue;
use serde_json::json;

use super::super::ask::{Answer, Ask, Cause, Wish};
use super::super::fixture::{NAMES, busy, cause, model, quiet};
use super::super::model::{Model, Page, Prompt, Word};
use super::{Step, press};
use crate::app::types::Planned;
use crate::cli::failure::{Exit, Failure};

fn queue(name: &str) -> Queue {
    serde_json::from_value(json!(name)).unwrap()
}

fn key(model: &mut Model, code: KeyCode) -> Step {
    press(model, KeyEvent::new(code, KeyModifiers::NONE))
}

/// Types it; answers what the last key did.
fn types(model: &mut Model, keys: &str) -> Step {
    keys.chars().fold(Step::Stay, |_, c| {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        key(model, code)
    })
}

fn selected(model: &Model) -> &str {
    model.queue().unwrap().1.queue.as_str()
}

#[test]
fn the_selection_moves_and_stops_at_the_ends() {
    let mut model = model(quiet());
    assert_eq!(selected(&model), NAMES[0]);
    for (keys, to) in [("k", 0), ("j", 1), ("jjjjjjj", 4), ("k", 3), ("g", 0), ("G", 4)] {
        assert_eq!(types(&mut model, keys), Step::Stay);
        assert_eq!(selected(&model), NAMES[to], "{keys}");
    }
    key(&mut model, KeyCode::Up);
    assert_eq!(selected(&model), NAMES[3]);
    key(&mut model, KeyCode::PageUp);
    assert_eq!(selected(&model), NAMES[0]);
}

#[test]
fn the_selection_stays_with_its_queue_when_the_list_changes() {
    let mut model = model(quiet());
    types(&mut model, "jj");
    let mut picture = quiet();
    picture.queues.remove(0);
    model.take(Answer::Looked(Ok(picture)));
    assert_eq!(selected(&model), NAMES[2]);
}

#[test]
fn a_queue_is_paused_after_a_reason_and_a_y() {
    let mut model = model(quiet());
    assert_eq!(types(&mut model, "jjp"), Step::Stay);
    assert_eq!(types(&mut model, "wrong q text\n"), Step::Stay);
    assert!(matches!(model.prompt, Some(Prompt::Confirm { .. })));
    let reason = Some("wrong q text".to_owned());
    let ask = Ask::Hold(Wish::Pause, queue(NAMES[2]), reason);
    assert_eq!(types(&mut model, "y"), Step::Ask(ask));
    assert_eq!(model.prompt, None);
}

#[test]
fn a_reason_may_be_left_out_and_corrected() {
    let mut model = model(quiet());
    types(&mut model, "oab");
    key(&mut model, KeyCode::Backspace);
    key(&mut model, KeyCode::Backspace);
    let ask = Ask::Hold(Wish::Open, queue(NAMES[0]), None);
    assert_eq!(types(&mut model, "\ny"), Step::Ask(ask));
}

#[test]
fn anything_but_a_y_does_nothing() {
    for keys in ["pwhy\nn", "pwhy\n\n", "pwhy\nq", "pwhy\nj"] {
        let mut model = model(quiet());
        assert_eq!(types(&mut model, keys), Step::Stay, "{keys:?}");
        assert_eq!((model.prompt, selected_word(model.word)), (None, "nothing was done".into()));
    }
    let mut model = model(quiet());
    types(&mut model, "pwhy");
    assert_eq!(key(&mut model, KeyCode::Esc), Step::Stay);
    assert_eq!(model.prompt, None);
    assert_eq!(types(&mut model, "y"), Step::Stay);
}

fn selected_word(word: Option<Word>) -> String {
    match word {
        Some(Word::Good(word) | Word::Bad(word)) => word,
        None => String::new(),
    }
}

#[test]
fn what_is_so_already_is_not_asked_for() {
    for (keys, words) in [
        ("r", "connector_sync.bluesky is not paused"),
        ("c", "connector_sync.bluesky's breaker is closed"),
        ("jjp", "post_publication.bluesky is paused already"),
        ("Go", "token_refresh.bluesky's breaker is held open already"),
    ] {
        let mut model = model(busy());
        types(&mut model, keys);
        assert_eq!((model.prompt, selected_word(model.word)), (None, words.into()), "{keys}");
    }
    for (keys, wish, at) in
        [("jjr", Wish::Resume, 2), ("jjjc", Wish::Close, 3), ("Gc", Wish::Close, 4)]
    {
        let mut model = model(busy());
        let ask = Ask::Hold(wish, queue(NAMES[at]), None);
        assert_eq!(types(&mut model, &format!("{keys}\ny")), Step::Ask(ask), "{keys}");
    }
}

#[test]
fn a_filter_narrows_the_list_and_escape_takes_it_back() {
    let mut model = model(quiet());
    types(&mut model, "/post");
    assert_eq!(model.queues().len(), 2);
    types(&mut model, "\n");
    assert_eq!((selected(&model), &model.prompt), (NAMES[2], &None));
    types(&mut model, "/x");
    assert_eq!(model.queues().len(), 0);
    assert_eq!(types(&mut model, "\np"), Step::Stay, "there is nothing to pause");
    assert_eq!(model.prompt, None);
    types(&mut model, "/y");
    key(&mut model, KeyCode::Esc);
    assert_eq!(model.filter, "postx");
    key(&mut model, KeyCode::Esc);
    assert_eq!(model.queues().len(), 5);
}

fn planned(runnable: u64) -> Planned {
    let plan = json!({ "plan": { "matched": 9, "runnable": runnable, "done": 0, "unknown": 2,
        "superseded": 0 } });
    serde_json::from_value(plan).unwrap()
}

/// On the page of the first queue's causes, the second of which is selected.
fn at_causes() -> (Model, Cause) {
    let mut model = model(busy());
    let first = queue(NAMES[0]);
    assert_eq!(types(&mut model, "d"), Step::Ask(Ask::Look(Some(first.clone()))));
    assert_eq!(
        model.causes().map(<[_]>::len),
        None,
        "those of all queues are not shown as its own"
    );
    let mut picture = busy();
    picture.dead_groups_of = Some(first.clone());
    picture.dead_groups = vec![cause("aa", 1, "x"), cause("bb", 9, "y")];
    model.take(Answer::Looked(Ok(picture)));
    types(&mut model, "j");
    (model, Cause { queue: first, fingerprint: "bb".to_owned() })
}

#[test]
fn a_cause_is_put_back_after_its_plan_and_a_y() {
    let (mut model, cause) = at_causes();
    assert_eq!(types(&mut model, "R"), Step::Ask(Ask::Plan(cause.clone())));
    assert_eq!(types(&mut model, "y"), Step::Stay, "there is no plan yet");
    model.take(Answer::Planned(cause.clone(), Ok(planned(7))));
    assert_eq!(types(&mut model, "y"), Step::Ask(Ask::PutBack(cause)));
    let next = model.take(Answer::PutBack(Ok(planned(7))));
    assert_eq!(next, Some(Ask::Look(Some(queue(NAMES[0])))));
    assert_eq!(selected_word(model.word), "7 put back");
}

#[test]
fn a_plan_that_comes_too_late_or_has_nothing_asks_nothing() {
    let (mut model, cause) = at_causes();
    types(&mut model, "R");
    key(&mut model, KeyCode::Esc);
    model.take(Answer::Planned(cause.clone(), Ok(planned(7))));
    assert_eq!(model.prompt, None);
    types(&mut model, "R");
    model.take(Answer::Planned(cause, Ok(planned(0))));
    assert_eq!(model.prompt, None);
    let word = selected_word(model.word.clone());
    assert_eq!(word, "nothing to put back: 0 of 9 (2 of unknown outcome)");
    assert_eq!(types(&mut model, "y"), Step::Stay);
}

#[test]
fn leaving_the_causes_looks_at_everything_again() {
    let (mut model, _) = at_causes();
    assert_eq!(types(&mut model, "d"), Step::Ask(Ask::Look(None)));
    assert_eq!(model.page, Page::Queues);
    let (mut model, _) = at_causes();
    assert_eq!(key(&mut model, KeyCode::Esc), Step::Ask(Ask::Look(None)));
}

#[test]
fn q_and_control_c_quit_but_a_q_in_a_text_is_a_letter() {
    let mut model = model(quiet());
    assert_eq!(types(&mut model, "q"), Step::Quit);
    assert_eq!(types(&mut model, "p quite"), Step::Stay);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut model, interrupt), Step::Quit);
}

#[test]
fn any_key_ends_the_help_and_does_nothing_else() {
    let mut model = model(quiet());
    types(&mut model, "?");
    assert!(model.explains);
    assert_eq!(types(&mut model, "q"), Step::Stay);
    assert!(!model.explains);
}

#[test]
fn a_failed_look_keeps_the_picture_and_a_good_one_ends_the_trouble() {
    let mut model = model(busy());
    let failure = Failure::new(Exit::Unavailable, "no answer from here").advise("start one");
    assert_eq!(model.take(Answer::Looked(Err(failure))), None);
    assert_eq!(model.trouble.as_deref(), Some("no answer from here; start one"));
    assert_eq!(model.totals().ready, 46_912);
    model.take(Answer::Looked(Ok(quiet())));
    assert_eq!((model.trouble.as_deref(), model.totals().ready), (None, 0));
}
