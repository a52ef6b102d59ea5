//! What a key means where the person is.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::ask::{Ask, Cause, Wish};
use super::model::{Model, Page, Prompt, Word};

/// Longest reason and filter, in characters.
const TEXT_MAX: usize = 200;
/// How far a page key goes.
const PAGE_ROWS: isize = 10;

/// What follows from a key, besides a change of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Ask(Ask),
    Quit,
}

/// Takes a key.
pub(super) fn press(model: &mut Model, key: KeyEvent) -> Step {
    if key.kind == KeyEventKind::Release {
        return Step::Stay;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Step::Quit } else { Step::Stay };
    }
    if model.explains {
        model.explains = false;
        return Step::Stay;
    }
    match model.prompt.take() {
        Some(prompt) => answer(model, prompt, key.code),
        None => command(model, key.code),
    }
}

fn command(model: &mut Model, code: KeyCode) -> Step {
    model.word = None;
    match code {
        KeyCode::Char('q') => return Step::Quit,
        KeyCode::Char('?' | 'h') => model.explains = true,
        KeyCode::Up | KeyCode::Char('k') => select(model, -1),
        KeyCode::Down | KeyCode::Char('j') => select(model, 1),
        KeyCode::PageUp => select(model, -PAGE_ROWS),
        KeyCode::PageDown => select(model, PAGE_ROWS),
        KeyCode::Home | KeyCode::Char('g') => select(model, isize::MIN),
        KeyCode::End | KeyCode::Char('G') => select(model, isize::MAX),
        KeyCode::Char('p') => wish(model, Wish::Pause),
        KeyCode::Char('r') => wish(model, Wish::Resume),
        KeyCode::Char('o') => wish(model, Wish::Open),
        KeyCode::Char('c') => wish(model, Wish::Close),
        KeyCode::Char('/') if model.page == Page::Queues => {
            model.prompt = Some(Prompt::Filter { before: model.filter.clone() });
        }
        KeyCode::Char('d') | KeyCode::Enter if model.page == Page::Queues => return causes(model),
        KeyCode::Char('R') if model.page == Page::Queues => return causes(model),
        KeyCode::Char('R') => return plan(model),
        KeyCode::Char('d') | KeyCode::Esc | KeyCode::Backspace if model.page != Page::Queues => {
            model.page = Page::Queues;
            return Step::Ask(model.look());
        }
        KeyCode::Esc => model.filter.clear(),
        _ => {}
    }
    Step::Stay
}

/// Moves the selection by so many rows.
fn select(model: &mut Model, by: isize) {
    let (at, count) = match &model.page {
        Page::Queues => (model.queue().map(|(at, _)| at), model.queues().len()),
        Page::Causes(..) => (model.cause().map(|(at, _)| at), model.causes().map_or(0, <[_]>::len)),
    };
    let Some(last) = count.checked_sub(1) else { return };
    let at = at.unwrap_or(0).saturating_add_signed(by).min(last);
    let queue = model.queues().get(at).map(|queue| queue.queue.clone());
    let cause = model.causes().and_then(|all| all.get(at)).map(|cause| cause.fingerprint.clone());
    match &mut model.page {
        Page::Queues => model.selected = queue,
        Page::Causes(_, selected) => *selected = cause,
    }
}

/// Asks why, unless it is so already.
fn wish(model: &mut Model, wish: Wish) {
    let Some((_, queue)) = model.queue() else { return };
    let gate = model.picture.breaker(&queue.queue);
    let forced = gate.is_some_and(|gate| gate.forced_by.is_some());
    let closed = gate.is_some_and(|gate| gate.state.as_deref() == Some("closed"));
    let is_so = match wish {
        Wish::Pause => queue.paused.is_some().then_some("is paused already"),
        Wish::Resume => queue.paused.is_none().then_some("is not paused"),
        Wish::Open => forced.then_some("'s breaker is held open already"),
        Wish::Close => (closed && !forced).then_some("'s breaker is closed"),
    };
    let queue = queue.queue.clone();
    match is_so {
        Some(so) if so.starts_with('\'') => model.word = Some(Word::Bad(format!("{queue}{so}"))),
        Some(so) => model.word = Some(Word::Bad(format!("{queue} {so}"))),
        None => model.prompt = Some(Prompt::Reason { wish, queue, text: String::new() }),
    }
}

/// Goes to the causes of the selected queue's dead letters.
fn causes(model: &mut Model) -> Step {
    let Some((_, queue)) = model.queue() else { return Step::Stay };
    let queue = queue.queue.clone();
    model.selected = Some(queue.clone());
    model.page = Page::Causes(queue, None);
    Step::Ask(model.look())
}

/// Asks what putting the selected cause back would do.
fn plan(model: &mut Model) -> Step {
    let Page::Causes(queue, _) = &model.page else { return Step::Stay };
    let Some((_, selected)) = model.cause() else { return Step::Stay };
    let cause = Cause { queue: queue.clone(), fingerprint: selected.fingerprint.clone() };
    model.prompt = Some(Prompt::PutBack { cause: cause.clone(), plan: None });
    Step::Ask(Ask::Plan(cause))
}

/// Takes a key for the prompt, which is put away unless it goes on.
fn answer(model: &mut Model, prompt: Prompt, code: KeyCode) -> Step {
    match prompt {
        Prompt::Filter { before } => match code {
            KeyCode::Esc => model.filter = before,
            KeyCode::Enter => {}
            _ => {
                edit(&mut model.filter, code);
                model.prompt = Some(Prompt::Filter { before });
            }
        },
        Prompt::Reason { wish, queue, mut text } => match code {
            KeyCode::Esc => nothing_done(model),
            KeyCode::Enter => {
                let reason = text.trim();
                let reason = (!reason.is_empty()).then(|| reason.to_owned());
                model.prompt = Some(Prompt::Confirm { wish, queue, reason });
            }
            _ => {
                edit(&mut text, code);
                model.prompt = Some(Prompt::Reason { wish, queue, text });
            }
        },
        Prompt::Confirm { wish, queue, reason } => match code {
            KeyCode::Char('y' | 'Y') => return Step::Ask(Ask::Hold(wish, queue, reason)),
            _ => nothing_done(model),
        },
        Prompt::PutBack { cause, plan: Some(_) } if matches!(code, KeyCode::Char('y' | 'Y')) => {
            return Step::Ask(Ask::PutBack(cause));
        }
        // A y before there is a plan agrees to nothing.
        Prompt::PutBack { cause, plan: None } if code != KeyCode::Esc => {
            model.prompt = Some(Prompt::PutBack { cause, plan: None });
        }
        Prompt::PutBack { .. } => nothing_done(model),
    }
    Step::Stay
}

fn nothing_done(model: &mut Model) {
    model.word = Some(Word::Good("nothing was done".to_owned()));
}

fn edit(text: &mut String, code: KeyCode) {
    match code {
        KeyCode::Char(c) if text.chars().count() < TEXT_MAX && !c.is_control() => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
