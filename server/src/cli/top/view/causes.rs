//! Dead letters by cause: a few under the queues, or those of one queue on a page of their own.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, TableState, Wrap};

use super::words::{count, span};
use super::{Palette, WIDE, shown};
use crate::app::types::DeadGroupView;
use crate::cli::top::model::{Model, Page};

/// Rows that the selected cause's own words get, at least.
const WORDS: u16 = 4;

/// How many rows a list of this many causes takes, its head and title included.
pub(super) fn height(model: &Model) -> u16 {
    let causes = model.causes().map_or(1, <[_]>::len);
    u16::try_from(causes).unwrap_or(u16::MAX).saturating_add(1).max(2)
}

/// The causes of all queues' dead letters, as far as there is room.
pub(super) fn draw_some(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    draw_list(frame, area, model, palette, None);
}

/// One queue's causes, with the selected one's words.
pub(super) fn draw_page(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let list = height(model).min(area.height.saturating_sub(1 + WORDS));
    let rows = [Constraint::Length(1), Constraint::Length(list), Constraint::Fill(1)];
    let [title, list, words] = Layout::vertical(rows).areas(area);
    if let Page::Causes(queue, _) = &model.page {
        let sum: Option<u64> = model.causes().map(|all| all.iter().map(|one| one.count).sum());
        let sum = sum.map_or_else(|| "…".to_owned(), count);
        let line = Line::from(vec![
            Span::styled(queue.to_string(), palette.strong()),
            Span::raw(format!(": {sum} dead letters by cause")),
        ]);
        frame.render_widget(line, title);
    }
    let selected = model.cause();
    draw_list(frame, list, model, palette, selected.map(|(at, _)| at));
    if let Some((_, cause)) = selected {
        let about = vec![
            Line::from(Span::styled(
                format!("the youngest: postworks dlq show {}", cause.example),
                palette.faint(),
            )),
            Line::from(shown(&cause.message)),
        ];
        frame.render_widget(Paragraph::new(about).wrap(Wrap { trim: true }), words);
    }
}

fn draw_list(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    palette: Palette,
    selected: Option<usize>,
) {
    let is_wide = area.width >= WIDE;
    // The queue says the kind.
    let is_of_all = model.page == Page::Queues;
    let causes = model.causes();
    let rows: Vec<Row<'_>> =
        causes.unwrap_or_default().iter().map(|c| row(c, model, is_wide)).collect();
    let mut heads = vec![right("DEAD"), right("LAST"), Line::from("CATEGORY")];
    let mut widths = vec![Constraint::Length(6), Constraint::Length(5), Constraint::Length(15)];
    if is_wide {
        heads.extend([
            right("FIRST"),
            Line::from("KIND"),
            Line::from("CLASS"),
            Line::from("FINGERPRINT"),
        ]);
        widths.extend([5, 16, 12, 16].map(Constraint::Length));
    } else if is_of_all {
        heads.push(Line::from("KIND"));
        widths.push(Constraint::Length(16));
    }
    heads.push(Line::from("WORDS OF THE YOUNGEST"));
    widths.push(Constraint::Fill(1));
    let table = Table::new(rows, widths)
        .header(heads.into_iter().collect::<Row<'_>>().style(palette.head()))
        .row_highlight_style(palette.selected());
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
    let said = match causes {
        None => "…",
        Some([]) => "no dead letters",
        Some(_) => return,
    };
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    frame.render_widget(Line::from(said).style(palette.faint()), below);
}

fn right(head: &'static str) -> Line<'static> {
    Line::from(head).alignment(Alignment::Right)
}

fn row(cause: &DeadGroupView, model: &Model, is_wide: bool) -> Row<'static> {
    let ago = |at| Line::from(span(model.now.since(at))).alignment(Alignment::Right);
    let mut cells = vec![
        Line::from(count(cause.count)).alignment(Alignment::Right),
        ago(cause.last_died_at),
        Line::from(cause.category.to_string()),
    ];
    if is_wide {
        cells.push(ago(cause.first_died_at));
    }
    if is_wide || model.page == Page::Queues {
        cells.push(Line::from(cause.kind.to_string()));
    }
    if is_wide {
        cells.extend([Line::from(cause.class.clone()), Line::from(cause.fingerprint.clone())]);
    }
    cells.push(Line::from(shown(&cause.message)));
    cells.into_iter().collect()
}
