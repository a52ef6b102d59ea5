//! Colours, or none where a person wants none.

use ratatui::style::{Color, Modifier, Style};

/// Whether there are colours. What they say is said by words as well.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::top) struct Palette {
    colours: bool,
}

impl Palette {
    /// With colours, unless `NO_COLOR` is set to anything.
    pub(in crate::cli::top) fn of_environment() -> Self {
        Self::new(std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()))
    }

    pub(in crate::cli::top) const fn new(colours: bool) -> Self {
        Self { colours }
    }

    fn in_colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn head(self) -> Style {
        if self.colours {
            return Style::new().fg(Color::Black).bg(Color::Cyan);
        }
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn faint(self) -> Style {
        if self.colours {
            return Style::new().fg(Color::DarkGray);
        }
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.in_colour(Color::Green)
    }

    pub(super) fn busy(self) -> Style {
        self.in_colour(Color::Cyan)
    }

    pub(super) fn warn(self) -> Style {
        self.in_colour(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.in_colour(Color::Red).add_modifier(Modifier::BOLD)
    }
}
